"""A host is empty when its window opens, and takes pods again afterwards."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.lab import Lab
from tests.e2e.service import Ironfree, copies, eventually, replication_controller

pytestmark = pytest.mark.timeout(180)


def maintain(ironfree: Ironfree, host: str, maintenance: dict[str, Any] | None) -> None:
    patch = json.dumps({"spec": {"maintenance": maintenance}})
    ironfree.kubectl("patch", "dockerhost", host, "--type=merge", "-p", patch)


def test_a_host_is_emptied_for_its_window_and_opened_again(shared_ironfree: Ironfree, lab: Lab):
    ironfree = shared_ironfree
    ironfree.kubectl("apply", "-f", "-", given=replication_controller("web", 2, spread_out=False))
    (first, _) = ironfree.running(2, "app=web")
    host = first["spec"]["nodeName"]
    before = {p["metadata"]["uid"] for p in ironfree.pods("app=web")}
    opens = datetime.now(UTC) + timedelta(minutes=30)
    window = f"{opens:%H:%M}-{opens + timedelta(minutes=10):%H:%M}"
    maintain(ironfree, host, {"windows": [window], "leadSeconds": 7200})
    drained = 'jsonpath={.status.conditions[?(@.type=="Maintenance")].reason}=Drained'
    ironfree.kubectl("wait", f"--for={drained}", f"dockerhost/{host}", "--timeout=60s")
    assert ironfree.get("node", host)["spec"]["unschedulable"] is True
    living = ironfree.running(2, "app=web")
    assert host not in {p["spec"]["nodeName"] for p in living}
    names = [each.name for each in lab.hosts]
    emptied = lab.hosts[names.index(host)]
    assert not before & copies([emptied]).keys(), "the daemon has nothing left of them"

    maintain(ironfree, host, None)

    def as_before() -> bool:
        return not ironfree.get("node", host)["spec"].get("unschedulable")

    eventually(as_before, what="the host takes pods again")
