"""What an engine says of itself that bears on pods, and what to mend of it. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from scheduler.drivers import Finding, HostAddress

from . import wire

_LOCAL = ("tcp://127.", "tcp://localhost", "tcp://[::1]")
_STORAGE = frozenset({"overlay2", "overlayfs", "fuse-overlayfs", "btrfs", "zfs"})
_SKEW = timedelta(seconds=2)


def examine(
    address: HostAddress, info: wire.Info, api: str, asked: datetime, answered: datetime
) -> tuple[Finding, ...]:
    """Return a finding for each thing that can be wrong with a host that answers.

    Args:
        api: the version agreed on.
        asked, answered: when by our clock; between them the engine read its own.
    """
    return (
        Finding("ApiVersion", True, f"Docker {info.server_version}, API {api}"),
        _encrypted(address),
        _live_restore(info),
        _storage(info),
        _clock(info, asked, answered),
        _cgroups(info),
    )


def _encrypted(address: HostAddress) -> Finding:
    plain = address.url.startswith(("tcp://", "http://")) and address.tls is None
    if plain and not address.url.startswith(_LOCAL):
        return Finding(
            "Encrypted",
            False,
            "whoever reaches this port is root on the host, and all is sent in the clear: protect "
            "dockerd with --tlsverify and add the host with --tls, or use ssh://",
        )
    way = "TLS" if address.tls is not None else address.url.partition("://")[0]
    return Finding("Encrypted", True, f"reached over {way}")


def _live_restore(info: wire.Info) -> Finding:
    if info.live_restore_enabled:
        return Finding("LiveRestore", True, "containers survive a restart of dockerd")
    return Finding(
        "LiveRestore",
        False,
        "live-restore is off: a restart of dockerd stops every container; put "
        '"live-restore": true into /etc/docker/daemon.json and reload dockerd',
    )


def _storage(info: wire.Info) -> Finding:
    if info.driver in _STORAGE or not info.driver:
        return Finding("Storage", True, f"storage driver {info.driver or 'unknown'}")
    return Finding(
        "Storage",
        False,
        f"storage driver {info.driver} is slow or no longer supported: put "
        '"storage-driver": "overlay2" into /etc/docker/daemon.json (images are pulled anew)',
    )


def _clock(info: wire.Info, asked: datetime, answered: datetime) -> Finding:
    if info.system_time is None:
        return Finding("Clock", True, "the engine does not tell the time")
    ahead = max(info.system_time - answered, timedelta())
    behind = max(asked - info.system_time, timedelta())
    if max(ahead, behind) <= _SKEW:
        return Finding("Clock", True, "its clock agrees with ours")
    word = f"{ahead} ahead" if ahead else f"{behind} behind"
    return Finding(
        "Clock", False, f"its clock is {word} of ours: have both set by NTP (chrony, timesyncd)"
    )


def _cgroups(info: wire.Info) -> Finding:
    absent = ", ".join(_absent_limits(info))
    what = f"cgroup v{info.cgroup_version or '1'}, driver {info.cgroup_driver or 'unknown'}"
    if not absent:
        return Finding("Cgroups", True, what)
    return Finding(
        "Cgroups",
        False,
        f"{what}: the kernel does not limit {absent}, so pods' limits of it do not hold: enable "
        "that controller (kernel command line, or delegation for a rootless engine)",
    )


def _absent_limits(info: wire.Info) -> Iterator[str]:
    for name, there in (
        ("memory", info.memory_limit),
        ("CPU", info.cpu_cfs_quota),
        ("processes", info.pids_limit),
    ):
        if there is False:
            yield name
