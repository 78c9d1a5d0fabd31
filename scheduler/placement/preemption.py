"""Chooses a node, and the pods of lower priority that must leave it, for a pod without one.

Pure; kube-scheduler's DefaultPreemption (≥ 1.34). On every node that would take the pod if others
left, all pods of lower priority are taken away on a what-if snapshot, then put back one after
another, those first whose eviction breaks a disruption budget, then the more important, as long as
the pod still fits. Of the nodes this works on, the one that costs least is chosen.

The filters are asked as ever, so a rule over groups of nodes (affinity, spread) counts like any
other. Where no rule of that kind has a say, every node is tried in the same pass; otherwise one
node after the other, until as many as kube-scheduler looks at would do. A victim's own affinity is
of no account before it is put back, as upstream.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

import msgspec
import numpy as np

from ..hookspecs import Filter, Mask, PodClass, Rows, Snapshot, Verdict
from ..objects.disruption import BY_PREEMPTION, TARGET, DisruptionBudget
from ..objects.pod import Pod
from ..objects.selectors import Selector
from ..objects.stored import ObjectKey
from .framework import rejections
from .what_if import WhatIf

NEVER = "Never"
_ENOUGH, _ENOUGH_PERCENT = 100, 10  # DefaultPreemptionArgs minCandidateNodes…: rules over groups
_MANY = 16  # copies from which on a further copy is tried on all nodes at once
_POSITIVE = 2**31  # added to priorities, so that every further victim makes a sum larger


class RunningPod(msgspec.Struct, frozen=True, gc=False):
    """A pod that is counted on a node.

    Args:
        start_time: status.startTime; None counts as just now.
        leaving: it is being deleted.
        preempted: it is being deleted to make room for another pod.
    """

    key: ObjectKey
    uid: str
    pod: PodClass
    start_time: datetime | None = None
    leaving: bool = False
    preempted: bool = False

    @classmethod
    def of(cls, pod: Pod, wanted: PodClass) -> Self:
        """Return a bound pod of a class as it stands."""
        leaving = pod.meta.deletion_timestamp is not None
        target = pod.status.condition(TARGET) if leaving else None
        by_us = target is not None and target.status == "True" and target.reason == BY_PREEMPTION
        key = ObjectKey("pods", pod.meta.namespace, pod.meta.name)
        return cls(key, pod.meta.uid, wanted, pod.status.start_time, leaving, by_us)


class Budget(msgspec.Struct, frozen=True):
    """A PodDisruptionBudget as its status stands.

    Args:
        disrupted: names of the pods whose eviction it has counted already.
    """

    namespace: str
    selector: Selector
    allowed: int
    disrupted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, budget: DisruptionBudget) -> Self:
        """Return what placement needs of a PodDisruptionBudget."""
        status = budget.status
        disrupted = frozenset(status.disrupted_pods)
        return cls(budget.meta.namespace, budget.selector, status.disruptions_allowed, disrupted)

    def covers(self, pod: RunningPod) -> bool:
        """Tell whether evicting the pod would use the budget up further.

        As in kube-scheduler an empty selector and a pod without labels match nothing.
        """
        labels = pod.pod.labels
        return (
            bool(labels)
            and self.namespace == pod.key.namespace
            and not self.selector.everything
            and self.selector.matches(labels)
            and pod.key.name not in self.disrupted
        )


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Who is where.

    Args:
        running: node → its pods; every one is counted in the snapshot.
        nominated: node → classes of pods that wait for room there, the pod in question excepted;
            they are not counted in the snapshot.
    """

    running: Mapping[str, Sequence[RunningPod]]
    budgets: Sequence[Budget] = ()
    nominated: Mapping[str, Sequence[PodClass]] = field(
        default_factory=dict[str, Sequence[PodClass]]
    )


class Preemption(msgspec.Struct, frozen=True):
    """A node and who must leave it, most important first.

    Args:
        victims: at least one, but for members of a gang of which others need room; those that are
            leaving already are among them.
        pdb_violations: how many of them no disruption budget allows to go.
    """

    node: str
    victims: tuple[RunningPod, ...]
    pdb_violations: int = 0


