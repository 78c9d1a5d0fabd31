"""Whom a pod would have to evict on each node, tried on a what-if snapshot.

Pure. On a node all pods of lower priority are taken away, then put back one after another, those
first whose eviction breaks a disruption budget, then the more important, as long as the pod still
fits. Where every rule looks at one node alone, all nodes are tried in the same pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import Counts, Filter, Mask, PodClass, Rows, Snapshot, Verdict
from .framework import first_objections, rejections
from .residents import Residents, on_nodes
from .tenancy import UNSTARTED, RunningPod, Tenancy, ranked, ranks, violating
from .what_if import WhatIf

_POSITIVE = 2**31  # added to priorities, so that every further victim makes a sum larger
_LEAST = -(2**63)


@dataclass(frozen=True, slots=True, eq=False)
class Benches:
    """The pods of lower priority of B nodes, T together, in the order they may come back.

    Args:
        rows: (B,) the nodes, in the order they are looked at.
        starts, sizes: (B,) where a node's pods begin among all, and how many they are.
        pods: those whose eviction breaks a budget first, node by node.
        breaking: (T,) which do.
        priorities, started: (T,) int64.
    """

    rows: Rows
    starts: Counts
    sizes: Counts
    pods: Residents
    breaking: NDArray[np.bool_]
    priorities: Counts
    started: Counts

    @classmethod
    def below(
        cls, pod: PodClass, snapshot: Snapshot, tenancy: Tenancy, where: Mask, start: int
    ) -> "Benches":
        """Return those of lower priority than the pod.

        Args:
            where: (N,) on which nodes.
            start: the row that comes first.
        """
        inhabited = snapshot.none()
        lesser = (rows for each, rows in snapshot.placed.items() if each.priority < pod.priority)
        inhabited[np.fromiter(chain.from_iterable(lesser), dtype=np.int64)] = True
        candidates = np.flatnonzero(where & inhabited)
        candidates = np.roll(candidates, -int(np.searchsorted(candidates, start)))
        nodes = snapshot.nodes
        indices: list[int] = candidates.tolist()
        everyone = on_nodes(tenancy.running, [nodes[row].name for row in indices])
        lower = everyone.take(np.flatnonzero(everyone.priorities < pod.priority))
        pods = lower.take(ranks(lower.priorities, lower.started, lower.whose))
        benches, sizes = np.unique(pods.whose, return_counts=True)
        return cls.of(candidates[benches], sizes, pods, tenancy)

    @classmethod
    def of(cls, rows: Rows, sizes: Counts, pods: Residents, tenancy: Tenancy) -> "Benches":
        """Return benches of pods ranked node by node."""
        starts = np.cumsum(sizes) - sizes
        breaking = np.zeros(len(pods), dtype=np.bool_)
        if tenancy.budgets:
            sorted_out: list[Sequence[RunningPod]] = []
            for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
                there = [pods[number] for number in range(start, start + size)]
                broken, others = violating(there, tenancy.budgets)
                breaking[start : start + len(broken)] = True
                sorted_out.append([*broken, *others])
            pods = Residents.of(sorted_out)
        return cls(rows, starts, sizes, pods, breaking, pods.priorities, pods.started)

    def numbers(self, which: Rows) -> Rows:
        """Return the numbers of the pods on these of the B nodes."""
        if which.size == self.rows.size:
            return np.arange(len(self.pods), dtype=np.int64)
        if which.size == 1:
            start = int(self.starts[which[0]])
            return np.arange(start, start + int(self.sizes[which[0]]), dtype=np.int64)
        sizes = self.sizes[which]
        before = np.cumsum(sizes) - sizes
        offsets = np.repeat(self.starts[which] - before, sizes)
        return np.arange(offsets.size, dtype=np.int64) + offsets

    def costs(self, which: Rows, away: NDArray[np.bool_]) -> tuple[Counts, ...]:
        """Return columns that sort the cheaper first (kube-scheduler's pickOneNodeForPreemption).

        Fewest broken budgets, lowest highest priority, lowest sum of priorities, fewest pods,
        latest of the earliest starts of those of the highest priority.

        Args:
            which: some of the B nodes.
            away: (T,) who would have to go, at least one on each of them.
        """
        numbers = self.numbers(which)
        sizes = self.sizes[which]
        starts = np.cumsum(sizes) - sizes
        gone, priorities = away[numbers], self.priorities[numbers]
        highest = np.maximum.reduceat(np.where(gone, priorities, _LEAST), starts)
        top = gone & (priorities == np.repeat(highest, sizes))
        return (
            np.add.reduceat((gone & self.breaking[numbers]).astype(np.int64), starts),
            highest,
            np.add.reduceat(np.where(gone, priorities + _POSITIVE, 0), starts),
            np.add.reduceat(gone.astype(np.int64), starts),
            -np.minimum.reduceat(np.where(top, self.started[numbers], UNSTARTED), starts),
        )


Outcome = tuple[int, int, int, int, int, int, Sequence[int]]
"""What a copy on a node would cost, in five parts, the bench, and the numbers of those to go.

So the cheaper sorts first, and of those that cost the same the one that was looked at first.
"""
VIOLATIONS, BENCH, GONE = 0, 5, 6


class DryRun:
    """Tries one class on the nodes of the benches.

    Args:
        filters: all of them, in order.
        asked: those whose answer depends on who runs where.
        shut: (N,) where the others say no.
    """

    def __init__(
        self,
        pod: PodClass,
        filters: Sequence[Filter],
        asked: Sequence[Filter],
        shut: Mask,
        benches: Benches,
        snapshot: Snapshot,
    ) -> None:
        self._pod = pod
        self._filters = filters
        self._asked = asked
        self._shut = shut
        self._benches = benches
        self._broken = bool(benches.breaking.any())
        self._reasons: dict[int, tuple[str, ...]] = {}  # by bench, of those tried alone
        sizes = benches.sizes
        self._what_if = WhatIf(
            snapshot,
            np.repeat(benches.rows, sizes),
            benches.pods.classes,
            benches.pods.kinds,
            benches.pods.leaving,
        )

    def invite(self, pod: PodClass, which: Rows | int, count: Counts | int = 1) -> None:
        """Count further nominated pods of a class on benches' nodes, which differ."""
        rows = self._benches.rows[which]
        self._what_if.invite(pod, int(rows) if isinstance(which, int) else rows, count)

    def together(self, which: Rows) -> dict[int, Outcome | None]:
        """Try benches at once; right where every rule looks at one node alone."""
        benches, what_if = self._benches, self._what_if
        everyone = benches.numbers(which)
        what_if.send_away(everyone)
        able = which[self._fits(benches.rows[which])]
        for turn in range(int(benches.sizes[able].max(initial=0))):
            trying = able[benches.sizes[able] > turn]
            pods = benches.starts[trying] + turn
            what_if.take_back(pods)
            what_if.send_away(pods[~self._fits(benches.rows[trying])])
        away = what_if.away
        what_if.take_back(everyone[away[everyone]])
        return {**dict.fromkeys(which.tolist()), **self._outcomes(able, away)}

    def alone(self, bench: int) -> Outcome | None:
        """Try one bench, as the cluster would be without its pods."""
        benches, what_if = self._benches, self._what_if
        which = np.array([bench], dtype=np.int64)
        everyone = benches.numbers(which)
        row = int(benches.rows[bench])
        what_if.send_away(everyone)
        objection = self._objection(row)
        self._reasons.pop(bench, None)
        if objection is not None:
            what_if.take_back(everyone)
            self._reasons[bench] = _reasons_at(*objection, row)
            return None
        for number in everyone[:, None]:
            what_if.take_back(number)
            if self._objection(row) is not None:
                what_if.send_away(number)
        away = what_if.away
        what_if.take_back(everyone[away[everyone]])
        return self._outcomes(which, away).get(bench)

    def able(self, filters: Iterable[Filter]) -> Mask:
        """Return, by bench, where filters that look at one node alone let the pod in at most."""
        everyone = np.arange(len(self._benches.pods), dtype=np.int64)
        self._what_if.send_away(everyone)
        able = self._passes(filters, self._what_if.snapshot()) & ~self._shut
        self._what_if.take_back(everyone)
        return able[self._benches.rows]

    def victims(self, outcome: Outcome) -> tuple[RunningPod, ...]:
        """Return who would have to go, the most important first."""
        benches = self._benches
        victims = [benches.pods[number] for number in outcome[GONE]]
        if not self._broken:
            return tuple(victims)
        start = int(benches.starts[outcome[BENCH]])
        breaking = benches.breaking[start : start + int(benches.sizes[outcome[BENCH]])]
        return tuple(ranked(victims) if breaking.any() and not breaking.all() else victims)

    def refusals(self) -> list[tuple[str, int]]:
        """Return why the benches' nodes would refuse the pod even if all pods of theirs left.

        Returns:
            each reason with how many nodes it holds for.
        """
        told = [(reason, 1) for reasons in self._reasons.values() for reason in reasons]
        nodes = self._shut & False
        nodes[self._benches.rows] = True
        nodes[self._benches.rows[list(self._reasons)]] = False
        everyone = np.arange(len(self._benches.pods), dtype=np.int64)
        what_if = self._what_if
        what_if.send_away(everyone)
        for guests in (self._benches.rows, None) if what_if.has_guests else (None,):
            snapshot = what_if.snapshot(guests)
            objections = first_objections(self._pod, self._filters, snapshot, nodes)
            told += [(rejection.reason, count) for _, rejection, count in objections]
        what_if.take_back(everyone)
        return told

    def _outcomes(self, which: Rows, away: NDArray[np.bool_]) -> dict[int, Outcome]:
        """Return the outcomes of nodes that the pod fits on; none where nobody need go."""
        numbers = self._benches.numbers(which)
        if not numbers.size:
            return {}
        sizes = self._benches.sizes[which]
        gone = away[numbers]
        counts = np.add.reduceat(gone, np.cumsum(sizes) - sizes, dtype=np.int64)
        somebody = counts > 0
        which, counts = which[somebody], counts[somebody]
        if not which.size:
            return {}
        costs = [column.tolist() for column in self._benches.costs(which, away)]
        everyone: tuple[int, ...] = tuple(numbers[gone].tolist())
        ends: list[int] = np.cumsum(counts).tolist()
        groups = [everyone[end - n : end] for end, n in zip(ends, counts.tolist(), strict=True)]
        indices: list[int] = which.tolist()
        return dict(zip(indices, zip(*costs, indices, groups, strict=True), strict=True))

    def _fits(self, rows: Rows) -> Mask:
        """Return on which of the rows the pod fits, beside the pods nominated there and alone."""
        fits = self._passes(self._asked, self._what_if.snapshot())
        if self._what_if.has_guests:
            fits &= self._passes(self._asked, self._what_if.snapshot(rows))
        return fits[rows] & ~self._shut[rows]

    def _passes(self, filters: Iterable[Filter], snapshot: Snapshot) -> Mask:
        room = snapshot.every()
        for plugin in filters:
            verdict = plugin.filter(self._pod, snapshot)
            if verdict is not None:
                room &= verdict.room != 0
        return room

    def _objection(self, row: int) -> tuple[Filter, Verdict] | None:
        """Return the first filter that rejects the row, beside nominated pods first."""
        there = np.array([row], dtype=np.int64)
        for guests in (there, None) if self._what_if.has_guests else (None,):
            snapshot = self._what_if.snapshot(guests)
            for plugin in self._asked:
                verdict = plugin.filter(self._pod, snapshot)
                if verdict is not None and not verdict.room[row]:
                    return plugin, verdict
        return None


def _reasons_at(plugin: Filter, verdict: Verdict, row: int) -> tuple[str, ...]:
    return tuple(r.reason for r in rejections(plugin.name, verdict) if r.nodes[row])
