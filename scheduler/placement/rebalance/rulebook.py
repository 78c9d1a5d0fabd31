"""What batch rules let be done to running pods.

Pure. A batch rule judges a batch. Here that is everything that runs, as if one Placement had placed
it all, on a cluster with nothing but daemons; so a rule counts a pod once, wherever it is, and one
that is being replaced twice. What its terms forbid or demand is counted copy by copy, and what its
`check` says is asked of the whole. A change is refused if it makes anything worse than it is; what
is broken already keeps nobody else from being moved.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...batch_terms import Batch, BatchPlan
from ...hookspecs import Change, PodClass, Snapshot, Verdict
from ...plugin_manager import GuardedBatchRule
from ...snapshot import Counts, Mask
from ..batch.stated import state
from ..batch.tallies import Tally, tallies

Put = tuple[PodClass, int, int]
"""Copies (below 0: they leave) of a class on a row."""
Said = tuple[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A rule with what it has stated, and what it says of today."""

    rule: GuardedBatchRule
    tallies: Sequence[Tally]
    today: Counter[Said]
    amount: float


class Rulebook:
    """Batch rules, and where the pods are that they are about.

    Args:
        rules: of the profile.
        snapshot: the cluster without the pods.
        pods, rows: of each pod its class, and its node's row.
        coming: classes of which a pod may come besides.

    Raises:
        PluginError: a rule failed, or said what cannot be; names it.
    """

    def __init__(
        self,
        rules: Sequence[GuardedBatchRule],
        snapshot: Snapshot,
        pods: Sequence[PodClass],
        rows: Sequence[int],
        coming: Iterable[PodClass] = (),
    ) -> None:
        counts = Counter([*pods, *coming])
        self._code = {pod: c for c, pod in enumerate(counts)}
        self._batch = Batch(
            snapshot,
            snapshot.all_rows,
            tuple(counts),
            np.array(list(counts.values()), dtype=np.int64),
        )
        self._copies = _Copies(snapshot.size)
        stated = [tallies(state(self._batch, [rule]), snapshot.size) for rule in rules]
        self._of: dict[int, list[tuple[GuardedBatchRule, Tally]]] = {}
        for rule, each in zip(rules, stated, strict=True):
            for tally in each:
                for c in tally.classes:
                    self._of.setdefault(c, []).append((rule, tally))
        self.add((pod, row, 1) for pod, row in zip(pods, rows, strict=True))
        self._stated = list(zip(rules, stated, strict=True))
        self.settle()

    def settle(self) -> None:
        """Take things as they are now for what may be, as they are at first."""
        plan = self._copies.plan()
        self._entries = [
            _Entry(rule, each, self._said(rule, plan), _settled(each))
            for rule, each in self._stated
        ]

    def move(self, moves: Sequence[tuple[PodClass, int, int]]) -> str:
        """Count moves (class, from, to), one after the other and each with both copies first.

        Return what is against them, and nothing is counted then; "" where nothing is.

        Raises:
            PluginError: a rule failed.
        """
        done: list[Put] = []
        for pod, source, target in moves:
            for change in ((pod, target, 1), (pod, source, -1)):
                self._put(change)
                done.append(change)
                why = self._worse(pod)
                if why:
                    self.restore(done)
                    return why
        return ""

    def come(self, pod: PodClass, row: int) -> str:
        """Count a pod that comes besides; as `move` else."""
        self._put((pod, row, 1))
        why = self._worse(pod)
        if why:
            self._put((pod, row, -1))
        return why

    def begin(self, pod: PodClass, target: int, leaving: Sequence[Put]) -> str:
        """Count the replacement of a pod that stays for the time being; as `move` else.

        Args:
            leaving: the pod and all others that are being replaced; it is judged with and without.
        """
        why = self.come(pod, target)
        if why:
            return why
        self.restore(leaving)
        why = self._worse(pod)
        self.add(leaving)
        if why:
            self._put((pod, target, -1))
        return why

    def add(self, changes: Iterable[Put]) -> None:
        """Count copies of which nobody is asked."""
        for change in changes:
            self._put(change)

    def restore(self, changes: Iterable[Put]) -> None:
        """Take changes back."""
        self.add((pod, row, -copies) for pod, row, copies in changes)

    def offenders(self) -> frozenset[PodClass]:
        """Return classes of which something is broken as it is."""
        found: set[int] = set()
        for entry in self._entries:
            for _, classes in entry.today:
                found |= classes or set(self._code.values())
            for tally in entry.tallies:
                found |= tally.classes if tally.settled.any() else set()
        return frozenset(pod for pod, c in self._code.items() if c in found)

    def opens(self, pod: PodClass) -> Mask | None:
        """Return (N,) where terms let one copy more be; None where no term is about the class."""
        mine = self._of.get(self._code.get(pod, -1))
        if not mine:
            return None
        return np.logical_and.reduce([tally.opens(self._code[pod]) for _, tally in mine])

    def _put(self, change: Put) -> None:
        pod, row, copies = change
        c = self._code.get(pod)
        if c is None:
            return  # nothing like it runs: a rule has not been told of it
        self._copies.put(c, row, copies)
        for _, tally in self._of.get(c, ()):
            tally.put(c, row, copies)

    def _worse(self, pod: PodClass) -> str:
        """Return what is worse than it was today, after a change to a class."""
        for rule, tally in self._of.get(self._code[pod], ()):
            if tally.worse():
                return f"batch rule {rule.name} forbids it"
        plan = self._copies.plan()
        for entry in self._entries:
            new = self._said(entry.rule, plan) - entry.today
            # What is said of less than before is no news: the terms know how much is broken.
            if new and not (entry.today and _amount(entry.tallies) < entry.amount):
                message, _ = next(iter(new))
                return f"batch rule {entry.rule.name}: {message}"
        return ""

    def _said(self, rule: GuardedBatchRule, plan: BatchPlan) -> Counter[Said]:
        return Counter(
            (each.said, frozenset(each.classes)) for each in rule.check(self._batch, plan)
        )


