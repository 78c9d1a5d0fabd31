"""What batch rules say of one pod more on a node, whoever puts it there."""

import ironfree_licence_cap as licences

from scheduler.objects.pod_class import pod_class
from scheduler.placement.binding_review import objection
from scheduler.plugin_manager import GuardedBatchRule
from tests.placement_cases import pod, spec
from tests.rebalance_cases import host, member, scenario

DB = "vendor/db"


def needing(image=DB):
    body = spec(cpu="1")
    body["containers"][0]["image"] = image
    return body


def said(node, copies, *on, image=DB):
    """Return what is said of a pod for a node, with copies on others."""
    pods = [member(f"p{n}", name, owner=None, json=needing()) for n, name in enumerate(on)]
    cluster = scenario(host("a"), host("b"), host("c"), pods=pods)
    rule = licences.LicenceCap((licences.Licence(DB, copies),))
    wanted = pod_class(pod("new", json=needing(image)))
    return objection(wanted, node, cluster, (GuardedBatchRule(rule, "example"),))


def test_a_copy_more_is_held_against_the_cap_and_against_the_host():
    assert said("a", 1) == ""
    assert said("b", 2, "a") == ""
    assert "LicenceCap" in said("a", 2, "a")
    assert "LicenceCap" in said("b", 1, "a")
    assert said("a", 1, "a", image="web") == ""


def test_what_is_exceeded_already_keeps_only_those_that_it_is_about():
    assert said("c", 1, "a", "b", image="web") == ""
    assert "LicenceCap" in said("c", 1, "a", "b")


def test_a_node_that_is_not_known_is_not_judged():
    assert said("z", 1) == ""


def test_on_a_rule_that_fails_nothing_is_bound():
    class Broken:
        name = "Broken"

        def terms(self, batch):
            raise ValueError("no")

        def check(self, batch, plan):
            return ()

    wanted = pod_class(pod("new", json=needing()))
    broken = (GuardedBatchRule(Broken(), "tests"),)
    assert "Broken" in objection(wanted, "a", scenario(host("a")), broken)
