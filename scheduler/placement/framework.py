"""Asks the plugins where a class may run and how good each node is, and places copies greedily.

Pure. Filters' answers are ANDed, scorers' answers added; a rejection is a value that says which
plugin, why, and on how many nodes. A filter that fails rejects the class (nothing is placed on a
guess), a scorer that fails is left out (a worse place is better than none); both are reported.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import PluginError
from ..hookspecs import (
    Change,
    Counts,
    Coupling,
    Filter,
    Lenient,
    Mask,
    PodClass,
    Rejection,
    Rows,
    Scorer,
    Snapshot,
    Verdict,
)
from .draft import Draft
from .greedy import place
from .scoring import Scoring
from .stepping import openings, settled, step

_ALTERNATIVES = 4


@dataclass(frozen=True, slots=True)
class Refusal:
    """One plugin's reason and how many nodes it was the first to hold for."""

    plugin: str
    reason: str
    nodes: int
    resolvable: bool


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a pod has no node.

    Args:
        nodes: how many there are.
        refusals: by plugin and reason; empty when there are no nodes or a plugin failed.
        wakes_on: what may change the outcome.
        failure: a plugin's failure, "" if none.
        told: what is said instead of the refusals, "" if they say it all.
        preemption: why nobody makes room for it, "" if nobody was asked to.
    """

    nodes: int
    refusals: tuple[Refusal, ...]
    wakes_on: Change
    failure: str = ""
    told: str = ""
    preemption: str = ""

    @property
    def message(self) -> str:
        """The reason in kube-scheduler's words (FitError)."""
        if self.failure or self.told:
            return self.failure or self.told
        if not self.nodes:
            return "no nodes available to schedule pods"
        told = unavailable(self.nodes, ((each.reason, each.nodes) for each in self.refusals))
        return f"{told} preemption: {self.preemption}" if self.preemption else told


def unavailable(nodes: int, reasons: Iterable[tuple[str, int]]) -> str:
    """Return that none of the nodes takes a pod, in kube-scheduler's words (FitError).

    Args:
        reasons: each with how many nodes it holds for; one may come more than once.
    """
    counts: Counter[str] = Counter()
    for reason, holds_for in reasons:
        counts[reason] += holds_for
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    head = f"0/{nodes} nodes are available"
    return f"{head}: {told}." if told else f"{head}."


@dataclass(frozen=True, slots=True)
class Alternative:
    """A node with its total and its 0-100 score by plugin, when the decision was made."""

    node: str
    total: float
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Decision:
    """Where copies of one class go.

    Args:
        rows: (K,) rows in order, K ≤ asked.
        alternatives: the best nodes for the first copy, best first; the first was chosen.
        rejected: by filter, how many nodes it was the first to reject; the reason where it has
            but one.
        diagnosis: why the rest has no node; None when K = asked.
        failures: scorers that failed and were left out.
        nodes: how many nodes there were.
    """

    pod: PodClass
    asked: int
    rows: Rows
    alternatives: tuple[Alternative, ...] = ()
    rejected: tuple[Refusal, ...] = ()
    diagnosis: Diagnosis | None = None
    failures: tuple[str, ...] = ()
    nodes: int = 0

    @property
    def why(self) -> str:
        """Why the pods are where they are, as it reads after "assigned … to node"."""
        if not self.alternatives:
            return ""
        fit = self.nodes - sum(refusal.nodes for refusal in self.rejected)
        best = self.alternatives[0]
        scores = ", ".join(f"{name} {score:.0f}" for name, score in best.scores.items())
        refused = ", ".join(f"{r.nodes} by {r.plugin}" for r in self.rejected)
        return (
            f": {fit} of {self.nodes} nodes fit{f' (refused: {refused})' if refused else ''}, "
            f"the best scored {best.total:.0f}{f' ({scores})' if scores else ''}"
        )


