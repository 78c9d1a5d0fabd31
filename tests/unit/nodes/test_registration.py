"""Nodes from hosts: arithmetic, precedence and idempotence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.drivers import HostInfo
from scheduler.errors import ConfigurationError
from scheduler.nodes.docker_host import devices_of, docker_host_view, host_address
from scheduler.nodes.reachability import reachability
from scheduler.nodes.registration import (
    Registration,
    allocatable,
    capacity,
    node_write,
    pressures_of,
)
from scheduler.objects import quantity
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.node import node_view
from scheduler.objects.stored import Body, StoredObject
from scheduler.store.operations import Create

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INFO = HostInfo(
    engine="docker://20.10.24",
    api_version="1.41",
    hostname="box",
    operating_system="Debian GNU/Linux 12 (bookworm)",
    os="linux",
    architecture="amd64",
    kernel="6.18",
    cpus=4,
    memory_bytes=8 << 30,
)


def stored(resource, name, body, status=b"", uid="u", labels=None):
    meta = ObjectMeta(name=name, uid=uid, generation=1, labels=labels or {})
    return StoredObject(resource, meta, 5, 5, Body(msgspec.json.encode(body)), status)


def host(**spec):
    spec = {"address": "tcp://192.0.2.7:2376", **spec}
    return docker_host_view(stored("dockerhosts.ironfree.dev", "h1", {"spec": spec}))


SYSTEM = stored("namespaces", "kube-system", {}, uid="this-installation")


def made(info=INFO, **spec):
    return Registration(host(**spec), info, 110, 7)


def as_stored(operation, status=None):
    body, raw = operation.body, status or operation.status
    return StoredObject("nodes", operation.meta, 9, 9, body, raw)


def test_a_new_node_carries_what_the_host_says():
    operation = node_write(made(taints=[{"key": "k", "effect": "NoExecute"}]), None, NOW)
    assert isinstance(operation, Create)
    assert operation.epoch == 7
    node = node_view(as_stored(operation))
    assert node.status.capacity == {"cpu": "4", "memory": "8Gi", "pods": "110"}
    assert node.status.addresses[0].address == "192.0.2.7"
    assert node.status.addresses[1].address == "box"
    assert node.status.node_info.container_runtime_version == "docker://20.10.24"
    info = msgspec.json.decode(operation.status)["nodeInfo"]
    assert {"machineID", "systemUUID", "bootID", "kubeProxyVersion"} <= info.keys()
    assert node.status.condition("Ready").status == "True"
    assert node.spec.taints[0].effect == "NoExecute"


def test_a_node_that_is_right_is_not_written_again():
    first = as_stored(node_write(made(), None, NOW))
    assert node_write(made(), first, NOW + timedelta(hours=1)) is None


def test_a_cordon_lasts_and_the_hosts_wish_counts_only_at_first():
    operation = node_write(made(), None, NOW)
    cordoned = msgspec.structs.replace(
        as_stored(operation), body=Body(b'{"spec":{"unschedulable":true}}')
    )
    assert node_write(made(taints=[{"key": "k", "effect": "NoSchedule"}]), cordoned, NOW) is None


def test_what_changed_is_written_and_what_is_foreign_stays():
    operation = node_write(made(), None, NOW)
    status = msgspec.json.decode(operation.status)
    status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": 1}}
    present = as_stored(operation, msgspec.json.encode(status))
    bigger = replace(INFO, cpus=64)
    change = node_write(made(bigger, labels={"disk": "ssd"}), present, NOW)
    written = msgspec.json.decode(change.status)
    assert written["capacity"]["cpu"] == "64"
    assert written["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 1}}
    assert change.meta.labels["disk"] == "ssd"
    assert change.expected_revision == 9


def test_pressure_is_told_and_read_back():
    pressed = replace(made(), pressures=frozenset({"MemoryPressure"}))
    stored_node = as_stored(node_write(pressed, None, NOW))
    status = node_view(stored_node).status
    assert status.condition("MemoryPressure").reason == "KubeletHasInsufficientMemory"
    assert status.condition("PIDPressure").status == "False"
    assert pressures_of(stored_node) == {"MemoryPressure"}
    assert pressures_of(None) == frozenset()
    relieved = node_write(made(), stored_node, NOW + timedelta(minutes=6))
    condition = node_view(as_stored(relieved)).status.condition("MemoryPressure")
    assert (condition.status, condition.reason) == ("False", "KubeletHasSufficientMemory")
    assert condition.last_transition_time == NOW + timedelta(minutes=6)


@given(
    cpus=st.integers(0, 512),
    memory=st.integers(0, 1 << 44),
    cpu=st.integers(0, 600_000),
    held=st.integers(0, 1 << 44),
)
def test_allocatable_is_capacity_less_reserved_and_never_negative(cpus, memory, cpu, held):
    info = replace(INFO, cpus=cpus, memory_bytes=memory)
    found = allocatable(made(info, reserved={"cpu": f"{cpu}m", "memory": str(held)}))
    assert quantity.milli(found["cpu"]) == max(0, cpus * 1000 - cpu)
    assert quantity.value(found["memory"]) == max(0, memory - held)


def test_overrides_win_over_the_engine():
    found = capacity(made(capacity={"cpu": "2", "nvidia.com/gpu": 4}))
    assert found == {"cpu": "2", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "4"}


@pytest.mark.parametrize("info", [INFO, None])
def test_what_others_say_of_a_host_stays(info):
    condition = {"type": "Maintenance", "status": "True", "reason": "Draining", "message": ""}
    status = {"conditions": [condition], "maintenanceTime": "2026-01-04T02:00:00Z"}
    said = msgspec.structs.replace(host().stored, status=msgspec.json.encode(status))
    found = reachability(docker_host_view(said), info, "EngineReady", "", NOW)
    assert found.maintenance_time == datetime(2026, 1, 4, 2, tzinfo=UTC)
    assert {c.type for c in found.conditions} == {"Ready", "Reachable", "Maintenance"}


def test_reachability_changes_only_with_the_facts():
    first = reachability(host(), None, "Unreachable", "no route", NOW)
    again = msgspec.structs.replace(host().stored, status=msgspec.json.encode(first))
    assert reachability(docker_host_view(again), None, "Unreachable", "no route", NOW) is None
    later = NOW + timedelta(hours=1)
    other = reachability(docker_host_view(again), None, "Unreachable", "refused", later)
    assert other.conditions[0].last_transition_time == NOW, "still unreachable since then"
    back = reachability(docker_host_view(again), INFO, "EngineReady", "", later)
    assert back.conditions[0].last_transition_time == later
    assert back.engine_version == "docker://20.10.24"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, 'secret "kube-system/certs" not found'),
        ({"ca.crt": "YQ=="}, "lacks tls.crt, tls.key"),
        ({"ca.crt": "%", "tls.crt": "%a", "tls.key": "a"}, "not base64"),
    ],
)
def test_a_bad_tls_secret_is_named(data, words):
    secret = stored("secrets", "certs", {"data": data}) if data else None
    with pytest.raises(ConfigurationError, match=words.replace("(", r"\(")):
        host_address(host(tlsSecretName="certs"), secret, SYSTEM)


def test_tls_material_is_never_printed():
    secret = stored(
        "secrets", "certs", {"data": dict.fromkeys(("ca.crt", "tls.crt", "tls.key"), "aHVzaA==")}
    )
    address = host_address(host(tlsSecretName="certs"), secret, SYSTEM)
    assert address.tls.key == b"hush"
    assert address.cluster == "this-installation"
    assert "hush" not in repr(address)


def test_devices_are_named_or_numbered():
    named = [{"name": "nvidia.com/gpu", "ids": ["GPU-a"]}, {"name": "x.org/kvm", "ids": ["/k"]}]
    both = host(devices=named, capacity={"nvidia.com/gpu": 2})
    assert devices_of(both) == {"nvidia.com/gpu": ("GPU-a",), "x.org/kvm": ("/k",)}
    assert devices_of(host(capacity={"nvidia.com/gpu": 2})) == {"nvidia.com/gpu": ("0", "1")}
    assert devices_of(host()) == {}
    assert host_address(both, None, SYSTEM).devices == devices_of(both)
    assert not both.connects_like(host(devices=named[:1]))
    assert host(devices=named).connects_like(host(devices=named, zone="z"))


def test_runtimes_of_the_engine_are_labels_as_long_as_it_has_them():
    two = replace(INFO, runtimes=("io.containerd.runc.v2", "kata", "runsc"))
    operation = node_write(made(two), None, NOW)
    mine = {k: v for k, v in operation.meta.labels.items() if "runtime" in k}
    assert mine == {"runtime.ironfree.dev/kata": "true", "runtime.ironfree.dev/runsc": "true"}
    change = node_write(made(replace(INFO, runtimes=("kata",))), as_stored(operation), NOW)
    assert "runtime.ironfree.dev/runsc" not in change.meta.labels
    assert change.meta.labels["runtime.ironfree.dev/kata"] == "true"
