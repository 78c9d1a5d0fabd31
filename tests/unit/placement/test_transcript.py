"""What is kept of a decision says what the inspection said."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.placement import transcript
from scheduler.placement.inspection import inspect
from scheduler.placement.transcript import read, transcribe
from tests.placement_cases import a_class, cluster, default_framework, node, pod

FRAMEWORK = default_framework()


def inspection(*nodes, pods=(), wanted=None):
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    wanted = wanted or a_class(cpu="1")
    return inspect(wanted, snapshot, FRAMEWORK.filters, FRAMEWORK.scorers)


def told(seen):
    return read(transcribe(seen), [facts.name for facts in seen.snapshot.nodes])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["500m", "1", "2", "4"]), st.booleans(), st.booleans()),
        max_size=12,
    )
)
def test_every_verdict_survives(shapes):
    taint = ("gpu", "NoSchedule", "")
    nodes = [
        node(f"n{at}", cpu=cpu, unschedulable=cordoned, taints=[taint] if tainted else [])
        for at, (cpu, cordoned, tainted) in enumerate(shapes)
    ]
    seen = inspection(*nodes)
    nodes_told, kept = told(seen)
    assert [each.verdict for each in nodes_told] == seen.verdicts()
    assert kept.total == len(nodes)
    assert kept.asked == {"cpu": 1000, "pods": 1}


def test_what_was_free_is_kept_of_the_resources_asked_for():
    seen = inspection(node("a", cpu="4"), pods=[pod(node="a", cpu="3500m")])
    (only,), _ = told(seen)
    assert only.free == {"cpu": 500, "pods": 109}
    assert only.verdict.reasons == ("Insufficient cpu",)


def test_beyond_the_limit_the_best_and_a_sample_are_kept(monkeypatch):
    monkeypatch.setattr(transcript, "MOST_NODES", 20)
    monkeypatch.setattr(transcript, "_BEST", 5)
    nodes = [node(f"n{at:03}", cpu=str(2 + at % 7)) for at in range(100)]
    seen = inspection(*nodes)
    nodes_told, kept = told(seen)
    assert kept.total == 100
    assert len(nodes_told) <= 25
    best = seen.snapshot.nodes[seen.best].name
    assert best in [each.verdict.name for each in nodes_told]
    by_name = {verdict.name: verdict for verdict in seen.verdicts()}
    assert all(each.verdict == by_name[each.verdict.name] for each in nodes_told)


def test_thousands_of_nodes_take_kilobytes():
    nodes = [node(f"n{at}", cpu=str(2 + at % 30)) for at in range(5000)]
    seen = inspection(*nodes)
    assert len(transcribe(seen)) < 40_000
    assert np.count_nonzero(seen.totals) == 5000
