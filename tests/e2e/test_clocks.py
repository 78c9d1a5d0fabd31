"""Clocks that jump, of the service and of an engine: no Node is lost, nothing restarts for it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Host, Lab, Relay
from tests.e2e.recovery import Recovery
from tests.e2e.service import Ironfree, copies, eventually, is_ready, replication_controller

pytestmark = pytest.mark.timeout(240)

HOUR = 3600
PROBED = {
    "command": ["httpd", "-f", "-p", "8080", "-h", "/etc"],
    "readinessProbe": {"httpGet": {"port": 8080, "path": "/passwd"}, "periodSeconds": 1},
    "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
}


class Clock:
    """The time of day of a process that has `environment`; its monotonic clock goes on."""

    def __init__(self, file: Path, library: Path) -> None:
        self._file = file
        self.set_ahead(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set_ahead(self, seconds: int) -> None:
        """Jump, in one moment."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        reason = "a clock that jumps needs the Debian package faketime"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Clock(tmp_path / "clock", found[0])


@pytest.fixture
def jumping(lab: Lab, database_url: str, tmp_path: Path, clock: Clock) -> Iterator[Ironfree]:
    """Ironfree with that clock; by unix sockets, for certificates have a time, too."""
    directory = tmp_path / "service"
    directory.mkdir()
    service = Ironfree(directory, database_url, **clock.environment)
    try:
        service.start()
        hosts = lab.hosts[:2]
        service.add_hosts(lab, hosts, {h.name: f"unix://{h.unix_socket}" for h in hosts})
        yield service
    finally:
        service.stop()


def begin(ironfree: Ironfree) -> None:
    """Two pods with probes, and one that fails again and again."""
    probed = replication_controller("web", 2, **PROBED)
    failing = replication_controller("failing", 1, command=["false"])
    for manifest in (probed, failing):
        ironfree.kubectl("apply", "-f", "-", given=manifest)
    ironfree.running(2, "app=web")
    eventually(lambda: failures(ironfree) is not None, what="it waits to be started again")


def failures(ironfree: Ironfree) -> int | None:
    """How often the failing pod was started again, None while it does not wait."""
    (pod,) = ironfree.pods("app=failing")
    for status in pod["status"].get("containerStatuses", ()):
        if status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff":
            return status["restartCount"]
    return None


def running(hosts: list[Host], uids: set[str]) -> dict[str, list[str]]:
    """Pod → ids of its running containers, the sandbox's too."""
    found: dict[str, list[str]] = {uid: [] for uid in uids}
    for host in hosts:
        for each in host.containers():
            uid = each.labels.get("ironfree.dev/pod-uid")
            if each.state == "running" and uid in found:
                found[uid].append(each.id)
    return {uid: sorted(ids) for uid, ids in found.items()}


def ready_since(ironfree: Ironfree) -> dict[str, str]:
    """Node → since when it is Ready."""
    return {
        node["metadata"]["name"]: condition["lastTransitionTime"]
        for node in ironfree.get("nodes")["items"]
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def stays(ironfree: Ironfree, hosts: list[Host], jump: Any, recovery: Recovery, what: str) -> None:
    """Let a clock jump, and see that the failing pod is tried again and nothing else happens."""
    web = {pod["metadata"]["uid"] for pod in ironfree.running(2, "app=web")}
    before, nodes = running(hosts, web), ready_since(ironfree)
    assert len(nodes) == len(hosts)
    tried = eventually(lambda: json.dumps(failures(ironfree)), what="it waits")
    jump()
    with recovery(f"{what}, until a pod in back-off was tried again"):
        ironfree.kubectl("apply", "-f", "-", given=replication_controller("late", 1))
        ironfree.running(1, "app=late")

        def again() -> bool:
            now = failures(ironfree)
            return now is not None and now > (json.loads(tried) or 0)

        eventually(again, 60, "the failing pod is tried again")
    assert {pod["metadata"]["uid"] for pod in ironfree.pods("app=web")} == web
    assert all(map(is_ready, ironfree.pods("app=web")))
    assert running(hosts, web) == before, "nothing was restarted"
    assert ready_since(ironfree) == nodes, "every Node stayed Ready"
    assert all(len(places) == 1 for places in copies(hosts).values())
    ironfree.kubectl("delete", "rc", "late")
    eventually(lambda: not ironfree.pods("app=late"), what="the late pod is gone")


def test_a_jump_of_the_services_clock_restarts_and_loses_nothing(
    jumping: Ironfree, lab: Lab, clock: Clock, recovery: Recovery
):
    hosts = lab.hosts[:2]
    begin(jumping)
    ahead = "the service's clock went an hour ahead"
    stays(jumping, hosts, lambda: clock.set_ahead(HOUR), recovery, ahead)
    back = "the service's clock went an hour back"
    stays(jumping, hosts, lambda: clock.set_ahead(0), recovery, back)


def test_a_jump_of_an_engines_clock_restarts_and_loses_nothing(
    bare_ironfree: Ironfree, lab: Lab, host: Host, tmp_path: Path, recovery: Recovery
):
    ironfree = bare_ironfree
    with Relay.run(tmp_path / "way.sock", host.unix_socket) as relay:
        ironfree.add_hosts(lab, [host], {host.name: f"unix://{tmp_path / 'way.sock'}"})
        begin(ironfree)
        for ahead, way in ((HOUR, "an hour ahead"), (-HOUR, "two hours back")):

            def jump(ahead: int = ahead) -> None:
                relay.faults.ahead = ahead

            stays(ironfree, [host], jump, recovery, f"an engine's clock went {way}")
        code, told = ironfree.cli("node", "doctor", host.name)
        assert code == 1
        assert "behind of ours" in told.splitlines()[0]
