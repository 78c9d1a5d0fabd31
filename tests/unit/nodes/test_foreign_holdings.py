"""What a Node offers besides others' containers, and what it says of them."""

from dataclasses import replace as with_fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scheduler.foreign import ForeignContainer
from scheduler.nodes.foreign_holdings import held, steadied, words
from scheduler.nodes.registration import allocatable, capacity, node_write
from scheduler.objects.node import node_view
from scheduler.objects.node_ports import FOREIGN_PORTS, foreign_ports, written
from scheduler.objects.pod_class import HostPort
from tests.unit.nodes.test_registration import INFO, NOW, as_stored, made

GIB = 1 << 30
DB = ForeignContainer("1", "db", "postgres:16", 500, GIB, ports=(HostPort("TCP", 5432),))
GPU = ForeignContainer("2", "train", "cuda", devices=(("nvidia.com/gpu", "0"),))


def shared(*containers, info=INFO, **spec):
    return with_fields(made(info, **spec), foreign=containers)


def test_what_others_hold_is_not_allocatable_and_capacity_stays():
    node = shared(DB, GPU, capacity={"nvidia.com/gpu": 2}, reserved={"cpu": "250m"})
    assert capacity(node) == {"cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "2"}
    assert allocatable(node) == {
        "cpu": "3250m",
        "memory": "7Gi",
        "pods": "110",
        "nvidia.com/gpu": "1",
    }


@pytest.mark.parametrize(
    ("given_capacity", "left"),
    [("8Gi", "6Gi"), ("7Gi", "6Gi"), ("6Gi", "6Gi"), ("2Gi", "2Gi"), ("16Gi", "14Gi")],
)
def test_a_capacity_below_the_engines_leaves_the_rest_to_others(given_capacity, left):
    theirs = replace(DB, memory=2 * GIB)
    assert allocatable(shared(theirs, capacity={"memory": given_capacity}))["memory"] == left


def test_nothing_is_offered_where_others_hold_more_than_there_is():
    found = allocatable(shared(replace(DB, cpu=9000, memory=9 * GIB)))
    assert (found["cpu"], found["memory"]) == ("0", "0")


@given(first=st.integers(0, 1 << 44), then=st.integers(0, 1 << 44))
def test_measured_memory_is_never_counted_short_nor_twice_as_much(first, then):
    (before,) = steadied([replace(DB, memory=first, measured=True)], ())
    assert first <= before.memory <= max(first + (1 << 20), first * 5 // 4)
    (after,) = steadied([replace(DB, memory=then, measured=True)], [before])
    assert then <= after.memory <= max(then + (2 << 20), then * 3 // 2)


def test_a_little_less_memory_changes_nothing():
    (before,) = steadied([replace(DB, memory=500 << 20, measured=True)], ())
    (after,) = steadied([replace(DB, memory=440 << 20, measured=True)], [before])
    assert after == before
    (after,) = steadied([replace(DB, memory=300 << 20, measured=True)], [before])
    assert after.memory == 320 << 20


def test_a_limit_is_taken_as_it_is():
    assert steadied([replace(DB, memory=3)], [replace(DB, memory=5)]) == (replace(DB, memory=3),)


def test_a_device_that_two_have_counts_once():
    assert held([GPU, replace(GPU, id="3")]) == {"nvidia.com/gpu": 1}


def test_the_node_says_who_they_are_and_which_ports_they_have():
    first = as_stored(node_write(shared(DB), None, NOW))
    node = node_view(first)
    condition = node.status.condition("ForeignContainers")
    assert (condition.status, condition.reason) == ("True", "NotManaged")
    assert condition.message == (
        "1 running containers that Ironfree does not manage hold cpu 500m, memory 1Gi: "
        "db (postgres:16, cpu 500m, memory 1Gi)"
    )
    assert node.meta.annotations[FOREIGN_PORTS] == "TCP/5432"
    later = NOW + timedelta(hours=1)
    assert node_write(shared(DB), first, later) is None
    gone = as_stored(node_write(shared(), first, later))
    assert FOREIGN_PORTS not in gone.meta.annotations
    assert node_view(gone).status.condition("ForeignContainers").status == "False"


def test_a_host_that_cannot_tell_says_nothing():
    node = node_view(as_stored(node_write(made(), None, datetime(2026, 1, 1, tzinfo=UTC))))
    assert node.status.condition("ForeignContainers") is None


def test_the_message_is_bounded():
    many = [replace(DB, id=str(n), name=f"{n:03}" * 100, image="i" * 1000) for n in range(1000)]
    message = words(many)[3]
    assert len(message) < 4096
    assert message.endswith(" and 984 more")


ADDRESSES = st.sampled_from(["0.0.0.0", "127.0.0.1", "fd00::1"])
PORTS = st.builds(
    HostPort, st.sampled_from(["TCP", "UDP", "SCTP"]), st.integers(1, 65535), ADDRESSES
)


@given(ports=st.frozensets(PORTS, max_size=40))
def test_ports_survive_being_written(ports):
    assert foreign_ports({FOREIGN_PORTS: written(ports)}) == ports


def test_neighbouring_ports_are_one_word():
    ports = {HostPort("UDP", n) for n in range(10_000, 20_001)} | {HostPort("UDP", 30_000)}
    assert written(ports) == "UDP/10000-20000 UDP/30000"


@pytest.mark.parametrize("text", ["", "x", "TCP/", "TCP/999999", "TCP/80@; rm", "TCP/9-8"])
def test_what_is_no_port_is_passed_over(text):
    assert foreign_ports({FOREIGN_PORTS: text}) == frozenset()