class Framework:
    """Decides with a fixed list of filters and scorers."""

    def __init__(self, filters: Sequence[Filter], scorers: Sequence[Scorer]) -> None:
        self.filters = tuple(filters)
        self.scorers = tuple(scorers)
        self._lenient = [each for each in self.filters if isinstance(each, Lenient)]

    def ignores(self, _pod: PodClass, resource: str) -> bool:
        """Tell whether nodes may be asked for more of a resource than they offer.

        Raises:
            PluginError: a filter failed.
        """
        return any(each.ignores(resource) for each in self._lenient)

    def decide(
        self, pod: PodClass, count: int, draft: Draft, scored: Snapshot | None = None
    ) -> Decision:
        """Place up to `count` copies of a class and count them into the draft.

        Args:
            scored: what scorers look at, the draft's snapshot if None.
        """
        nobody = np.zeros(0, dtype=np.int64)
        try:
            room, couplings, rejected = self._room(pod, draft.snapshot, count)
            rows, first = self._place(pod, count, room, couplings, scored or draft.snapshot)
            if rows.size:
                draft.add(pod, rows)
            diagnosis = self._diagnose(pod, draft.snapshot) if rows.size < count else None
        except PluginError as error:
            failed = Diagnosis(draft.snapshot.size, (), Change.ANY, _with_cause(error))
            return Decision(pod, count, nobody, diagnosis=failed)
        return Decision(
            pod,
            count,
            rows,
            _alternatives(first, draft.snapshot, rows) if first and rows.size else (),
            rejected,
            diagnosis,
            tuple(first.failures) if first else (),
            draft.snapshot.size,
        )

    def follow(self, pod: PodClass, wanted: Counts, draft: Draft) -> Rows:
        """Place copies where somebody else wants them, as far as the rules let them one by one.

        Args:
            wanted: (N,) int64, copies by row.

        Returns:
            (K,) rows in order, counted into the draft.

        Raises:
            PluginError: a filter failed.
        """
        room, couplings, _ = self._room(pod, draft.snapshot, int(wanted.sum()))
        left = np.minimum(room, wanted)
        if not couplings:
            rows = np.repeat(draft.snapshot.all_rows, left)
        else:
            rows = _one_by_one(left, couplings)
        if rows.size:
            draft.add(pod, rows)
        return rows

    def _room(
        self, pod: PodClass, snapshot: Snapshot, count: int
    ) -> tuple[Counts, list[Coupling], tuple[Refusal, ...]]:
        """Return copies per node, at most `count`, what couples nodes, rejections by plugin."""
        room = np.full(snapshot.size, count, dtype=np.int64)
        couplings: list[Coupling] = []
        left = snapshot.size
        rejected: list[Refusal] = []
        for plugin in self.filters:
            verdict = plugin.filter(pod, snapshot)
            if verdict is None:
                continue
            if verdict.coupling is not None:
                couplings.append(verdict.coupling)
            elif _counts(verdict):
                np.minimum(room, verdict.room, out=room)
            else:
                np.multiply(room, verdict.room, out=room)
            now = int(np.count_nonzero(openings(room, couplings) if couplings else room))
            if now < left:
                reason = verdict.because if isinstance(verdict.because, str) else ""
                rejected.append(Refusal(plugin.name, reason, left - now, verdict.resolvable))
                left = now
        return room, couplings, tuple(rejected)

    def _place(
        self,
        pod: PodClass,
        count: int,
        room: Counts,
        couplings: Sequence[Coupling],
        snapshot: Snapshot,
    ) -> tuple[Rows, Scoring | None]:
        sequences: list[Rows] = []
        first: Scoring | None = None
        done: Counts | None = None
        while count > 0:
            free = np.where(openings(room, couplings), room, 0) if couplings else room
            rows = np.flatnonzero(free != 0)  # of integers it would take ten times as long
            if rows.size == snapshot.size:
                rows = snapshot.all_rows
            if not rows.size:
                break
            if rows.size == 1 and pod.names_nodes and not couplings:
                # Nothing to choose, as in kube-scheduler; so a DaemonSet's pods, of which each is
                # a class of its own, cost half.
                sequences.append(np.repeat(rows, min(count, int(free[rows[0]]))))
                break
            scoring = Scoring(pod, snapshot, self.scorers, rows, done)
            scoring.start()
            first = first or scoring
            if count > 1 and (scoring.coupled or not settled(couplings)):
                chosen = step(scoring, room, couplings, count)
            else:
                chosen = place(free, 1 if scoring.stepwise else count, scoring.total, rows)
                chosen = chosen[: scoring.valid(chosen, free)]
            sequences.append(chosen)
            count -= chosen.size
            if count > 0:
                put = np.bincount(chosen, minlength=snapshot.size)
                room = room - put
                done = put if done is None else done + put
        if not sequences:
            return np.zeros(0, dtype=np.int64), None
        return sequences[0] if len(sequences) == 1 else np.concatenate(sequences), first

    def _diagnose(self, pod: PodClass, snapshot: Snapshot) -> Diagnosis:
        """Ask the filters why no node has room for another copy."""
        refusals: list[Refusal] = []
        wakes_on = Change.NODE_ADDED
        for plugin, rejection, nodes in first_objections(
            pod, self.filters, snapshot, snapshot.every()
        ):
            helps = rejection.wakes_on
            wakes_on |= plugin.wakes_on if helps is None else helps
            refusals.append(Refusal(plugin.name, rejection.reason, nodes, rejection.resolvable))
        return Diagnosis(snapshot.size, tuple(refusals), wakes_on)