def ineligible(
    pod: PodClass, nominated: str, filters: Sequence[Filter], snapshot: Snapshot, tenancy: Tenancy
) -> str:
    """Return why a pod may not preempt others now, in kube-scheduler's words; "" if it may.

    Args:
        nominated: its status.nominatedNodeName.
    """
    if pod.spec.preemption_policy == NEVER:
        return "not eligible due to preemptionPolicy=Never."
    row = snapshot.row_of.get(nominated)
    if row is None or not helpable(pod, filters, snapshot)[row]:
        return ""
    if is_being_cleared(pod, tenancy.running.get(nominated, ())):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def is_being_cleared(pod: PodClass, residents: Iterable[RunningPod]) -> bool:
    """Tell whether pods that must make room for one of higher priority are still going."""
    return any(
        each.leaving and each.preempted and each.pod.priority < pod.priority for each in residents
    )


def preempt(
    pod: PodClass,
    filters: Sequence[Filter],
    snapshot: Snapshot,
    tenancy: Tenancy,
    count: int = 1,
) -> tuple[Preemption, ...]:
    """Return the preemptions for up to `count` copies of a class that has no room.

    Each copy is nominated to its node before the next is looked at; so `count` copies at once and
    one after the other come to the same. Eligibility is the caller's question.

    Raises:
        PluginError: a filter failed.
    """
    lowest = min((each.priority for each in snapshot.placed), default=pod.priority)
    if lowest >= pod.priority:
        return ()
    return _Search(pod, filters, snapshot, tenancy).run(count)


def importance(pod: RunningPod) -> tuple[int, float]:
    """Return a key that sorts the more important first (kube-scheduler's MoreImportantPod)."""
    return (-pod.pod.priority, _started(pod))


def violating(
    pods: Sequence[RunningPod], budgets: Sequence[Budget]
) -> tuple[list[RunningPod], list[RunningPod]]:
    """Split pods, in order, into those whose eviction breaks a budget and those others."""
    if not budgets:
        return [], list(pods)
    left = [budget.allowed for budget in budgets]
    broken: list[RunningPod] = []
    others: list[RunningPod] = []
    for pod in pods:
        breaks = False
        for number, budget in enumerate(budgets):
            if budget.covers(pod):
                left[number] -= 1
                breaks |= left[number] < 0
        (broken if breaks else others).append(pod)
    return broken, others


def cost(preemption: Preemption) -> tuple[int, int, int, int, float]:
    """Return a key that sorts the cheaper first (kube-scheduler's pickOneNodeForPreemption)."""
    victims = preemption.victims
    highest = max(victim.pod.priority for victim in victims)
    earliest = min(_started(victim) for victim in victims if victim.pod.priority == highest)
    total = sum(victim.pod.priority + _POSITIVE for victim in victims)
    return (preemption.pdb_violations, highest, total, len(victims), -earliest)


def _started(pod: RunningPod) -> float:
    return pod.start_time.timestamp() if pod.start_time is not None else float("inf")


def helpable(pod: PodClass, filters: Iterable[Filter], snapshot: Snapshot) -> Mask:
    """Return where removing pods could help; a node that takes the pod as it is, counts too."""
    hopeless = snapshot.none()
    open_nodes = snapshot.every()
    for plugin in filters:
        verdict = plugin.filter(pod, snapshot)
        if verdict is None:
            continue
        closed = open_nodes & (verdict.room == 0)
        for rejection in rejections(plugin.name, verdict) if closed.any() else ():
            if not rejection.resolvable:
                hopeless |= closed & rejection.nodes
        open_nodes &= ~closed
    return ~hopeless


def _is_static(plugin: Filter, verdict: Verdict) -> bool:
    """Tell whether a verdict follows from what nodes declare, whoever runs there."""
    if verdict.coupling is not None or verdict.room.dtype.kind != "b":
        return False
    reasons = rejections(plugin.name, verdict)
    return bool(reasons) and not any(each.resolvable for each in reasons)


