"""Places copies that bear on each other by groups of nodes: thousands of rows step as a few.

Pure. Spread over zones tells nodes of one zone apart in nothing, so where the next copy goes is
decided over zones, each of which stands with its best row; inside a group the order of rows is
that of placing at once (greedy). The outcome equals stepping row by row.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..hookspecs import (
    Counts,
    CoupledScores,
    Coupling,
    FoldableCoupling,
    FoldableScores,
    Mask,
    Rows,
    Scores,
)
from .greedy import place_apart
from .own_scores import OwnScores

_MOST_GROUPS = 128  # above, a step over groups costs as much as one over rows
_COPIES_A_GROUP = 12  # fewer do not pay for ordering a group's rows
_LEAST_BLOCK = 8  # rows of a group that are ordered at once

Groups = Sequence[Rows]  # rows that may take copies, ascending in each group and by first row
_Head = tuple[float, int]  # the score of a group's best row, and minus that row
Weighted = Sequence[tuple[CoupledScores, int]]


def fold(
    own: OwnScores, room: Counts, couplings: Sequence[Coupling], coupled: Weighted, count: int
) -> "Folding | None":
    """Return how to place `count` copies by groups of nodes; None where rows must be looked at.

    That is where a coupling does not say which nodes are alike, where they are hardly so or the
    copies few, where scores within a group could not be told from their sum with coupled ones, or
    where normalisation would depend on which groups are open.

    Args:
        own: the class's scores that are not coupled; the Folding counts its copies there.
        room: (N,) int64, copies each node can take by the filters that are not coupled.
        couplings: of the filters that are; left as they are, like the scores.
        coupled: scores that are, with their weights.
    """
    filters = [each for each in couplings if isinstance(each, FoldableCoupling)]
    scores = [(each, w) for each, w in coupled if isinstance(each, FoldableScores)]
    if len(filters) < len(couplings) or len(scores) < len(coupled) or not own.rankable:
        return None
    groups = _groups([*filters, *(each for each, _ in scores)], room, count)
    if groups is None:
        return None
    peaks = _Peaks(own, room, groups)
    if not peaks.everywhere:
        return None
    rows = np.array([members[0] for members in groups], dtype=np.int64)
    folding = Folding(own, room, groups, peaks)
    folding.couplings = [each.fold(rows) for each in filters]
    folding.coupled = [(each.fold(rows), weight) for each, weight in scores]
    return folding


def _groups(
    couplings: Sequence[FoldableCoupling | FoldableScores], room: Counts, count: int
) -> Groups | None:
    """Return the rows with room in groups that are alike to all; None if there are too many."""
    rows = np.flatnonzero(room)
    most = min(_MOST_GROUPS, rows.size // 4, count // _COPIES_A_GROUP)
    codes, number = np.zeros(rows.size, dtype=np.int64), 1
    for coupling in couplings:
        columns = coupling.groups()
        if columns is None:
            return None
        for column in columns:
            own, values = _dense(column[rows].astype(np.int64))
            codes, number = _dense(codes * values + own)
            if number > most:
                return None
    if not number <= most:
        return None
    order = rows[np.argsort(codes, kind="stable")]
    ends = np.cumsum(np.bincount(codes, minlength=number)).tolist()
    groups = [order[start:end] for start, end in pairwise([0, *ends])]
    return sorted(groups, key=lambda members: int(members[0]))


def _dense(codes: Counts) -> tuple[Counts, int]:
    """Return codes that tell apart the same by 0 … n-1, and n."""
    least = int(codes.min(initial=0))
    top = int(codes.max(initial=0)) - least + 1
    if top > 8 * codes.size + 64:
        found, inverse = np.unique(codes, return_inverse=True)
        return inverse.astype(np.int64), found.size
    there = np.zeros(top, dtype=np.int64)
    there[codes - least] = 1
    places = np.cumsum(there) - 1
    return places[codes - least], int(places[-1]) + 1


class Folding:
    """One class on its way onto groups of nodes; see `fold`."""

    def __init__(self, own: OwnScores, room: Counts, groups: Groups, peaks: "_Peaks") -> None:
        self.couplings: Sequence[Coupling] = ()
        self.coupled: Weighted = ()
        self._own = own
        self._room = room.copy()
        self._groups = groups
        self._peaks = peaks
        self._static = own.static.copy()
        rows = np.flatnonzero(room)
        self._static[rows] += own.rank(rows)
        self._full = [False] * len(groups)
        self._heads: list[_Head] = []
        self._stale: set[int] = set()
        self._blocks: list[list[_Head]] = [[] for _ in groups]
        self._taken: list[list[int]] = [[] for _ in groups]
        self._asked: tuple[list[int], Rows] = [], rows[:0]
        scores = np.zeros(room.size, dtype=np.float64)
        scores[rows] = self._scores(rows, np.zeros(rows.size, dtype=np.int64))
        for members in groups:
            row = int(members[int(np.argmax(scores[members]))])
            self._heads.append((float(scores[row]), -row))

    def run(self, count: int) -> Rows:
        """Place up to `count` copies; stop early when the rest must be, or can be, asked anew."""
        chosen: list[int] = []
        while len(chosen) < count:
            groups = self._open_groups(count - len(chosen))
            if not groups:
                break
            group = self._best(groups) if len(groups) > 1 else groups[0]
            alone = len(groups) == 1 and all(each.settled for each in self.couplings)
            for _ in range(count - len(chosen) if alone else 1):
                row = self._take(group)
                chosen.append(row)
                if self._peaks.gone(group, row):
                    return np.array(chosen, dtype=np.int64)
                if group in self._stale:
                    break
            if not alone:
                for coupling in self.couplings:
                    coupling.put(group)
                for scores, _ in self.coupled:
                    scores.put(group)
        return np.array(chosen, dtype=np.int64)

    def _open_groups(self, wanted: int) -> list[int]:
        """Return the groups where the next copy may go; their heads are known then."""
        found: Iterable[int] = range(len(self._groups))
        for coupling in self.couplings:
            room: list[bool] = coupling.room().tolist()
            found = [group for group in found if room[group]]
        groups = [group for group in found if not self._full[group]]
        if self._stale.isdisjoint(groups):
            return groups
        self._order([group for group in groups if not self._blocks[group]], wanted, len(groups))
        return [group for group in groups if not self._full[group]]

    def _best(self, groups: list[int]) -> int:
        """Return the group whose best row is the best of all, the lowest row on a tie."""
        heads = [self._heads[group] for group in groups]
        if self.coupled:
            if groups != self._asked[0]:
                self._asked = groups, np.array(groups, dtype=np.int64)
            sums = np.array([score for score, _ in heads])
            for scores, weight in self.coupled:
                sums += scores.scores(self._asked[1]) * weight
            heads = [(total, row) for total, (_, row) in zip(sums.tolist(), heads, strict=True)]
        return groups[heads.index(max(heads))]

    def _take(self, group: int) -> int:
        """Take a group's best row; the next one becomes its head, or must be ordered."""
        row = -self._heads[group][1]
        self._taken[group].append(row)
        block = self._blocks[group]
        if block:
            block.pop()
        if block:
            self._heads[group] = block[-1]
        else:
            self._stale.add(group)
        return row

    def _order(self, groups: Sequence[int], wanted: int, among: int) -> None:
        """Find the next best rows of groups for what they may get of so many wanted copies."""
        share = max(_LEAST_BLOCK, -(-wanted // among) + 1)
        taken = np.array([row for group in groups for row in self._taken[group]], dtype=np.int64)
        np.subtract.at(self._room, taken, 1)
        np.add.at(self._own.copies, taken, 1)
        questions: list[tuple[Rows, int]] = []
        for group in groups:
            depth = min(wanted, max(share, 2 * len(self._taken[group])))
            self._taken[group].clear()
            members = self._groups[group]
            questions.append((members[self._room[members] > 0], depth))
        sequences = place_apart(self._room, questions, self._scores)
        rows = np.concatenate(sequences)
        scores = self._scores(rows, _earlier(rows)).tolist()
        heads = list(zip(scores, (-rows).tolist(), strict=True))
        start = 0
        for group, sequence in zip(groups, sequences, strict=True):
            block = self._blocks[group] = heads[start : start + sequence.size][::-1]
            start += sequence.size
            if block:
                self._heads[group] = block[-1]
            else:
                self._full[group] = True
        self._stale.difference_update(groups)

    def _scores(self, rows: Rows, copies: Counts) -> Scores:
        scores: NDArray[np.float64] = self._static[rows]
        moved = self._own.move(rows, self._own.copies[rows] + copies)
        for (scorer, _), raw in zip(self._own.moving, moved, strict=True):
            scores += raw * scorer.weight
        return scores


class _Peaks:
    """Rows with the largest raw scores: as long as each group has some, normalisation stays.

    Args:
        own, room, groups: as Folding's.
    """

    def __init__(self, own: OwnScores, room: Counts, groups: Groups) -> None:
        self.everywhere = True
        self._peaks: list[tuple[Mask, list[int]]] = []
        for _, column in own.ranked:
            largest = column[room > 0].max(initial=0)
            if largest > 0:
                peak = column == largest
                left = [int(room[members[peak[members]]].sum()) for members in groups]
                self._peaks.append((peak, left))
                self.everywhere &= all(left)

    def gone(self, group: int, row: int) -> bool:
        """Count a copy; tells whether its group has just lost the last of them."""
        found = False
        for peak, left in self._peaks:
            if peak[row]:
                left[group] -= 1
                found |= not left[group]
        return found


def _earlier(sequence: Rows) -> Counts:
    """Return how often each row has come before, by position."""
    order = np.argsort(sequence, kind="stable")
    ordered = sequence[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    sizes = np.diff(np.append(starts, ordered.size))
    found = np.empty(sequence.size, dtype=np.int64)
    found[order] = np.arange(ordered.size) - np.repeat(starts, sizes)
    return found