def first_objections(
    pod: PodClass, filters: Iterable[Filter], snapshot: Snapshot, nodes: Mask
) -> Iterator[tuple[Filter, Rejection, int]]:
    """Yield the filters' reasons, each with how many nodes its filter was the first to reject.

    Args:
        nodes: those asked about; what is left of them when all has been yielded, takes the pod.
    """
    for plugin in filters:
        verdict = plugin.filter(pod, snapshot)
        if verdict is None:
            continue
        closed = nodes & (verdict.room == 0)
        if not closed.any():
            continue
        for rejection in rejections(plugin.name, verdict):
            count = int(np.count_nonzero(rejection.nodes & closed))
            if count:
                yield plugin, rejection, count
        nodes &= ~closed


def _one_by_one(left: Counts, couplings: Sequence[Coupling]) -> Rows:
    chosen: list[int] = []
    while True:
        mask = openings(left, couplings)
        row = int(np.argmax(mask))
        if not mask[row]:
            return np.array(chosen, dtype=np.int64)
        left[row] -= 1
        chosen.append(row)
        for coupling in couplings:
            coupling.put(row)


def _counts(verdict: Verdict) -> bool:
    return verdict.room.dtype.kind != "b"


def rejections(plugin: str, verdict: Verdict) -> Sequence[Rejection]:
    """Return a filter's reasons, nodes by nodes; raises PluginError if it cannot say."""
    if isinstance(verdict.because, str):
        nodes = verdict.room == 0
        return (Rejection(verdict.because, nodes, verdict.resolvable, verdict.wakes_on),)
    try:
        return verdict.because()
    except Exception as error:
        raise PluginError(f"filter {plugin} failed to say why it rejects") from error


def _alternatives(scoring: Scoring, snapshot: Snapshot, placed: Rows) -> tuple[Alternative, ...]:
    left = scoring.heads.astype(np.float64)
    best = [int(np.flatnonzero(scoring.rows == placed[0])[0])]
    while True:
        left[best[-1]] = -np.inf
        if len(best) == min(_ALTERNATIVES, left.size):
            break
        best.append(int(np.argmax(left)))
    totals = scoring.heads
    return tuple(
        Alternative(
            snapshot.nodes[int(scoring.rows[i])].name,
            float(totals[i]),
            {part.name: float(part.scores[i]) for part in scoring.parts},
        )
        for i in best
    )


def _with_cause(error: PluginError) -> str:
    return f"{error}: {error.__cause__!r}" if error.__cause__ else str(error)
