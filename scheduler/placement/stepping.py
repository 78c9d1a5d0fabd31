"""Places copies one after another where a copy on one node bears on other nodes.

Pure. Spread and affinity make every copy change what the next one may do, so there is no placing
them at once; but all that changes is kept as columns, and a step costs a few NumPy operations
instead of a whole decision, or of groups of nodes where those are alike (`folding`). The outcome
equals deciding one copy at a time.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import (
    Counts,
    CoupledScores,
    Coupling,
    Mask,
    Normalise,
    Rows,
    Scores,
)
from .folding import fold
from .own_scores import OwnScores
from .scoring import Scoring

_DEPTH = 8  # copies a row is asked for at once
_MISSED = 16  # rows after which all are asked


def openings(room: Counts, couplings: Sequence[Coupling]) -> Mask:
    """Return where the next copy may go, (N,) bool."""
    mask = room > 0
    for coupling in couplings:
        mask &= coupling.room()
    return mask


def settled(couplings: Sequence[Coupling]) -> bool:
    """Tell whether no further copy changes the room of other nodes."""
    return all(coupling.settled for coupling in couplings)


def step(scoring: Scoring, room: Counts, couplings: Sequence[Coupling], count: int) -> Rows:
    """Place up to `count` copies; fewer when the rest can be placed at once, or has no room.

    Args:
        scoring: started; its coupled scores are used up here.
        room: (N,) int64, copies each node can take by the filters that are not coupled.
        couplings: of the filters that are.
    """
    own = OwnScores(scoring, room, scoring.done)
    folding = fold(own, room, couplings, scoring.coupled, count)
    if folding is None:
        return Stepping(own, room, couplings, scoring.coupled).run(count)
    chosen = folding.run(count)
    if chosen.size == count:
        return chosen
    for row in chosen.tolist():
        for each in (*couplings, *(scores for scores, _ in scoring.coupled)):
            each.put(row)
    if not scoring.coupled and settled(couplings):
        return chosen
    put = np.bincount(chosen, minlength=room.size)
    own = OwnScores(scoring, room - put, put if scoring.done is None else put + scoring.done)
    rest = Stepping(own, room - put, couplings, scoring.coupled).run(count - chosen.size)
    return np.concatenate([chosen, rest])


class Stepping:
    """One class on its way onto the nodes.

    Args:
        own: its scores that are not coupled.
        room: (N,) int64, copies each node can take by the filters that are not coupled.
        couplings: of the filters that are; used up here, like `coupled`.
        coupled: scores that are, with their weights.
    """

    def __init__(
        self,
        own: OwnScores,
        room: Counts,
        couplings: Sequence[Coupling],
        coupled: Sequence[tuple[CoupledScores, int]],
    ) -> None:
        self._own = own
        self._room = room.copy()
        self._couplings = couplings
        self._coupled = coupled
        self._plain = own.static.copy()
        for scorer, column in own.moving:
            if scorer.normalise is Normalise.NONE:
                self._plain += column * scorer.weight
        self._open: Rows = np.zeros(0, dtype=np.int64)
        self._fixed: NDArray[np.float64] | None = None
        self._ahead = _Ahead(own.move, self._room, own.copies)

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

    def _totals(self, rows: Rows) -> NDArray[np.float64]:
        if self._fixed is None or not np.array_equal(rows, self._open):
            self._fixed = self._own.rank(rows)
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
        if self._own.moving and self._room[row]:
            self._move(row)

    def _move(self, row: int) -> None:
        """Take over the scores of the copy after this one on the row."""
        self._own.copies[row] += 1
        for (scorer, column), raw in zip(self._own.moving, self._ahead.next(row), strict=True):
            if scorer.normalise is Normalise.NONE:
                self._plain[row] += float(raw - column[row]) * scorer.weight
            else:
                self._fixed = None
            column[row] = raw


class _Ahead:
    """Scores of coming copies, asked for in blocks: a call of a scorer costs as much as a step.

    A row is asked for several copies at once, which serves packing. When many rows turn out to be
    missing, all rows are asked for one copy each, which serves spreading.

    Args:
        ask: (rows, copies) → for each moving scorer, the scores of the next copy.
        room, copies: (N,) of the one who steps, as they are at any time.
    """

    def __init__(
        self, ask: Callable[[Rows, Counts], list[Scores]], room: Counts, copies: Counts
    ) -> None:
        self._ask = ask
        self._room = room
        self._copies = copies
        self._deep: dict[int, Iterator[tuple[float, ...]]] = {}
        self._wide: list[Scores] = []
        self._fresh = np.zeros(room.size, dtype=np.bool_)
        self._missed: set[int] = set()

    def next(self, row: int) -> Sequence[float]:
        """Return the scores of one more copy on the row, by scorer."""
        block = self._deep.get(row)
        found = next(block, None) if block is not None else None
        if found is not None:
            self._fresh[row] = False
            return found
        if self._fresh[row]:
            self._fresh[row] = False
            return [scores[row] for scores in self._wide]
        self._missed.add(row)
        if len(self._missed) > _MISSED:
            self._widen(row)
        else:
            self._deepen(row)
        return self.next(row)

    def _deepen(self, row: int) -> None:
        depth = min(_DEPTH, int(self._room[row]))
        copies = np.arange(depth, dtype=np.int64) + self._copies[row]
        asked = self._ask(np.full(depth, row, dtype=np.int64), copies)
        self._deep[row] = zip(*(scores.tolist() for scores in asked), strict=True)

    def _widen(self, row: int) -> None:
        """Ask for the copy after the next on every row that may take two; `row` is one ahead."""
        self._fresh = self._room > 1
        self._fresh[row] = True
        rows = np.flatnonzero(self._fresh)
        asked = self._ask(rows, self._copies[rows] + (rows != row))
        self._wide = [np.zeros(self._room.size, dtype=scores.dtype) for scores in asked]
        for column, scores in zip(self._wide, asked, strict=True):
            column[rows] = scores
        self._missed.clear()
