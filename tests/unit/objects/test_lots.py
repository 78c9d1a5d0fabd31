"""Cohorts in memory are found as if each of their pods were held alone."""

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.objects.cohort import PLACES, Berths, Reports, Stencil
from scheduler.objects.lots import Lots
from scheduler.objects.stored import Binding
from tests.store_values import cohort, key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTS = (PLACES - 3, 4, 10, 11, 500)
NODES = ("a", "b", "c")
INDEXERS = {
    "node": lambda pod: (pod.binding.node,) if pod.binding else (),
    "label": lambda pod: tuple(pod.meta.labels.values()),
    "status": lambda pod: (pod.status.decode(),),
    "none": lambda pod: (),
}
STENCIL = Stencil.of(b'{"phase":"Running","podIP":"@ip@"}', ["@ip@"])


class Plain:
    """The same, pod by pod."""

    def __init__(self):
        self.pods = {}

    def add(self, lot):
        self.pods |= {lot.pod(n).key: lot.pod(n) for n in range(lot.size)}

    def bind(self, lot, berths):
        pairs = zip(berths.ordinals, berths.nodes, strict=True)
        for revision, (ordinal, node) in enumerate(pairs, berths.revision):
            pod = lot.pod(ordinal, Binding(node, NOW, revision))
            self.pods[pod.key] = pod

    def report(self, lot, reports):
        for number, ordinal in enumerate(reports.ordinals):
            where = lot.pod(ordinal).key
            binding, revision = self.pods[where].binding, reports.revision + number
            self.pods[where] = lot.pod(ordinal, binding, reports.status(number), revision)

    def indexed(self, index, value):
        return [pod for pod in self.pods.values() if value in INDEXERS[index](pod)]


def same(lots, plain, keys):
    assert dict(lots.all()) == plain.pods
    assert len(lots) == len(plain.pods)
    for each in keys:
        assert lots.find(each) == plain.pods.get(each)
    assert all(lots.lodged(pod.meta.uid) for pod in plain.pods.values())
    assert not lots.lodged("uid-of-a-stranger")
    assert lots.having("node", {*NODES, "no such node"}) == {
        node for node in NODES if list(plain.indexed("node", node))
    }
    for index, value in (*(("node", n) for n in NODES), ("label", "x"), ("label", "y")):
        expected = {pod.key: pod for pod in plain.indexed(index, value)}
        found = list(lots.by_index(index, value))
        assert len(found) == len(expected)
        assert {pod.key: pod for pod in found} == expected
        crowds = Counter()
        for crowd in lots.crowds(index, value):
            assert expected[crowd.sample.key] == crowd.sample
            node = crowd.sample.binding.node if crowd.sample.binding else ""
            crowds[crowd.sample.meta.uid[:28], node, bool(crowd.sample.status)] += crowd.count
        assert crowds == Counter(
            (pod.meta.uid[:28], pod.binding.node if pod.binding else "", bool(pod.status))
            for pod in expected.values()
        )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_lots_equal_pods_held_alone(data):
    lots, plain = Lots(lambda pod: pod, INDEXERS), Plain()
    made, revision = {}, 100
    keys = {key("pods", name, "default") for name in ("web-", "x", "web-bbbbb", "other-bbbbb")}
    for _ in range(data.draw(st.integers(1, 12))):
        step = data.draw(st.sampled_from(("add", "bind", "report", "take")))
        if step == "add":
            start = data.draw(st.sampled_from(STARTS))
            size = data.draw(st.integers(1, 6 if start != 10 else 1))
            prefix = data.draw(st.sampled_from(("web-", "other-")))
            held = [lot for lot in made.values() if lot.prefix == prefix and lot.uid in lots]
            if any(lot.overlaps(start, size) for lot in held):
                continue
            label = data.draw(st.sampled_from("xy"))
            lot = cohort(size, start, prefix=prefix, labels={"l": label})
            made[lot.uid] = lot
            lots.add(lot)
            plain.add(lot)
            keys |= {lot.pod(n).key for n in range(size)} | {key("pods", lot.name(size), "default")}
        elif step == "bind" and made:
            lot = data.draw(st.sampled_from(list(made.values())))
            here = (plain.pods.get(lot.pod(n).key) for n in range(lot.size))
            free = [
                int(pod.meta.uid[28:], 16)
                for pod in here
                if pod and pod.binding is None and pod.meta.uid[:28] == lot.uid[:28]
            ]
            if not free:
                continue
            some = data.draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
            nodes = tuple(data.draw(st.sampled_from(NODES)) for _ in some)
            berths = Berths(revision, NOW, tuple(some), nodes, {}, 0, 0)
            revision += len(some)
            lots.bind(lot, berths)
            plain.bind(lot, berths)
        elif step == "report" and made:
            lot = data.draw(st.sampled_from(list(made.values())))
            here = (plain.pods.get(lot.pod(n).key) for n in range(lot.size))
            silent = [
                int(pod.meta.uid[28:], 16)
                for pod in here
                if pod and pod.binding and not pod.status and pod.meta.uid[:28] == lot.uid[:28]
            ]
            if not silent:
                continue
            some = data.draw(st.lists(st.sampled_from(silent), min_size=1, unique=True))
            own = tuple((f"10.0.0.{n}",) for n in some)
            reports = Reports(revision, tuple(some), "Running", STENCIL, own)
            revision += len(some)
            lots.report(lot, reports)
            plain.report(lot, reports)
        else:
            for each in data.draw(st.lists(st.sampled_from(sorted(keys)), unique=True)):
                taken = lots.take(each)
                assert taken == plain.pods.pop(each, None)
                assert taken is None or not lots.lodged(taken.meta.uid)
        same(lots, plain, keys)
    lots.clear()
    same(lots, Plain(), keys)
    assert not any(lot.uid in lots for lot in made.values())


def test_a_place_given_again_before_its_end_is_heard_of():
    """Of an older cohort whose last pod changed twice, only the second change may be heard of."""
    lots = Lots(lambda pod: pod, INDEXERS)
    old, new = cohort(2, 5), cohort(1, 5)
    lots.add(old)
    assert lots.take(old.pod(0).key) == old.pod(0)
    lots.add(new)
    assert lots.find(new.pod(0).key) == new.pod(0)
    assert lots.take(old.pod(1).key) == old.pod(1)
    assert dict(lots.all()) == {new.pod(0).key: new.pod(0)}
