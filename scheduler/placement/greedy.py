"""Places k copies of one class at once, exactly as one-by-one greedy would.

Pure. One-by-one greedy puts each copy where the next copy scores highest (lowest row on a tie).
Let S(n, i) be the score of a copy on node n that has i copies already, P(n, i) the smallest of
S(n, 0) … S(n, i). Greedy's sequence is the pairs (n, i) sorted by P descending, then n, then i:
once a node has been chosen at a score v, it stays chosen while its following scores are at least
v, so what lies behind a dip counts no more than the dip. The k first pairs are found without
looking at all of them: only the k best heads can take part, and a node's depth is doubled only
while everything looked at so far is taken. Where scores rise with every copy, as in packing, the
few best heads take all: they are looked at to their full depth first.
"""

from collections.abc import Callable, Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import Counts, Rows, Scores

ScoreOf = Callable[[Rows, Counts], Scores]

_NOBODY = np.zeros(0, dtype=np.int64)
_FILLED_FROM = 16  # copies for which it pays to look whether the best nodes take all
_LEADING_VALUES = 8  # distinct scores that the best heads may have then
_MOST_FILLED = 4  # pairs looked at then, for each copy


def place(room: Counts, count: int, score: ScoreOf, rows: Rows | None = None) -> Rows:
    """Return the rows of up to `count` copies, in the order greedy would choose them.

    Args:
        room: (N,) int64, how many copies each node can take.
        count: copies wanted.
        score: (rows, copies) → (M,) score of the next copy on each row that has so many copies
            of this call already.
        rows: the rows with room, ascending, if the caller knows them.

    Returns:
        (K,) int64, K = min(count, room.sum()).
    """
    if rows is None:
        rows = np.flatnonzero(room)
    return place_apart(room, [(rows, count)], score)[0]


def place_apart(room: Counts, groups: Sequence[tuple[Rows, int]], score: ScoreOf) -> list[Rows]:
    """Return what `place` would of each of several groups of rows, asking about all at once.

    Args:
        room: as of `place`.
        groups: ascending rows with room, and the copies wanted there; no row twice.
        score: as of `place`.
    """
    found: list[Rows] = [_NOBODY] * len(groups)
    searches = [_search(room, rows, count) for rows, count in groups]
    answers: list[Scores | None] = [None] * len(groups)
    going = list(range(len(groups)))
    while going:
        asked: list[tuple[int, Rows, Counts]] = []
        for number in going:
            try:
                asked.append((number, *searches[number].send(answers[number])))
            except StopIteration as end:
                found[number] = end.value
        going = [number for number, _, _ in asked]
        if len(asked) == 1:
            number, rows, copies = asked[0]
            answers[number] = score(rows, copies)
        elif asked:
            rows, copies = (np.concatenate(each) for each in list(zip(*asked, strict=True))[1:])
            ends = np.cumsum([each.size for _, each, _ in asked])
            parts = np.split(score(rows, copies), ends[:-1])
            for number, part in zip(going, parts, strict=True):
                answers[number] = part
    return found


_Question = tuple[Rows, Counts]
_Search = Generator[_Question, Scores | None, Rows]
_Block = Generator[_Question, Scores | None, tuple[Rows, Counts, Scores]]


def _search(room: Counts, rows: Rows, count: int) -> _Search:
    """Ask for scores of (rows, copies) by yielding them; the outcome is `place`'s."""
    if not rows.size or count <= 0:
        return _NOBODY
    values = yield rows, np.zeros(rows.size, dtype=np.int64)
    assert values is not None
    if count == 1:
        return rows[[int(np.argmax(values))]]
    search = _Deepening(room, count)
    if count >= _FILLED_FROM:
        filled = yield from search.fill(rows, values)
        if filled is not None:
            return filled
    if rows.size > count:
        best = _largest(values, count)
        rows, values = rows[best], values[best]
    return (yield from search.run(rows, values))


def _leaders(most: Counts, values: Scores, count: int) -> NDArray[np.int64] | None:
    """Return the ascending indices of the best heads that can take `count` copies at most of each.

    None where they are many, or of many values.
    """
    rest = values.astype(np.float64)
    chosen: list[NDArray[np.int64]] = []
    for _ in range(_LEADING_VALUES):
        best = rest.max()
        if best == -np.inf:
            return None  # all together cannot take as many
        tied = np.flatnonzero(rest == best)
        reach = np.cumsum(most[tied])
        enough = int(np.searchsorted(reach, count)) + 1
        chosen.append(tied[:enough])
        if enough <= tied.size:
            found = np.sort(np.concatenate(chosen))
            return found if found.size * int(most[found].max()) <= _MOST_FILLED * count else None
        count -= int(reach[-1])
        rest[tied] = -np.inf
    return None


