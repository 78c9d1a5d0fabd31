"""How plugins' answers become a decision, and what happens when a plugin fails."""

from dataclasses import dataclass

import numpy as np

from scheduler import hookimpl
from scheduler.hookspecs import (
    Change,
    Normalise,
    PerNodeFilter,
    PerNodeScorer,
    Rejection,
    Verdict,
)
from scheduler.placement.framework import Framework
from scheduler.plugin_manager import PluginManager
from scheduler.profile import Profile
from tests.placement_cases import a_class, cluster, decide, node


@dataclass(frozen=True)
class Rejects(PerNodeFilter):
    """Rejects nodes by name, with a reason each."""

    reasons: tuple[tuple[str, str], ...] = ()

    def rejects(self, pod, node):
        return dict(self.reasons).get(node.name)


@dataclass(frozen=True)
class Likes(PerNodeScorer):
    """Likes one node, less with every copy."""

    favourite: str = ""

    def rate(self, pod, node):
        return 50.0 - 10 * node.copies if node.name == self.favourite else 25.0


class Broken:
    name = "Broken"
    wakes_on = Change.ANY
    weight = 1
    normalise = Normalise.NONE
    depends_on_copies = True

    def filter(self, pod, snapshot):
        raise RuntimeError("out of cheese")

    def score(self, pod, snapshot, rows, copies):
        raise RuntimeError("out of cheese")


class Offer:
    def __init__(self, filters=(), scorers=()):
        self.filters, self.scorers = filters, scorers

    @hookimpl
    def ironfree_filters(self):
        return self.filters

    @hookimpl
    def ironfree_scorers(self):
        return self.scorers


def framework(filters=(), scorers=()):
    manager = PluginManager()
    manager.register(Offer(filters, scorers), "test")
    manager.collect()
    rules = manager.rules(Profile())
    return Framework(rules.filters, rules.scorers)


NODES = [node("a"), node("b"), node("c")]


def test_per_node_plugins_filter_and_score():
    deciding = framework([Rejects("No", reasons=(("a", "a is taken"),))], [Likes("Likes", 1)])
    names, decision = decide(cluster(*NODES), a_class(), framework=deciding)
    assert names == ["b"]
    assert [(r.plugin, r.nodes) for r in decision.rejected] == [("No", 1)]
    fond = framework(scorers=[Likes("Likes", favourite="c")])
    names, decision = decide(cluster(*NODES), a_class(), 6, framework=fond)
    assert names == ["c", "c", "c", "a", "a", "a"]
    assert decision.alternatives[0].node == "c"
    assert decision.alternatives[0].scores == {"Likes": 50.0}


def test_reasons_are_counted_and_sorted_as_upstream():
    reasons = (("a", "z reason"), ("b", "a reason"), ("c", "a reason"))
    rejecting = framework([Rejects("No", Change.NODE_LABELS, reasons)])
    names, decision = decide(cluster(*NODES), a_class(), framework=rejecting)
    assert names == []
    assert decision.diagnosis.message == ("0/3 nodes are available: 1 z reason, 2 a reason.")
    assert decision.diagnosis.wakes_on == Change.NODE_LABELS | Change.NODE_ADDED


def test_a_failing_filter_places_nothing_and_is_named():
    names, decision = decide(cluster(*NODES), a_class(), framework=framework([Broken()]))
    assert names == []
    assert decision.diagnosis.message.startswith("filter Broken of plugin 'test' failed on")
    assert "out of cheese" in decision.diagnosis.message


def test_a_failing_scorer_is_left_out_and_named():
    deciding = framework(scorers=[Broken(), Likes("Likes", favourite="b")])
    names, decision = decide(cluster(*NODES), a_class(), framework=deciding)
    assert names == ["b"]
    assert decision.failures[0].startswith("scorer Broken of plugin 'test' failed on")


def test_a_filter_that_cannot_say_why_is_named():
    class Mute(Broken):
        name = "Mute"

        def filter(self, pod, snapshot):
            return Verdict(snapshot.none(), self.explain)

        def explain(self):
            raise KeyError("why")

    _, decision = decide(cluster(*NODES), a_class(), framework=framework([Mute()]))
    assert decision.diagnosis.message.startswith("filter Mute failed to say why it rejects")


