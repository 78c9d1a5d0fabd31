"""Chooses a node, and the pods of lower priority that must leave it, for a pod without one.

Pure; kube-scheduler's DefaultPreemption (≥ 1.34). Of the nodes that would take the pod if others
left, the one that costs least is chosen.

The filters are asked as ever, so a rule over groups of nodes (affinity, spread) counts like any
other. Where no rule of that kind has a say and nobody has set how many candidates do, every node
is looked at; otherwise one after the other, until as many as kube-scheduler looks at would do, one
of them without breaking a budget. kube-scheduler starts at a random node; here a search goes on
where the last one ended. A victim's own affinity is of no account before it is put back, as
upstream.
"""

import heapq
from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec
import numpy as np

from ..hookspecs import Change, Filter, Mask, PodClass, Snapshot, Verdict
from ..preemption_args import PreemptionArgs
from .dry_run import BENCH, VIOLATIONS, Benches, DryRun, Outcome
from .framework import rejections, unavailable
from .tenancy import RunningPod, Tenancy, is_being_cleared

NEVER = "Never"
BY_POLICY = "not eligible due to preemptionPolicy=Never."
VICTIMS_LEAVE = "not eligible due to a terminating pod on the nominated node."
_NO_HELP = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"
_ELSEWHERE = Change.POD_PLACED | Change.POD_LABELS
_PODS = Change.POD_REMOVED | _ELSEWHERE
_FEW = 16  # nodes tried along with one, at first


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


class Scope(msgspec.Struct, frozen=True):
    """How many nodes a search looks at, and from which row on; behind the last comes the first."""

    args: PreemptionArgs = PreemptionArgs()
    start: int = 0


class Preemptions(msgspec.Struct, frozen=True):
    """The preemptions for copies of a class, one for each.

    Args:
        message: why there is none for a further copy, in kube-scheduler's words; "" if all that
            were asked for have theirs.
        start: the row where a search that goes on from here starts.
    """

    chosen: tuple[Preemption, ...]
    message: str = ""
    start: int = 0


_EVERYWHERE = Scope()


def ineligible(
    pod: PodClass, nominated: str, filters: Sequence[Filter], snapshot: Snapshot, tenancy: Tenancy
) -> str:
    """Return why a pod may not preempt others now, in kube-scheduler's words; "" if it may.

    Args:
        nominated: its status.nominatedNodeName.
    """
    if pod.spec.preemption_policy == NEVER:
        return BY_POLICY
    row = snapshot.row_of.get(nominated) if nominated else None
    if row is None or not is_being_cleared(pod, tenancy.running.get(nominated, ())):
        return ""
    return VICTIMS_LEAVE if helpable(_judged(pod, filters, snapshot), snapshot)[row] else ""


def preempt(
    pod: PodClass,
    filters: Sequence[Filter],
    snapshot: Snapshot,
    tenancy: Tenancy,
    count: int = 1,
    scope: Scope = _EVERYWHERE,
) -> Preemptions:
    """Return the preemptions for up to `count` copies of a class that has no room.

    Each copy is nominated to its node before the next is looked at; so `count` copies at once and
    one after the other come to the same. Eligibility is the caller's question.

    Raises:
        PluginError: a filter failed.
    """
    judged = _judged(pod, filters, snapshot)
    where = helpable(judged, snapshot)
    potential = int(np.count_nonzero(where))
    benches = Benches.below(pod, snapshot, tenancy, where, scope.start)
    start = scope.start
    chosen: tuple[Preemption, ...] = ()
    refusals: Sequence[tuple[str, int]] = ()
    if benches.rows.size:
        scene = _Scene(pod, filters, judged, snapshot, benches, tenancy)
        everywhere = scene.together and not scope.args.given
        search = _Search(scene, None if everywhere else scope.args.enough(potential))
        chosen = tuple(search.run(count))
        start = search.following(start)
        refusals = scene.dry_run.refusals() if len(chosen) < count else ()
    if len(chosen) == count:
        return Preemptions(chosen, "", start)
    reasons = [
        (_NO_HELP, snapshot.size - potential),
        (_NO_VICTIMS, potential - benches.rows.size),
        *refusals,
    ]
    message = unavailable(snapshot.size, [each for each in reasons if each[1]])
    return Preemptions(chosen, message, start)


