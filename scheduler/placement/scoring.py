"""Adds up what scorers say: normalised, weighted, over the nodes that passed every filter. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import PluginError
from ..hookspecs import (
    Counts,
    CoupledScores,
    Normalise,
    PodClass,
    Rows,
    Scorer,
    Scores,
    Snapshot,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One scorer's 0-100 scores of the first copy, (M,), before its weight."""

    name: str
    weight: int
    scores: Scores


@dataclass(slots=True)
class Scoring:
    """The scorers' joint view of one class on the rows that still have room.

    Args:
        done: (N,) copies that this decision has put on nodes before.
        parts: what each scorer with an opinion said.
        failures: what a scorer's failure said; it is left out of the sum.
        silent: names of scorers without an opinion, or that failed.
        coupled: scores that change on other nodes with every copy, and their weights.
        stepwise: True when normalisation can change with every copy.
        heads: (M,) totals of the first copy on each of `rows`.
    """

    pod: PodClass
    snapshot: Snapshot
    scorers: Sequence[Scorer]
    rows: Rows
    done: Counts | None
    parts: list[Part] = field(default_factory=list[Part])
    failures: list[str] = field(default_factory=list[str])
    silent: set[str] = field(default_factory=set[str])
    coupled: list[tuple[CoupledScores, int]] = field(
        default_factory=list[tuple[CoupledScores, int]]
    )
    stepwise: bool = False
    heads: Scores = field(default_factory=lambda: np.zeros(0, dtype=np.float64))
    _fixed: NDArray[np.float64] | None = None
    _moving: list[Scorer] = field(default_factory=list[Scorer])
    _moving_heads: list[Scores] = field(default_factory=list[Scores])
    _peaks: list[Rows] = field(default_factory=list[Rows])

    def start(self) -> None:
        """Ask every scorer about the next copy on every row."""
        copies = self._copies(self.rows, np.zeros(self.rows.size, dtype=np.int64))
        for scorer in self.scorers:
            try:
                raw = scorer.score(self.pod, self.snapshot, self.rows, copies)
                if raw is not None and not isinstance(raw, np.ndarray):
                    coupled, raw = raw, raw.scores(self.rows)
                    self.coupled.append((coupled, scorer.weight))
                    self._add(scorer, raw)
                    continue
            except PluginError as error:
                self.failures.append(str(error))
                self.silent.add(scorer.name)
                continue
            if raw is None or not raw.size:
                self.silent.add(scorer.name)
            else:
                self._take(scorer, raw)
        self.heads = self._sum(self.rows, self._moving_heads)

    def total(self, rows: Rows, copies: Counts) -> Scores:
        """Return the sum of weighted scores of the next copy on rows having `copies` already."""
        if rows is self.rows:
            return self.heads
        after = self._copies(rows, copies)
        moving: list[Scores | None] = []
        for scorer in self._moving:
            raw = scorer.score(self.pod, self.snapshot, rows, after)
            moving.append(raw if isinstance(raw, np.ndarray) else None)
        return self._sum(rows, moving)

    def valid(self, sequence: Rows, room: Counts) -> int:
        """Return how many of a sequence's copies come before normalisation would change.

        It changes once every node with the largest raw score of a normalised scorer is full.
        """
        limit = 1 if self.stepwise and sequence.size else sequence.size
        for peak in self._peaks:
            if int(room[peak].sum()) > sequence.size:
                continue
            ends: list[int] = []
            for row in peak.tolist():
                positions = np.flatnonzero(sequence == row)
                if positions.size < int(room[row]):
                    break
                ends.append(int(positions[int(room[row]) - 1]))
            else:
                limit = min(limit, max(ends) + 1)
        return limit

    def _take(self, scorer: Scorer, raw: Scores) -> None:
        scores = raw
        if scorer.normalise is not Normalise.NONE:
            largest = raw.max()
            scores = normalised(raw, scorer.normalise)
            if scorer.depends_on_copies:
                self.stepwise = True
            elif largest > 0:
                self._peaks.append(self.rows[raw == largest])
        if scorer.depends_on_copies and scorer.normalise is Normalise.NONE:
            self.parts.append(Part(scorer.name, scorer.weight, scores))
            self._moving.append(scorer)
            self._moving_heads.append(scores)
            return
        self._add(scorer, scores)

    def _add(self, scorer: Scorer, scores: Scores) -> None:
        """Count in 0-100 scores that do not move with a node's own copies."""
        self.parts.append(Part(scorer.name, scorer.weight, scores))
        if self._fixed is None:
            self._fixed = np.zeros(self.snapshot.size, dtype=np.float64)
        self._fixed[self.rows] += scores * scorer.weight

    def _sum(self, rows: Rows, moving: Sequence[Scores | None]) -> Scores:
        """Add up in one order always, so that equal scores stay equal in floating point."""
        fixed = self._fixed
        total = np.zeros(rows.size, dtype=np.float64) if fixed is None else fixed[rows]
        for scorer, scores in zip(self._moving, moving, strict=True):
            if scores is not None:
                np.add(total, scores * scorer.weight, out=total)
        return total

    def _copies(self, rows: Rows, copies: Counts) -> Counts:
        return copies if self.done is None else copies + self.done[rows]


def normalised(raw: Scores, how: Normalise) -> Scores:
    """Scale raw scores of all open nodes to 0-100 (kube-scheduler's DefaultNormalizeScore)."""
    if how is Normalise.NONE or not raw.size:
        return raw
    largest = raw.max()
    if largest == 0:
        return np.full(raw.shape, 100 if how is Normalise.REVERSED else 0, dtype=np.int64)
    scaled: Scores = np.floor_divide(raw * 100, largest, dtype=raw.dtype)
    return 100 - scaled if how is Normalise.REVERSED else scaled
