"""Scores of PodTopologySpread: kept for one decision and moved by every copy that is placed."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.hookspecs import Counts, Mask, Rows, Scores, Snapshot
from scheduler.snapshot import ABSENT

from .topology_domains import Census, Constraint, Places, gather, places

HOSTNAME = "kubernetes.io/hostname"


class SoftDomains:
    """The domains of one ScheduleAnyway constraint; of hostname, each node is one of its own.

    `places` is (N,), the domain of each node, ABSENT where it lacks the label. `counts` is by
    domain, with one place more for ABSENT.
    """

    def __init__(self, constraint: Constraint, census: Census, snapshot: Snapshot) -> None:
        column = snapshot.label(constraint.key)
        self.own_nodes = constraint.key == HOSTNAME
        self._grows = constraint.grows
        self._base = float(constraint.max_skew - 1)
        if self.own_nodes:
            # Upstream counts a node's own pods then, whatever the inclusion policies say.
            self.places: Places = np.where(column.has(), snapshot.all_rows, ABSENT)
            self._homes = self.places
            self._part = snapshot.every()
            self.counts = np.append(census.pods(constraint), 0)
        else:
            self.places = places(column.codes)
            # Where labels may lack, nodes without one are the domain "", a possible value.
            self._homes = places(column.codes, column.code_of.get("", ABSENT))
            self._part = census.part(constraint)
            pods = census.pods(constraint)
            self.counts = gather(self._homes, pods, self._part, len(column.code_of))
        self._absent = bool((self.places == ABSENT).any())

    def put(self, row: int) -> int | None:
        """Count one more copy on a row; returns the domain that changed."""
        if not self._grows or not self._part[row]:
            return None
        domain = int(self._homes[row])
        self.counts[domain] += 1
        return domain

    def number(self, rows: Rows, scored: int) -> int:
        """Return how many domains the rows are in; `scored` is how many rows there are."""
        if self.own_nodes:
            return scored
        met = np.zeros(self.counts.size, dtype=np.bool_)
        met[self._homes[rows]] = True
        return int(np.count_nonzero(met))

    def term(self, places: Places, weight: float) -> NDArray[np.float64]:
        """Return what nodes in these domains add to the raw score (scoreForCount)."""
        term: NDArray[np.float64] = self.counts[places] * np.float64(weight)
        term += self._base
        if self._absent:
            term[places == ABSENT] = 0.0
        return term


class SpreadScores:
    """Scores by a pod's ScheduleAnyway constraints.

    Raw scores are kept for the rows asked last; a copy changes those of its domains only.

    Args:
        domains: by constraint.
        labelled: (N,) nodes that are scored, the others get 0; None when all are.
    """

    def __init__(self, domains: Sequence[SoftDomains], labelled: Mask | None) -> None:
        self._domains = domains
        self._labelled = labelled
        self._rows: Rows | None = None
        self._scored: Mask | None = None
        self._places: list[Places] = []
        self._weights: list[float] = []
        self._raw = np.zeros(0, dtype=np.int64)
        self._changed: list[tuple[int, int]] = []

    def put(self, row: int) -> None:
        """Count one more copy on a row."""
        for number, each in enumerate(self._domains):
            domain = each.put(row)
            if domain is not None:
                self._changed.append((number, domain))

    def scores(self, rows: Rows) -> Scores:
        """Score the next copy: 100 · (max + min - raw) // max over the rows that are scored."""
        if self._rows is None or not np.array_equal(rows, self._rows):
            self._begin(rows)
        else:
            for number, domain in self._changed:
                self._update(number, domain)
        self._changed.clear()
        return self._normalised()

    def _begin(self, rows: Rows) -> None:
        self._rows = rows
        self._scored = None
        inside = rows
        if self._labelled is not None:
            scored = self._labelled[rows]
            if not scored.all():
                self._scored = scored
                inside = rows[scored]
        self._places = [each.places[rows] for each in self._domains]
        self._weights = [math.log(each.number(inside, inside.size) + 2) for each in self._domains]
        self._raw = self._sum(self._places)

    def _update(self, number: int, domain: int) -> None:
        """Score the rows of one domain again."""
        assert self._rows is not None
        if self._domains[number].own_nodes:
            place = int(np.searchsorted(self._rows, domain))
            if place == self._rows.size or self._rows[place] != domain:
                return
            at: slice | Places = slice(place, place + 1)
        else:
            at = np.flatnonzero(self._places[number] == domain)
        self._raw[at] = self._sum([places[at] for places in self._places])

    def _sum(self, places: Sequence[Places]) -> Counts:
        """Add up the constraints' terms in their order, and round half up."""
        total: NDArray[np.float64] | None = None
        for each, where, weight in zip(self._domains, places, self._weights, strict=True):
            term = each.term(where, weight)
            total = term if total is None else np.add(total, term, out=total)
        assert total is not None
        return np.floor(total + 0.5).astype(np.int64)

    def _normalised(self) -> Scores:
        raw = self._raw if self._scored is None else self._raw[self._scored]
        if not raw.size:
            return np.zeros(self._raw.size, dtype=np.int64)
        largest = int(raw.max())
        if largest == 0:
            scores = np.full(self._raw.size, 100, dtype=np.int64)
        else:
            scores = (largest + int(raw.min())) - self._raw
            scores *= 100
            scores //= largest
        if self._scored is not None:
            scores[~self._scored] = 0
        return scores