def _is_local(verdict: Verdict) -> bool:
    """Tell whether a node's answer depends on no other node: it counts copies."""
    return verdict.coupling is None and verdict.room.dtype.kind != "b"


@dataclass(slots=True, eq=False)
class _Bench:
    """The pods of lower priority of one node, in the order they may come back.

    Args:
        start: number of the first of them among all.
        pods: those whose eviction breaks a budget first.
        ranked: the same, the most important first.
        breaking: how many of those there are.
        waiting: classes of the nominated pods that count here.
    """

    row: int
    start: int
    pods: Sequence[RunningPod]
    ranked: Sequence[RunningPod]
    breaking: int
    waiting: list[PodClass]

    @property
    def numbers(self) -> range:
        """The numbers of its pods among all."""
        return range(self.start, self.start + len(self.pods))


class _Search:
    """The search for one class."""

    def __init__(
        self, pod: PodClass, filters: Sequence[Filter], snapshot: Snapshot, tenancy: Tenancy
    ) -> None:
        self._pod = pod
        self._base = snapshot
        self._tenancy = tenancy
        self._asked: list[Filter] = []
        self._local: list[Filter] = []
        self._open = helpable(pod, filters, snapshot)
        self._together = not any(each.attracts for each in self._nominees())
        for plugin in filters:
            self._sort(plugin)
        self._benches = self._lower_ranks()
        everyone = [each for bench in self._benches.values() for each in bench.pods]
        sizes = [len(bench.pods) for bench in self._benches.values()]
        self._what_if = WhatIf(
            snapshot,
            np.repeat(np.array(list(self._benches), dtype=np.int64), sizes),
            [each.pod for each in everyone],
            np.array([each.leaving for each in everyone], dtype=np.bool_),
        )

    def run(self, count: int) -> tuple[Preemption, ...]:
        """Choose node after node, the cheapest first."""
        found = self._first()
        heap = [(cost(outcome), row) for row, outcome in found.items()]
        heapq.heapify(heap)
        ahead: dict[int, Preemption | None] = {}
        chosen: list[Preemption] = []
        while heap:
            _, row = heapq.heappop(heap)
            chosen.append(found[row])
            if len(chosen) == count:
                break
            bench = self._benches[row]
            bench.waiting.append(self._pod)
            if row not in ahead:
                ahead |= self._further(bench, found, count - len(chosen))
            following = ahead.pop(row)
            if following is not None:
                found[row] = following
                heapq.heappush(heap, (cost(following), row))
        return tuple(chosen)

    def _sort(self, plugin: Filter) -> None:
        """Find out what a filter's answer for this class depends on."""
        verdict = plugin.filter(self._pod, self._base)
        if verdict is not None and _is_static(plugin, verdict):
            self._open &= verdict.room != 0
            return
        self._asked.append(plugin)
        if verdict is None:
            return
        if _is_local(verdict):
            self._local.append(plugin)
        else:
            self._together = False

    def _nominees(self) -> list[PodClass]:
        waiting = self._tenancy.nominated.values()
        return [p for each in waiting for p in each if p.priority >= self._pod.priority]

    def _lower_ranks(self) -> dict[int, _Bench]:
        """Return by row where removing pods may help, and whom."""
        priority = self._pod.priority
        inhabited = self._base.none()
        for each, rows in self._base.placed.items():
            if each.priority < priority:
                inhabited[np.fromiter(rows, dtype=np.int64, count=len(rows))] = True
        benches: dict[int, _Bench] = {}
        start = 0
        rows_of: list[int] = np.flatnonzero(self._open & inhabited).tolist()
        for row in rows_of:
            name = self._base.nodes[row].name
            lower = [p for p in self._tenancy.running.get(name, ()) if p.pod.priority < priority]
            lower.sort(key=importance)
            broken, others = violating(lower, self._tenancy.budgets)
            nominated = self._tenancy.nominated.get(name, ())
            waiting = [each for each in nominated if each.priority >= priority]
            if lower:
                benches[row] = _Bench(row, start, [*broken, *others], lower, len(broken), waiting)
                start += len(lower)
        return benches

    def _first(self) -> dict[int, Preemption]:
        """Return the outcome for one copy, by row."""
        benches = list(self._benches.values())
        if self._together:
            return _successes(self._dry_run(benches))
        able = self._emptied(benches)
        enough = max(_ENOUGH, self._base.size * _ENOUGH_PERCENT // 100)
        found: dict[int, Preemption] = {}
        for bench in benches:
            if able[bench.row]:
                found |= _successes(self._dry_run([bench]))
            if len(found) == enough:
                break
        return found

    def _emptied(self, benches: Sequence[_Bench]) -> Mask:
        """Return where the rules that look at one node alone would let the pod in at most."""
        everyone = _numbers(benches)
        self._what_if.send_away(everyone)
        able = self._passes(self._local, self._what_if.snapshot())
        self._what_if.take_back(everyone)
        return able

    def _further(
        self, bench: _Bench, found: Mapping[int, Preemption], left: int
    ) -> dict[int, Preemption | None]:
        """Return the outcome for a further copy on a node, and perhaps on others like it."""
        if not self._together or left < _MANY:
            return self._dry_run([bench])
        copies = len(bench.waiting) - 1
        others = [self._benches[row] for row in found if row != bench.row]
        others = [other for other in others if len(other.waiting) == copies]
        for other in others:
            other.waiting.append(self._pod)
        outcomes = self._dry_run([bench, *others])
        for other in others:
            other.waiting.pop()
        return outcomes

    def _dry_run(self, benches: Sequence[_Bench]) -> dict[int, Preemption | None]:
        """Return whom the pod would have to evict on each node, None where that does not help."""
        everyone = _numbers(benches)
        self._what_if.send_away(everyone)
        fits = self._fits(benches)
        able = [bench for bench in benches if fits[bench.row]]
        for turn in range(max((len(bench.pods) for bench in able), default=0)):
            able_now = [bench for bench in able if turn < len(bench.pods)]
            rows = np.array([bench.row for bench in able_now], dtype=np.int64)
            pods = np.array([bench.start + turn for bench in able_now], dtype=np.int64)
            self._what_if.take_back(pods)
            self._what_if.send_away(pods[~self._fits(able_now)[rows]])
        outcomes: dict[int, Preemption | None] = {bench.row: None for bench in benches}
        for bench in able:
            outcomes[bench.row] = self._outcome(bench)
        self._what_if.take_back(everyone[self._what_if.away(everyone)])
        return outcomes

    def _outcome(self, bench: _Bench) -> Preemption | None:
        """Return who is still away at the end of a dry run; nobody means that no one need go."""
        out: list[bool] = self._what_if.away(_numbers((bench,))).tolist()
        gone = {pod.uid for pod, away in zip(bench.pods, out, strict=True) if away}
        if not gone:
            return None
        name = self._base.nodes[bench.row].name
        victims = tuple([pod for pod in bench.ranked if pod.uid in gone])
        return Preemption(name, victims, sum(out[: bench.breaking]))

    def _fits(self, benches: Sequence[_Bench]) -> Mask:
        """Return where the pod fits, with the pods nominated there and without them."""
        fits = self._passes(self._asked, self._what_if.snapshot())
        guests = {bench.row: bench.waiting for bench in benches if bench.waiting}
        if guests:
            fits &= self._passes(self._asked, self._what_if.snapshot(guests))
        return fits

    def _passes(self, filters: Iterable[Filter], snapshot: Snapshot) -> Mask:
        room = snapshot.every()
        for plugin in filters:
            verdict = plugin.filter(self._pod, snapshot)
            if verdict is not None:
                room &= verdict.room != 0
        return room


def _numbers(benches: Sequence[_Bench]) -> Rows:
    if len(benches) == 1:
        return np.array(benches[0].numbers, dtype=np.int64)
    return np.array([n for bench in benches for n in bench.numbers], dtype=np.int64)


def _successes(outcomes: Mapping[int, Preemption | None]) -> dict[int, Preemption]:
    return {row: outcome for row, outcome in outcomes.items() if outcome is not None}