_Judged = Sequence[tuple[Filter, Verdict]]


def _judged(pod: PodClass, filters: Iterable[Filter], snapshot: Snapshot) -> _Judged:
    asked = [(plugin, plugin.filter(pod, snapshot)) for plugin in filters]
    return [(plugin, verdict) for plugin, verdict in asked if verdict is not None]


def helpable(judged: _Judged, snapshot: Snapshot) -> Mask:
    """Return where removing pods could help; a node that takes the pod as it is, counts too."""
    hopeless = snapshot.none()
    open_nodes = snapshot.every()
    for plugin, verdict in judged:
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
    wakes_on = [plugin.wakes_on if each.wakes_on is None else each.wakes_on for each in reasons]
    return bool(reasons) and not any(
        each.resolvable or how & _PODS for each, how in zip(reasons, wakes_on, strict=True)
    )


def _is_local(plugin: Filter, verdict: Verdict) -> bool:
    """Tell whether a node's answer depends on no other node: it counts copies.

    What pods that come or change elsewhere can help, is a rule over groups of nodes.
    """
    counts = verdict.coupling is None and verdict.room.dtype.kind != "b"
    return counts and not plugin.wakes_on & _ELSEWHERE


class _Scene:
    """What a search looks at.

    Args:
        together: every rule looks at one node alone, so that all may be tried at once.
    """

    def __init__(
        self,
        pod: PodClass,
        filters: Sequence[Filter],
        judged: _Judged,
        snapshot: Snapshot,
        benches: Benches,
        tenancy: Tenancy,
    ) -> None:
        self.pod = pod
        self.benches = benches
        self._nodes = snapshot.nodes
        shut = snapshot.none()
        asked = list(filters)
        self.local: list[Filter] = []
        self.together = True
        for plugin, verdict in judged:
            if _is_static(plugin, verdict):
                shut |= verdict.room == 0
                asked.remove(plugin)
            elif _is_local(plugin, verdict):
                self.local.append(plugin)
            else:
                self.together = False
        self.dry_run = DryRun(pod, filters, asked, shut, benches, snapshot)
        for each, where in self._nominees(tenancy).items():
            self.together &= not each.attracts
            which, copies = np.unique(np.array(where, dtype=np.int64), return_counts=True)
            self.dry_run.invite(each, which, copies)

    def _nominees(self, tenancy: Tenancy) -> dict[PodClass, list[int]]:
        """Return the nominated pods that keep their room, class by class where."""
        found: dict[PodClass, list[int]] = {}
        rows: list[int] = self.benches.rows.tolist() if tenancy.nominated else []
        for bench, row in enumerate(rows):
            for each in tenancy.nominated.get(self._nodes[row].name, ()):
                if each.priority >= self.pod.priority:
                    found.setdefault(each, []).append(bench)
        return found

    def preemptions(self, outcomes: Sequence[Outcome]) -> list[Preemption]:
        """Return outcomes by name."""
        rows: list[int] = self.benches.rows[[outcome[BENCH] for outcome in outcomes]].tolist()
        return [
            Preemption(self._nodes[row].name, self.dry_run.victims(outcome), outcome[VIOLATIONS])
            for row, outcome in zip(rows, outcomes, strict=True)
        ]