def _amount(given: Iterable[Tally]) -> float:
    return float(sum(tally.broken().sum() for tally in given))


def _settled(given: Sequence[Tally]) -> float:
    for tally in given:
        tally.settle()
    return _amount(given)


class _Copies:
    """Copies by class and row, as columns that grow."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._known: dict[tuple[int, int], int] = {}
        self._entries: Counts = np.zeros((3, 64), dtype=np.int64)

    def put(self, c: int, row: int, copies: int) -> None:
        at = self._known.get((c, row))
        if at is None:
            at = self._known[c, row] = len(self._known)
            if at == self._entries.shape[1]:
                self._entries = np.concatenate([self._entries, np.zeros_like(self._entries)], 1)
            self._entries[:, at] = c, row, 0
        self._entries[2, at] += copies

    def plan(self) -> BatchPlan:
        there = self._entries[:, self._entries[2] > 0]
        return BatchPlan(there[0], there[1], there[2], self._rows)


@dataclass(slots=True)
class _Seating:
    """Where a class may be while copies of it are placed, of each of which one goes elsewhere."""

    book: Rulebook
    pod: PodClass
    sources: Sequence[int]
    there: list[int] = field(default_factory=list[int])

    @property
    def settled(self) -> bool:
        """Another copy may always change it."""
        return False

    def put(self, row: int) -> None:
        """Take over a copy."""
        self.there.append(row)

    def room(self) -> Mask:
        """Return where the next copy may be."""
        mine = moved(self.pod, self.sources, self.there)
        self.book.add(mine)
        opens = self.book.opens(self.pod)
        self.book.restore(mine)
        assert opens is not None
        return opens


@dataclass(frozen=True, slots=True)
class BatchRules:
    """A filter that keeps pods off where batch rules' terms do not let one copy more be.

    Args:
        sources: by class, rows of the pods that go elsewhere, in order.
    """

    book: Rulebook
    sources: Mapping[PodClass, Sequence[int]]
    name: str = "BatchRules"
    wakes_on: Change = field(default=Change.POD_REMOVED)

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Ask the book; what it has not been told of does not count."""
        opens = self.book.opens(pod)
        if opens is None:
            return None
        seating = _Seating(self.book, pod, self.sources.get(pod, ()))
        return Verdict(opens, "node(s) are forbidden by batch rules", coupling=seating)


def moved(pod: PodClass, sources: Sequence[int], targets: Sequence[int]) -> list[Put]:
    """Return the changes by which pods of a class go from some rows to as many or fewer others."""
    pairs = zip(sources, targets, strict=False)
    return [put for old, new in pairs for put in ((pod, new, 1), (pod, old, -1))]