def test_rejections_of_one_filter_may_overlap():
    class Two(Broken):
        name = "Two"

        def filter(self, pod, snapshot):
            both = [Rejection("first", snapshot.every()), Rejection("second", snapshot.every())]
            return Verdict(np.zeros(snapshot.size, dtype=np.int64), lambda: both)

    _, decision = decide(cluster(*NODES), a_class(), framework=framework([Two()]))
    assert decision.diagnosis.message == "0/3 nodes are available: 3 first, 3 second."


def test_alternatives_are_the_best_nodes_and_the_chosen_one_leads():
    nodes = [node(f"n{i}", cpu=str(cpu)) for i, cpu in enumerate((16, 2, 8, 4, 32, 64))]
    names, decision = decide(cluster(*nodes), a_class(cpu="1", memory="1Gi"))
    assert names == ["n1"]
    assert [a.node for a in decision.alternatives] == ["n1", "n3", "n2", "n0"]
    totals = [a.total for a in decision.alternatives]
    assert totals == sorted(totals, reverse=True)


@dataclass(frozen=True)
class Hints:
    """Rejects both of two nodes, and hints what can help the first, or both."""

    reasoned: bool
    name: str = "Hints"
    wakes_on: Change = Change.POD_PLACED | Change.NAMESPACE

    def filter(self, pod, snapshot):
        if not self.reasoned:
            return Verdict(snapshot.none(), "never", wakes_on=Change.NODE_TAINTS)
        first = snapshot.every()
        first[1:] = False
        return Verdict(
            snapshot.none(),
            lambda: (Rejection("one", first, wakes_on=Change.POD_LABELS), Rejection("two", ~first)),
        )


def test_a_rejection_may_say_that_fewer_changes_help_it():
    wanted = a_class(cpu="1")
    both = Framework([Hints(reasoned=True)], [])
    _, decision = decide(cluster(node("a"), node("b")), wanted, framework=both)
    by_rule = Change.POD_PLACED | Change.NAMESPACE
    assert decision.diagnosis.wakes_on == Change.NODE_ADDED | Change.POD_LABELS | by_rule
    _, decision = decide(cluster(node("a")), wanted, framework=both)
    assert decision.diagnosis.wakes_on == Change.NODE_ADDED | Change.POD_LABELS
    plain = Framework([Hints(reasoned=False)], [])
    _, decision = decide(cluster(node("a")), wanted, framework=plain)
    assert decision.diagnosis.wakes_on == Change.NODE_ADDED | Change.NODE_TAINTS


def _on(*names, terms=1):
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": list(names)}]}
    required = {"nodeSelectorTerms": [term] * terms}
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"affinity": {"nodeAffinity": {field: required}}}


def test_a_pod_that_names_its_only_node_is_not_scored():
    state = cluster(node("a", cpu="2"), node("b", cpu="2"))
    names, decision = decide(state, a_class(cpu="1", **_on("b")), 3)
    assert names == ["b", "b"]
    assert decision.alternatives == ()
    assert decision.diagnosis is not None
    _, scored = decide(state, a_class(cpu="1"), 1)
    assert scored.alternatives


def test_a_node_that_is_the_only_one_left_is_scored_unless_the_pod_names_it():
    state = cluster(node("a", cpu="2"), node("b", cpu="1"))
    names, decision = decide(state, a_class(cpu="2"))
    assert names == ["a"]
    assert decision.alternatives[0].scores


def test_which_classes_name_nodes():
    assert a_class(**_on("a", terms=2)).names_nodes
    assert a_class(nodeName="a").names_nodes
    assert not a_class().names_nodes
    either = _on("a", terms=2)
    (field,) = either["affinity"]["nodeAffinity"]
    disk = {"key": "disk", "operator": "Exists"}
    either["affinity"]["nodeAffinity"][field]["nodeSelectorTerms"][1] = {"matchExpressions": [disk]}
    assert not a_class(**either).names_nodes
    assert a_class(**_on()).names_nodes  # names none, and may go nowhere
