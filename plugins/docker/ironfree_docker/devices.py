"""Which device of a host which container has: one at a time, and the engine's labels remember it.

An id is the path of a device file ("/dev/kvm"), a CDI name ("vendor.com/class=name"), or what the
engine's driver of the vendor calls it ("0", "GPU-8a…"; Docker's DeviceRequests).
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import msgspec

from scheduler.drivers import ContainerSpec, PodIdentity
from scheduler.errors import EngineRejected, ImageUnavailable
from scheduler.objects.json import Json, JsonObject

from . import wire
from .containers import Containers
from .labels import CONTAINER, DEVICES, POD_UID, container_name

CDI = (1, 44)
"""The API version since which an engine may know CDI devices (Docker 25)."""

Ids = Mapping[str, tuple[str, ...]]

_decoder = msgspec.json.Decoder(dict[str, tuple[str, ...]])
_Claimant = tuple[str, str]  # pod uid and container; its attempts follow one another


class Devices:
    """Of one host.

    A creation whose outcome is unknown keeps what it was given until the container is seen. That is
    forgotten with the connection, when whatever the engine has done by then is seen by its labels.

    Args:
        declared: resource → ids; wins over what the engine says.
        foreign: tells which of them containers have that are not ours.
    """

    def __init__(
        self,
        containers: Containers,
        declared: Ids,
        foreign: Callable[[Ids], Awaitable[set[tuple[str, str]]]],
    ) -> None:
        self._containers = containers
        self._declared = declared
        self._foreign = foreign
        self._found: Ids = {}
        self._lock = asyncio.Lock()
        self._pending: dict[str, tuple[_Claimant, Ids]] = {}  # container's name → what it is given

    @property
    def ids(self) -> Ids:
        """Resource → ids of what the host offers."""
        return self._found

    def offered(self, info: wire.Info) -> dict[str, int]:
        """Take in what the engine says of its host; returns how many there are, by resource."""
        self._found = {**_discovered(info), **self._declared}
        return {resource: len(ids) for resource, ids in self._found.items()}

    @asynccontextmanager
    async def given(
        self, identity: PodIdentity, spec: ContainerSpec, api: tuple[int, int]
    ) -> AsyncGenerator[Ids]:
        """Yield the devices for a container that is created inside, if it is not there already.

        Raises:
            EngineRejected: not enough are free, or the engine cannot give such.
        """
        if not spec.devices:
            yield {}
            return
        name = container_name(identity, spec.name, spec.attempt)
        async with self._lock:
            ids = await self._choose((identity.uid, spec.name), spec)
            if api < CDI and any(map(_is_cdi, _flat(ids))):
                least, offered = (".".join(map(str, each)) for each in (CDI, api))
                raise EngineRejected(
                    f"CDI devices need a Docker Engine with API {least} (Docker 25) or newer; this "
                    f"one offers {offered}"
                )
            self._pending[name] = ((identity.uid, spec.name), ids)
            try:
                yield ids
            except (EngineRejected, ImageUnavailable):
                self._pending.pop(name, None)
                raise
            self._pending.pop(name, None)  # its label says it now

    def forget(self, pod_uid: str) -> None:
        """Keep nothing for a pod that is gone."""
        for name, (claimant, _) in list(self._pending.items()):
            if claimant[0] == pod_uid:
                del self._pending[name]

    async def _choose(self, claimant: _Claimant, spec: ContainerSpec) -> Ids:
        """Prefer what the container had before, then what nobody had, then what is free again."""
        held = await self._foreign(self._found)
        own: set[tuple[str, str]] = set()
        before: set[tuple[str, str]] = set()
        for listed in await self._containers.list(DEVICES):
            labels = listed.labels or {}
            pairs = _pairs(_decoded(labels))
            whose = (labels.get(POD_UID, ""), labels.get(CONTAINER, ""))
            self._pending.pop(_name(listed), None)
            if whose == claimant:
                own |= pairs
            (before if whose == claimant or listed.state in {"exited", "dead"} else held).update(
                pairs
            )
        for whose, ids in self._pending.values():
            (own if whose == claimant else held).update(_pairs(ids))
        return {
            resource: self._pick(resource, count, held, own, before)
            for resource, count in spec.devices
        }

    def _pick(
        self,
        resource: str,
        count: int,
        held: set[tuple[str, str]],
        own: set[tuple[str, str]],
        before: set[tuple[str, str]],
    ) -> tuple[str, ...]:
        ids = self._found.get(resource, ())
        free = [each for each in ids if (resource, each) not in held]
        if len(free) < count:
            raise EngineRejected(
                f"{count} of {resource} are wanted and {len(free)} of the host's {len(ids)} free"
            )
        free.sort(key=lambda each: ((resource, each) not in own, (resource, each) in before))
        return tuple(free[:count])


def device_label(ids: Ids) -> dict[str, str]:
    """Return the label that remembers what a container was given."""
    return {DEVICES: msgspec.json.encode(ids, order="sorted").decode()} if ids else {}


def device_options(ids: Ids) -> JsonObject:
    """Return what HostConfig says of them."""
    files: list[Json] = []
    requests: list[Json] = []
    cdi: list[Json] = []
    for resource, names in ids.items():
        plain: list[Json] = []
        for name in names:
            if name.startswith("/"):
                files.append(
                    {"PathOnHost": name, "PathInContainer": name, "CgroupPermissions": "rwm"}
                )
            else:
                (cdi if _is_cdi(name) else plain).append(name)
        if plain:
            domain, _, kind = resource.partition("/")
            driver = domain.partition(".")[0]
            requests.append({"Driver": driver, "DeviceIDs": plain, "Capabilities": [[kind]]})
    if cdi:
        requests.append({"Driver": "cdi", "DeviceIDs": cdi})
    return {"Devices": files, "DeviceRequests": requests} if files or requests else {}


def _is_cdi(name: str) -> bool:
    return "=" in name and not name.startswith("/")


def _discovered(info: wire.Info) -> dict[str, tuple[str, ...]]:
    """Group CDI devices by kind; of one that has numbers and other names, the numbers count."""
    kinds: dict[str, list[str]] = {}
    for device in info.discovered_devices or []:
        kind, equals, name = device.id.partition("=")
        if device.source == "cdi" and equals and name != "all":
            kinds.setdefault(kind, []).append(device.id)
    found: dict[str, tuple[str, ...]] = {}
    for kind, ids in kinds.items():
        numbered = [each for each in ids if each.partition("=")[2].isdecimal()]
        found[kind] = tuple(sorted(numbered or ids))
    return found


def _decoded(labels: Mapping[str, str]) -> Ids:
    try:
        return _decoder.decode(labels.get(DEVICES, "{}"))
    except msgspec.DecodeError:
        return {}  # somebody else's label


def _pairs(ids: Ids) -> set[tuple[str, str]]:
    return {(resource, each) for resource, names in ids.items() for each in names}


def _flat(ids: Ids) -> Iterable[str]:
    return (each for names in ids.values() for each in names)


def _name(listed: wire.Summary) -> str:
    return (listed.names or [""])[0].removeprefix("/")
