"""Domains of nodes that pods draw to, or keep from, others: counted, and kept current by copies.

A domain is the set of nodes with one value of a label. Knows nothing of terms and selectors.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from scheduler.hookspecs import Alike, Counts, Mask, Rows, Scores, Snapshot
from scheduler.snapshot import ABSENT, Codes

MAX_SCORE = 100


class DomainMarks:
    """The domains in which certain pods run."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._rows: dict[str, list[int]] = {}

    def add(self, key: str, rows: Iterable[int]) -> None:
        """Mark the domains, by a label key, that rows belong to."""
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = []
        found.extend(rows)

    def __bool__(self) -> bool:
        """Whether pods were found at all, be their nodes in a domain or not."""
        return bool(self._rows)

    def of(self, key: str) -> Mask:
        """Return the (N,) nodes in a marked domain of a label key."""
        rows = self._rows.get(key)
        if not rows:
            return self._snapshot.none()
        column = self._snapshot.label(key)
        marked = np.zeros(len(column.code_of) + 1, dtype=np.bool_)
        marked[column.codes[np.array(rows, dtype=np.int64)]] = True
        marked[ABSENT] = False
        return marked[column.codes]

    def any(self) -> Mask | None:
        """Return the (N,) nodes in a marked domain of whatever key; None if nothing is marked."""
        marked: Mask | None = None
        for key in self._rows:
            here = self.of(key)
            marked = here if marked is None else np.logical_or(marked, here, out=marked)
        return marked


class DomainSums:
    """What pods add to the scores of the domains they run in."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._found: dict[str, tuple[list[int], list[int]]] = {}

    def add(self, key: str, rows: Mapping[int, int], weight: int) -> None:
        """Add `weight` for each pod; `rows` says how many there are by row."""
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = ([], [])
        found[0].extend(rows)
        found[1].extend(map(weight.__mul__, rows.values()))

    def total(self) -> Counts:
        """Return each node's (N,) int64 sum over its domains."""
        total = np.zeros(self._snapshot.size, dtype=np.int64)
        for key, (rows, amounts) in self._found.items():
            column = self._snapshot.label(key)
            codes = column.codes[np.array(rows, dtype=np.int64)]
            # Shifted by one, nodes without the label fall into place 0, which then counts nothing.
            sums = np.bincount(
                codes + 1, np.array(amounts, dtype=np.float64), len(column.code_of) + 1
            ).astype(np.int64)
            sums[0] = 0
            total += sums[column.codes + 1]
        return total


def singles(codes: Codes) -> bool:
    """Tell whether every domain of a label is but one node."""
    present = codes[codes != ABSENT]
    return not present.size or int(np.bincount(present).max()) <= 1


class DomainCoupling:
    """Where copies of a class may go that bear on each other (a Coupling).

    Args:
        room: (N,) for the first copy.
        gathers: of each label by which a first copy draws the others into its domains; none if
            copies do not, or not any more.
        repels: of each label by which a copy closes its domain to the others.
    """

    def __init__(self, room: Mask, gathers: Sequence[Codes], repels: Sequence[Codes]) -> None:
        self._room = room.copy()
        self._gathers = gathers
        self._repels = repels
        self._settled: bool | None = None

    @property
    def settled(self) -> bool:
        """Whether copies have been drawn together and none that follows can close a domain."""
        if self._settled is None:
            self._settled = not self._gathers and not any(
                bool((self._room & (codes != ABSENT)).any()) for codes in self._repels
            )
        return self._settled

    def put(self, row: int) -> None:
        """Take over that a copy is on the row."""
        if self._settled:
            return
        for codes in self._gathers:
            self._room &= codes == codes[row]
        self._gathers = ()
        for codes in self._repels:
            if codes[row] != ABSENT:
                self._room &= codes != codes[row]
        self._settled = None

    def room(self) -> Mask:
        """Return where the next copy may run."""
        return self._room

    def groups(self) -> Alike:
        """Return what tells nodes apart."""
        return self._room, *self._gathers, *self._repels

    def fold(self, rows: Rows) -> "DomainCoupling":
        """Return the same with one node a group."""
        gathers, repels = (
            [codes[rows] for codes in all_] for all_ in (self._gathers, self._repels)
        )
        return DomainCoupling(self._room[rows], gathers, repels)


class DomainScores:
    """Scores by domain, scaled from the least to the greatest (CoupledScores).

    Args:
        raw: (N,) int64 sums as the cluster is.
        pulls: what a copy adds to its domain, by label.
    """

    def __init__(self, raw: Counts, pulls: Sequence[tuple[Codes, int]]) -> None:
        self._raw = raw
        self._pulls = pulls

    def put(self, row: int) -> None:
        """Take over that a copy is on the row."""
        for codes, weight in self._pulls:
            if codes[row] != ABSENT:
                np.add(self._raw, weight, out=self._raw, where=codes == codes[row])

    def groups(self) -> Alike:
        """Return what tells nodes apart: their sums so far, and what copies add to."""
        return self._raw, *(codes for codes, _ in self._pulls)

    def fold(self, rows: Rows) -> "DomainScores":
        """Return the same with one node a group."""
        return DomainScores(self._raw[rows], [(codes[rows], w) for codes, w in self._pulls])

    def scores(self, rows: Rows) -> Scores:
        """Scale the sums over rows to 0-100, truncated; all 0 where they are equal."""
        raw = self._raw[rows]
        if not raw.size:
            return raw
        least = raw.min()
        width = raw.max() - least
        if not width:
            return np.zeros(rows.size, dtype=np.int64)
        # In kube-scheduler's order of operations: the share first, then 100 times it.
        return (MAX_SCORE * ((raw - least) / width)).astype(np.int64)
