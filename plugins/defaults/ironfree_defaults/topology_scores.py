"""Scores of PodTopologySpread: kept for one decision and moved by every copy that is placed."""

import math
from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from scheduler.hookspecs import Alike, Counts, Mask, Rows, Scores, Snapshot
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
        if domain == ABSENT:
            return None
        self.counts[domain] += 1
        return domain

    def groups(self) -> Alike:
        """Return what tells nodes apart: of hostname, every node is one of its own."""
        if self.own_nodes:
            return (np.arange(self.places.size),)
        return self.places, self._part

    def fold(self, rows: Rows) -> "SoftDomains":
        """Return these domains with one node a group."""
        folded = copy(self)
        folded.places, folded._homes = self.places[rows], self._homes[rows]
        folded._part = self._part[rows]
        folded.counts = self.counts.copy()
        return folded

    @property
    def homes(self) -> Counts:
        """(N,) the domain in which the pods of each node count, -1 for none."""
        return np.where(self._part, self._homes, ABSENT).astype(np.int64)

    def number(self, rows: Rows, scored: int) -> int:
        """Return how many domains the rows are in; `scored` is how many rows there are."""
        if self.own_nodes:
            return scored
        met = np.zeros(self.counts.size, dtype=np.bool_)
        met[self._homes[rows]] = True
        return int(np.count_nonzero(met))

    def terms(self, places: Places, weight: float) -> NDArray[np.float64]:
        """Return what these places' domains add to raw scores (scoreForCount)."""
        terms: NDArray[np.float64] = self.counts[places] * np.float64(weight)
        terms += self._base
        if self._absent:
            terms[places == ABSENT] = 0.0
        return terms

    def term(self, domain: int, weight: float) -> float:
        """Return what one domain adds to raw scores."""
        return float(self.counts[domain]) * weight + self._base


class SpreadScores:
    """Scores by a pod's ScheduleAnyway constraints.

    Terms of raw scores are kept for the rows asked last; a copy changes those of its domains.

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
        self._terms: list[NDArray[np.float64]] = []
        self._changed: list[tuple[int, int]] = []

    def put(self, row: int) -> None:
        """Count one more copy on a row."""
        for number, each in enumerate(self._domains):
            domain = each.put(row)
            if domain is not None:
                self._changed.append((number, domain))

    def groups(self) -> Alike:
        """Return what tells nodes apart."""
        columns = [column for each in self._domains for column in each.groups()]
        return columns if self._labelled is None else [*columns, self._labelled]

    def fold(self, rows: Rows) -> "SpreadScores":
        """Return the same with one node a group."""
        labelled = None if self._labelled is None else self._labelled[rows]
        return SpreadScores([each.fold(rows) for each in self._domains], labelled)

    def scores(self, rows: Rows) -> Scores:
        """Score the next copy: 100 · (max + min - raw) // max over the rows that are scored."""
        if rows is not self._rows and not self._asked_before(rows):
            self._begin(rows)
        else:
            for number, domain in self._changed:
                self._update(number, domain)
        self._changed.clear()
        return self._normalised()

    def points(self, rows: Rows) -> list[float]:
        """Return, by constraint, what one more pod in its domain takes off a score of 0-100."""
        self._begin(rows)
        raw = sum(self._terms, np.zeros(rows.size))
        living = raw if self._scored is None else raw[self._scored]
        largest = float(living.max(initial=0.0)) + max(self._weights)
        return [100.0 * weight / largest for weight in self._weights]

    def _asked_before(self, rows: Rows) -> bool:
        return self._rows is not None and np.array_equal(rows, self._rows)

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
        parts = zip(self._domains, self._places, self._weights, strict=True)
        self._terms = [each.terms(places, weight) for each, places, weight in parts]

    def _update(self, number: int, domain: int) -> None:
        """Give the rows of one domain their term again."""
        assert self._rows is not None
        each, terms = self._domains[number], self._terms[number]
        term = each.term(domain, self._weights[number])
        if not each.own_nodes:
            np.copyto(terms, term, where=self._places[number] == domain)
            return
        place = int(np.searchsorted(self._rows, domain))
        if place < self._rows.size and self._rows[place] == domain:
            terms[place] = term

    def _normalised(self) -> Scores:
        """Add the terms up in their order, round half up, and scale; all are exact as floats."""
        raw = self._terms[0] + (self._terms[1] if len(self._terms) > 1 else 0.0)
        for terms in self._terms[2:]:
            raw += terms
        raw += 0.5
        np.floor(raw, out=raw)
        living = raw if self._scored is None else raw[self._scored]
        largest = float(living.max()) if living.size else 0.0
        if largest == 0.0:
            scores = np.full(raw.size, 100.0)
        else:
            scores = np.subtract(largest + float(living.min()), raw, out=raw)
            scores *= 100.0
            scores /= largest
            np.floor(scores, out=scores)
        if self._scored is not None:
            scores[~self._scored] = 0.0
        return scores
