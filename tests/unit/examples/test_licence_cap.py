"""The example plugin: the cap holds for single pods and for batches, however they come."""

from dataclasses import replace

import ironfree_licence_cap as plugin
import pytest

from scheduler.errors import ConfigurationError
from scheduler.placement.framework import Framework
from scheduler.profile import PACKING
from tests.batch_cases import host, job, rules, settled, template, where
from tests.placement_cases import a_class, cluster, decide, node, pod, spec

HOSTS = [host(name) for name in "abcd"]
DB = "registry.example:5000/vendor/db"


def licensed(copies, image=DB):
    """Return the default rules with so many licences."""
    args = {**PACKING.args, plugin.NAME: {"licences": [{"image": image, "copies": copies}]}}
    return rules(plugin, profile=replace(PACKING, args=args))


def needing(image=f"{DB}:15"):
    body = spec(cpu="1")
    body["containers"][0]["image"] = image
    return body


def placed(copies, wanted, running=()):
    given = licensed(copies)
    state = cluster(*(node(name) for name in "abc"), pods=running)
    framework = Framework(given.filters, given.scorers)
    return decide(state, a_class(json=needing()), wanted, framework=framework)


def test_single_pods_get_hosts_of_their_own_up_to_the_cap():
    names, decision = placed(2, 3)
    assert len(set(names)) == len(names) == 2
    assert f"no licence left for {DB}" in decision.diagnosis.message


def test_running_copies_count_whatever_their_tag():
    names, _ = placed(2, 2, [pod(node="b", json=needing(f"{DB}@sha256:00"))])
    assert len(names) == 1
    assert names != ["b"]


def test_hosts_with_a_copy_say_so():
    running = [pod(node=name, json=needing()) for name in "abc"]
    names, decision = placed(9, 1, running)
    assert names == []
    assert "3 node(s) had a copy of the same licence" in decision.diagnosis.message


def test_other_images_are_free():
    given = licensed(0)
    framework = Framework(given.filters, given.scorers)
    names, _ = decide(cluster(node("a")), a_class(json=needing("db:15")), 3, framework=framework)
    assert names == ["a"] * 3


def test_a_batch_keeps_the_cap_over_all_its_classes_and_proves_it_best():
    found = settled(
        job(
            template("small", 3, cpu="1", image=f"{DB}:14"),
            template("large", 3, cpu="6", image=f"{DB}:15"),
            template("web", 5, cpu="1"),
        ),
        HOSTS,
        licensed(3),
    )
    assert found.violations == ()
    assert (found.placed, found.solver.goals[0].bound) == (8, "8")
    licences = [[p for p in pods if not p.startswith("web")] for pods in where(found).values()]
    assert max(map(len, licences)) == 1
    assert sum(map(len, licences)) == 3


def test_a_batch_counts_what_runs():
    running = {"metadata": {"name": "r"}, "spec": {**needing(), "nodeName": "a"}}
    found = settled(job(template("p", 3, cpu="1", image=DB)), HOSTS, licensed(3), pods=[running])
    assert found.placed == 2
    assert "a" not in where(found)


def test_the_check_counts_for_itself():
    """Without its terms and its filter the solver packs as it likes; the plan is refused."""

    class Blind(plugin.LicenceCap):
        def terms(self, batch):
            return ()

    class Plugin:
        @plugin.hookimpl
        def ironfree_batch_rules(self, args):
            return [Blind((plugin.Licence(DB, 2),))]

    found = settled(
        job(template("p", 3, cpu="1", image=DB), template("q", 3, cpu="1")),
        HOSTS,
        rules(Plugin()),
    )
    assert found.violations == (f"LicenceCap: 3 copies of {DB}, licensed for 2",)
    assert sorted(p for pods in where(found).values() for p in pods) == ["q-0", "q-1", "q-2"]


@pytest.mark.parametrize("given", [[{"image": "x"}], [{"image": "", "copies": 1}], "x", ["x"]])
def test_arguments_that_cannot_be_are_refused(given):
    args = {plugin.NAME: {"licences": given}}
    with pytest.raises(ConfigurationError, match=plugin.NAME):
        rules(plugin, profile=replace(PACKING, args=args))