def _largest(values: Scores, count: int) -> NDArray[np.int64]:
    """Return the ascending indices of the `count` largest, lowest index on a tie."""
    threshold = np.partition(values, values.size - count)[values.size - count]
    chosen = values > threshold
    ties = np.flatnonzero(values == threshold)
    chosen[ties[: count - int(np.count_nonzero(chosen))]] = True
    return np.flatnonzero(chosen)


class _Deepening:
    """The pairs (row, copy) taken so far, and the search for better ones."""

    def __init__(self, room: Counts, count: int) -> None:
        self._room = room
        self._count = count

    def fill(self, rows: Rows, values: Scores) -> Generator[_Question, Scores | None, Rows | None]:
        """Return the sequence if the best heads alone make it up, looked at in full depth."""
        most = self._most(rows)
        chosen = _leaders(most, values, self._count)
        deepest = 1 if chosen is None else int(most[chosen].max())
        if chosen is None or deepest == 1:
            return None
        block = yield from self._block(rows[chosen], values[chosen], 1, deepest)
        pairs = np.concatenate([rows[chosen], block[0]])
        copies = np.concatenate([np.zeros(chosen.size, dtype=np.int64), block[1]])
        scores = np.concatenate([values[chosen], block[2]])
        if scores.size > self._count:
            taken = self._best(pairs * (deepest + 1) + copies, scores)
            pairs, copies, scores = pairs[taken], copies[taken], scores[taken]
        others = np.ones(rows.size, dtype=np.bool_)
        others[chosen] = False
        least = scores.min()
        if (values[others] > least).any():
            return None
        tied = rows[others & (values == least)]
        if tied.size and int(tied[0]) < int(pairs[scores == least].max()):
            return None
        return pairs[np.lexsort((copies, pairs, -scores))]

    def run(self, rows: Rows, values: Scores) -> _Search:
        """Return the sequence, starting from the heads of candidate rows."""
        depth = 1
        copies = np.zeros(rows.size, dtype=np.int64)
        stride = min(int(self._room[rows].max()), self._count) + 1
        while True:
            if values.size > self._count:
                taken = self._best(rows * stride + copies, values)
                rows, copies, values = rows[taken], copies[taken], values[taken]
            full = np.flatnonzero((copies == depth - 1) & (self._most(rows) > depth))
            if not full.size:
                order = np.lexsort((copies, rows, -values))
                return rows[order]
            block = yield from self._block(rows[full], values[full], depth, 2 * depth)
            rows = np.concatenate([rows, block[0]])
            copies = np.concatenate([copies, block[1]])
            values = np.concatenate([values, block[2]])
            depth *= 2

    def _best(self, keys: Counts, values: Scores) -> NDArray[np.bool_]:
        """Mark the `count` best pairs: value descending, then key ascending (keys are unique)."""
        threshold = np.partition(values, values.size - self._count)[values.size - self._count]
        taken = values > threshold
        missing = self._count - int(np.count_nonzero(taken))
        ties = np.flatnonzero(values == threshold)
        if missing < ties.size:
            tied = keys[ties]
            ties = ties[tied <= np.partition(tied, missing - 1)[missing - 1]]
        taken[ties] = True
        return taken

    def _most(self, rows: Rows) -> Counts:
        return np.minimum(self._room[rows], self._count)

    def _block(self, rows: Rows, last: Scores, depth: int, end: int) -> _Block:
        """Look at copies depth … end-1 of rows; `last` is P at depth-1."""
        span = np.arange(depth, end, dtype=np.int64)
        copies = np.broadcast_to(span, (rows.size, span.size))
        there = copies < self._most(rows)[:, None]
        lengths = there.sum(axis=1)
        flat_rows, flat_copies = np.repeat(rows, lengths), copies[there]
        scores = yield flat_rows, flat_copies
        assert scores is not None
        grid = np.full(there.shape, np.inf)
        grid[there] = scores
        grid[:, 0] = np.minimum(grid[:, 0], last)
        smallest = np.minimum.accumulate(grid, axis=1)[there]
        return flat_rows, flat_copies, smallest
