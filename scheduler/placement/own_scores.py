"""What scorers say of a class on nodes, as columns, but for what is coupled. Pure."""

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import Counts, Normalise, Rows, Scorer, Scores
from .scoring import Scoring, normalised


class OwnScores:
    """Scores that a copy changes on its own node alone, asked of every node with room.

    Args:
        scoring: started.
        room: (N,) int64, copies each node can take.
        done: (N,) copies that this decision has put on nodes before.

    `copies` is (N,), how many of this decision are on each node; the caller counts them. `static`
    is (N,) float64, the weighted sum of what neither moves with copies nor is normalised. `moving`
    and `ranked` are the scorers whose scores do, each with its raw (N,) scores of the next copy.
    """

    def __init__(self, scoring: Scoring, room: Counts, done: Counts | None) -> None:
        self._pod = scoring.pod
        self._snapshot = scoring.snapshot
        self.copies = np.zeros(room.size, dtype=np.int64)
        if done is not None:
            self.copies += done
        self.static = np.zeros(room.size, dtype=np.float64)
        self.moving: list[tuple[Scorer, Scores]] = []
        self.ranked: list[tuple[Scorer, Scores]] = []
        self._whole = True
        self._ask(scoring, np.flatnonzero(room))

    def _ask(self, scoring: Scoring, rows: Rows) -> None:
        for scorer in scoring.scorers:
            if scorer.name in scoring.silent:
                continue
            raw = scorer.score(self._pod, self._snapshot, rows, self.copies[rows])
            if raw is None or not isinstance(raw, np.ndarray):
                continue
            self._whole &= raw.dtype.kind == "i"
            column = np.zeros(self.copies.size, dtype=raw.dtype)
            column[rows] = raw
            if scorer.depends_on_copies:
                self.moving.append((scorer, column))
            if scorer.normalise is not Normalise.NONE:
                self.ranked.append((scorer, column))
            elif not scorer.depends_on_copies:
                self.static += column * scorer.weight

    @property
    def rankable(self) -> bool:
        """Whether nodes keep their order whatever is added to all of them and wherever copies go.

        Not so if scores have fractions, which a sum may round away, or are normalised as they move.
        """
        return self._whole and not any(scorer.depends_on_copies for scorer, _ in self.ranked)

    def move(self, rows: Rows, copies: Counts) -> list[Scores]:
        """Return the raw scores of the next copy by moving scorer; rows have so many already."""
        found: list[Scores] = []
        for scorer, _ in self.moving:
            raw = scorer.score(self._pod, self._snapshot, rows, copies)
            assert isinstance(raw, np.ndarray)
            found.append(raw)
        return found

    def rank(self, rows: Rows) -> NDArray[np.float64]:
        """Return the weighted sum of what is normalised over the rows, all that are open."""
        total = np.zeros(rows.size, dtype=np.float64)
        for scorer, column in self.ranked:
            total += normalised(column[rows], scorer.normalise) * scorer.weight
        return total