class _Search:
    """The search for nodes for copies of one class.

    Args:
        enough: how many candidates do; None: all nodes are to be looked at.
    """

    def __init__(self, scene: _Scene, enough: int | None) -> None:
        self._scene = scene
        self._dry_run = scene.dry_run
        self._size = scene.benches.rows.size
        self._enough = enough
        self._next = 0  # the first bench that nobody has looked at
        self._first: list[Outcome] = []  # candidates in order, the cheapest last
        self._heap: list[Outcome] = []  # the other candidates
        self._violating = 0  # how many of the candidates break a budget
        self._copies: dict[int, int] = {}  # by bench, how many have been nominated there
        self._uninvited: list[int] = []  # by bench, those of them that the dry run does not count
        self._ahead: dict[tuple[int, int], Outcome | None] = {}  # by bench and copies there
        self._hits = 0  # how many looks have found an answer there since one had not
        self._left = 0  # copies without a node
        if scene.together:
            everywhere = self._dry_run.together(np.arange(self._size, dtype=np.int64))
            if enough is None:
                self._first = sorted(filter(None, everywhere.values()), reverse=True)
                self._next = self._size
            self._ahead = {(bench, 0): outcome for bench, outcome in everywhere.items()}
        else:
            unable: list[int] = np.flatnonzero(~self._dry_run.able(scene.local)).tolist()
            self._ahead = {(bench, 0): None for bench in unable}

    def run(self, count: int) -> list[Preemption]:
        """Choose node after node, the cheapest first."""
        chosen: list[Outcome] = []
        self._extend()
        while self._first or self._heap:
            outcome = self._cheapest()
            bench = outcome[BENCH]
            self._violating -= outcome[VIOLATIONS] > 0
            chosen.append(outcome)
            self._copies[bench] = self._copies.get(bench, 0) + 1
            self._uninvited.append(bench)
            self._left = count - len(chosen)
            if not self._left:
                break
            self._look(bench)
            self._extend()
        self._invite()
        return self._scene.preemptions(chosen)

    def following(self, start: int) -> int:
        """Return the row of the first node not looked at, `start` if there is none."""
        return int(self._scene.benches.rows[self._next]) if self._next < self._size else start

    def _cheapest(self) -> Outcome:
        """Take the cheapest candidate."""
        first, heap = self._first, self._heap
        if not heap or (first and first[-1] < heap[0]):
            return first.pop()
        return heapq.heappop(heap)

    def _extend(self) -> None:
        """Look at further nodes until there are enough candidates, one without a violation."""
        while self._next < self._size and not self._suffices():
            self._look(self._next)
            self._next += 1

    def _suffices(self) -> bool:
        return self._enough is not None and self._enough <= len(self._heap) > self._violating

    def _look(self, bench: int) -> None:
        """Find out what a copy on a node would cost."""
        key = bench, self._copies.get(bench, 0)
        if key in self._ahead:
            self._hits += 1
            outcome = self._ahead.pop(key)
        elif self._scene.together:
            outcome = self._look_ahead(*key)
        else:
            self._invite()
            outcome = self._dry_run.alone(bench)
        if outcome is not None:
            self._violating += outcome[VIOLATIONS] > 0
            heapq.heappush(self._heap, outcome)

    def _look_ahead(self, bench: int, copies: int) -> Outcome | None:
        """Try a further copy on a node, and on those likely to come to as many copies next.

        A pass over many nodes costs hardly more than one over a single node; the more of what was
        tried ahead turned out to be needed, the more nodes are tried along the next time.
        """
        self._invite()
        reach, self._hits = min(_FEW + 2 * self._hits + self._left // 4, self._left), 0
        likely = heapq.nsmallest(reach, chain(self._first[-reach:], self._heap))
        peers: list[int] = []
        missing: list[int] = []
        for peer in [outcome[BENCH] for outcome in likely]:
            short = copies - self._copies.get(peer, 0)
            if short > 0 and (peer, copies) not in self._ahead:
                peers.append(peer)
                missing.append(short)
        others, guests = np.array(peers, dtype=np.int64), np.array(missing, dtype=np.int64)
        self._dry_run.invite(self._scene.pod, others, guests)
        outcomes = self._dry_run.together(np.sort(np.append(others, bench)))
        self._dry_run.invite(self._scene.pod, others, -guests)
        outcome = outcomes.pop(bench)
        self._ahead.update({(peer, copies): found for peer, found in outcomes.items()})
        return outcome

    def _invite(self) -> None:
        """Let the dry run count the copies that have been nominated."""
        benches, copies = np.unique(self._uninvited, return_counts=True)
        self._uninvited.clear()
        self._dry_run.invite(self._scene.pod, benches.astype(np.int64), copies)
