"""Subnets of hosts."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.network.settings import NetworkSettings
from scheduler.network.subnets import Subnets

FOUR = IPv4Network("10.240.0.0/22")


def test_each_host_keeps_its_own_until_all_are_taken():
    subnets = Subnets(FOUR)
    given_ = [subnets.of(name) for name in "abcd"]
    assert given_ == ["10.240.0.0/24", "10.240.1.0/24", "10.240.2.0/24", "10.240.3.0/24"]
    assert subnets.of("b") == "10.240.1.0/24"
    assert subnets.of("e") is None
    subnets.forget("c")
    assert subnets.of("e") == "10.240.2.0/24"


def test_what_nodes_say_counts_and_what_was_freed_rests():
    subnets = Subnets(FOUR)
    subnets.keep("a", "10.240.0.0/24")
    assert subnets.of("b") == "10.240.1.0/24"
    subnets.forget("b")
    assert subnets.of("c") == "10.240.2.0/24", "10.240.1.0/24 was in use a moment ago"


@pytest.mark.parametrize("subnet", ["", "x", "fd00::/64", "10.240.1.1/24", "10.9.0.0/24"])
def test_what_is_not_of_the_range_counts_as_nothing(subnet):
    subnets = Subnets(FOUR)
    subnets.keep("a", subnet)
    assert subnets.of("a", subnet) == "10.240.0.0/24"


def test_a_host_keeps_what_it_has_if_nobody_else_does():
    subnets = Subnets(FOUR)
    assert subnets.of("a", "10.240.2.0/24") == "10.240.2.0/24"
    assert subnets.of("b", "10.240.2.0/24") == "10.240.0.0/24"


@given(
    st.lists(st.tuples(st.sampled_from(["of", "forget"]), st.sampled_from("abcdef")), max_size=40)
)
def test_no_two_hosts_share_one(steps):
    subnets, held = Subnets(FOUR), {}
    for what, name in steps:
        if what == "forget":
            subnets.forget(name)
            held.pop(name, None)
            continue
        found = subnets.of(name)
        assert (found is None) == (name not in held and len(held) == 4)
        if found is not None:
            assert held.setdefault(name, found) == found
            assert len({*held.values()}) == len(held)
            assert IPv4Network(found).subnet_of(FOUR)


def test_everything_but_a_hosts_own_subnet_leads_to_itself():
    settings = NetworkSettings(pods="10.240.0.0/22", services="10.96.0.0/16")
    assert settings.ranges("10.240.1.0/24") == ("10.96.0.0/16", "10.240.0.0/24", "10.240.2.0/23")
    assert settings.resolver == "10.96.0.10"
