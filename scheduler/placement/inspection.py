"""Every node, every rule's verdict and every score for a class of pods, at one instant.

Pure. What a decision only counts, an inspection tells in full: it is for people who ask why, and
costs a few milliseconds at thousands of nodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import Filter, Mask, Normalise, Obstacle, PodClass, Rows, Scorer, Snapshot
from ..objects.json import JsonObject
from .framework import rejections
from .scoring import Part, Scoring


@dataclass(frozen=True, slots=True)
class Objection:
    """One rule's reason and the (N,) nodes it holds for; `obstacles` tells of one of them."""

    plugin: str
    reason: str
    nodes: Mask
    resolvable: bool
    obstacles: Callable[[int], Sequence[Obstacle]] | None = None


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """What the rules say of one node.

    Args:
        plugin: the first rule that rejects it, "" if it is feasible.
        reasons: that rule's.
        resolvable: whether removing pods could help.
        others: reasons of the rules behind the first one, by rule.
        scores: 0-100 by rule, before weights; empty if it is not feasible.
        total: their weighted sum.
    """

    name: str
    feasible: bool
    plugin: str = ""
    reasons: tuple[str, ...] = ()
    resolvable: bool = True
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()
    scores: tuple[tuple[str, float], ...] = ()
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """The rules' view of one class on a snapshot.

    Args:
        objections: in the order of the filters; every rule was asked about every node.
        rows: (M,) feasible rows, ascending.
        parts: the scorers' 0-100 scores of those rows.
        totals: (M,) float64.
        failures: scorers that failed and were left out.
    """

    pod: PodClass
    snapshot: Snapshot
    objections: tuple[Objection, ...]
    rows: Rows
    parts: tuple[Part, ...]
    totals: NDArray[np.float64]
    failures: tuple[str, ...] = ()

    @property
    def best(self) -> int | None:
        """The row that one more pod would go to."""
        return int(self.rows[int(np.argmax(self.totals))]) if self.rows.size else None

    def verdicts(self, rows: Rows | None = None) -> list[NodeVerdict]:
        """Return what is said of nodes, all of them unless rows are given."""
        place = {int(row): at for at, row in enumerate(self.rows.tolist())}
        wanted: list[int] = (self.snapshot.all_rows if rows is None else rows).tolist()
        return [self._verdict(row, place.get(row)) for row in wanted]

    def obstacles(self, row: int) -> list[tuple[str, Obstacle]]:
        """Return what is in the way on a row, by rule; only while the snapshot is current."""
        return [
            (objection.plugin, obstacle)
            for objection in self.objections
            if objection.obstacles is not None and objection.nodes[row]
            for obstacle in objection.obstacles(row)
        ]

    def _verdict(self, row: int, at: int | None) -> NodeVerdict:
        name = self.snapshot.nodes[row].name
        if at is not None:
            scores = tuple((part.name, float(part.scores[at])) for part in self.parts)
            return NodeVerdict(name, True, scores=scores, total=float(self.totals[at]))
        against: dict[str, list[Objection]] = {}
        for objection in self.objections:
            if objection.nodes[row]:
                against.setdefault(objection.plugin, []).append(objection)
        (plugin, first), *rest = against.items()
        return NodeVerdict(
            name,
            False,
            plugin,
            _reasons(first),
            all(objection.resolvable for objection in first),
            tuple((other, _reasons(theirs)) for other, theirs in rest),
        )


def inspect(
    pod: PodClass, snapshot: Snapshot, filters: Sequence[Filter], scorers: Sequence[Scorer]
) -> Inspection:
    """Ask every filter about every node and every scorer about the feasible ones.

    Raises:
        PluginError: a filter failed.
    """
    feasible = snapshot.every()
    objections: list[Objection] = []
    for plugin in filters:
        verdict = plugin.filter(pod, snapshot)
        if verdict is None:
            continue
        closed = verdict.room == 0
        if closed.any():
            objections += [
                Objection(
                    plugin.name,
                    found.reason,
                    found.nodes & closed,
                    found.resolvable,
                    found.obstacles,
                )
                for found in rejections(plugin.name, verdict)
            ]
            feasible &= ~closed
    rows = np.flatnonzero(feasible)
    if rows.size == snapshot.size:
        rows = snapshot.all_rows
    scoring = Scoring(pod, snapshot, scorers, rows, None)
    if rows.size:
        scoring.start()
    spoken = {part.name: part for part in scoring.parts}
    parts: list[Part] = []
    totals = np.zeros(rows.size, dtype=np.float64)
    for scorer in scorers:
        part = spoken.get(scorer.name)
        if part is None and not scoring.failures:
            silent = 100 if scorer.normalise is Normalise.REVERSED else 0
            part = Part(scorer.name, scorer.weight, np.full(rows.size, silent, dtype=np.int64))
        if part is not None:
            parts.append(part)
            totals += part.scores * part.weight
    return Inspection(
        pod, snapshot, tuple(objections), rows, tuple(parts), totals, tuple(scoring.failures)
    )


def _reasons(objections: Sequence[Objection]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(objection.reason for objection in objections))


def verdict_document(verdict: NodeVerdict) -> JsonObject:
    """Return what the rules say of a node, as clients see it."""
    told: JsonObject = {"name": verdict.name, "feasible": verdict.feasible}
    if verdict.feasible:
        told["scores"] = {name: _number(score) for name, score in verdict.scores}
        told["total"] = _number(verdict.total)
        return told
    told["plugin"] = verdict.plugin
    told["reasons"] = list(verdict.reasons)
    told["resolvable"] = verdict.resolvable
    if verdict.others:
        told["others"] = [
            {"plugin": plugin, "reasons": list(reasons)} for plugin, reasons in verdict.others
        ]
    return told


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else round(value, 4)
