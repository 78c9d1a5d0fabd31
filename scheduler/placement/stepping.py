"""Places copies one after another where a copy on one node bears on other nodes.

Pure. Spread and affinity make every copy change what the next one may do, so there is no placing
them at once; but all that changes is kept as columns, and a step costs a few NumPy operations
instead of a whole decision. The outcome equals deciding one copy at a time.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import (
    Counts,
    CoupledScores,
    Coupling,
    Mask,
    Normalise,
    PodClass,
    Rows,
    Scorer,
    Scores,
    Snapshot,
)
from .scoring import Scoring, normalised


def openings(room: Counts, couplings: Sequence[Coupling]) -> Mask:
    """Return where the next copy may go, (N,) bool."""
    mask = room > 0
    for coupling in couplings:
        mask &= coupling.room()
    return mask


def settled(couplings: Sequence[Coupling]) -> bool:
    """Tell whether no further copy changes the room of other nodes."""
    return all(coupling.settled for coupling in couplings)


class Stepping:
    """One class on its way onto the nodes.

    Args:
        scoring: started; its coupled scores are used up here.
        room: (N,) int64, copies each node can take by the filters that are not coupled.
        couplings: of the filters that are.
    """

    def __init__(self, scoring: Scoring, room: Counts, couplings: Sequence[Coupling]) -> None:
        self._pod: PodClass = scoring.pod
        self._snapshot: Snapshot = scoring.snapshot
        self._room = room.copy()
        self._couplings = couplings
        self._coupled: Sequence[tuple[CoupledScores, int]] = scoring.coupled
        self._copies = np.zeros(room.size, dtype=np.int64)
        if scoring.done is not None:
            self._copies += scoring.done
        self._plain = np.zeros(room.size, dtype=np.float64)
        self._moving: list[tuple[Scorer, Scores]] = []
        self._ranked: list[tuple[Scorer, Scores]] = []
        self._open: Rows = np.zeros(0, dtype=np.int64)
        self._fixed: NDArray[np.float64] | None = None
        self._ask([s for s in scoring.scorers if s.name not in scoring.silent])

    def run(self, count: int) -> Rows:
        """Place up to `count` copies; stop early when the rest can be placed at once."""
        chosen: list[int] = []
        while len(chosen) < count:
            rows = np.flatnonzero(openings(self._room, self._couplings))
            if not rows.size:
                break
            row = int(rows[int(np.argmax(self._totals(rows)))])
            chosen.append(row)
            self._put(row)
            if not self._coupled and settled(self._couplings):
                break
        return np.array(chosen, dtype=np.int64)

    def _ask(self, scorers: Sequence[Scorer]) -> None:
        """Score every node that may come to be open."""
        rows = np.flatnonzero(self._room)
        for scorer in scorers:
            raw = scorer.score(self._pod, self._snapshot, rows, self._copies[rows])
            if raw is None or not isinstance(raw, np.ndarray):
                continue
            column = np.zeros(self._room.size, dtype=raw.dtype)
            column[rows] = raw
            if scorer.depends_on_copies:
                self._moving.append((scorer, column))
            if scorer.normalise is Normalise.NONE:
                self._plain += column * scorer.weight
            else:
                self._ranked.append((scorer, column))

    def _totals(self, rows: Rows) -> NDArray[np.float64]:
        if self._fixed is None or not np.array_equal(rows, self._open):
            self._fixed = np.zeros(rows.size, dtype=np.float64)
            for scorer, column in self._ranked:
                self._fixed += normalised(column[rows], scorer.normalise) * scorer.weight
            self._open = rows
        totals = self._fixed + self._plain[rows]
        for scores, weight in self._coupled:
            totals += scores.scores(rows) * weight
        return totals

    def _put(self, row: int) -> None:
        self._room[row] -= 1
        for coupling in self._couplings:
            coupling.put(row)
        for scores, _ in self._coupled:
            scores.put(row)
        if self._moving and self._room[row]:
            self._move(row)

    def _move(self, row: int) -> None:
        """Score the copy after this one on the row."""
        self._copies[row] += 1
        rows = np.array([row], dtype=np.int64)
        for scorer, column in self._moving:
            raw = scorer.score(self._pod, self._snapshot, rows, self._copies[rows])
            assert isinstance(raw, np.ndarray)
            if scorer.normalise is Normalise.NONE:
                self._plain[row] += float(raw[0] - column[row]) * scorer.weight
            else:
                self._fixed = None
            column[row] = raw[0]
