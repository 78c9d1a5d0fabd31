"""All contents of a node that a better plan could use, judged by every proof at hand.

A proof gives copies prices and nodes rents so that no content earns more than its node costs. In a
plan that costs at most `target`, what the contents fall short of that adds up to no more than
target - bound, so a content that falls short by more is in no such plan (reduced-cost fixing).
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Reals
from .deadline import Deadline
from .devices import assign
from .problem import MANY
from .shapes import Shapes

_MOST = 30_000  # contents: more than an integer programme can choose from
_CHUNK = 10_000_000  # (content, class, proof, resource) looked at between two looks at the clock
_WORK = 300_000_000  # pairs looked at in all
_NOISE = 1e-7


@dataclass(frozen=True, slots=True)
class Proof:
    """Prices (C,) and rents (T,) at which no node's content earns more than cost + rent."""

    prices: Reals
    rents: Reals
    bound: float


@dataclass(frozen=True, slots=True)
class _Search:
    """One type of node: its classes in order, what they ask, and what falls short of the proofs.

    Args:
        classes: (L,) in the order of decision.
        asked: (L, R), most: (L,) copies, earned: (L, P) by proof.
        enough: (P,) least that a content earns.
        least: (L, R) the least that this class or a later one asks.
        rates: (L, P, R) what a unit of a resource earns at most by this class or a later one.
        brought: (L, R) what all copies of this class and the later ones bring along.
        bringing: (L, R) the most that they bring for a unit of the sum.
        sorted: (R + 1, L) classes by what they ask of each resource, and in any order.
    """

    classes: Counts
    asked: Counts
    most: Counts
    earned: Reals
    enough: Reals
    least: Counts
    rates: Reals
    brought: Counts
    bringing: Reals
    sorted: Counts


@dataclass(frozen=True, slots=True)
class _Partial:
    """M contents that may grow: positions of copies, what is left, what is earned."""

    chosen: Counts
    free: Counts
    earned: Reals

    def rows(self, some: slice | Counts) -> "_Partial":
        """Return some of them."""
        return _Partial(self.chosen[some], self.free[some], self.earned[some])


def enumerate_contents(
    shape: Shapes,
    node_type: int,
    cost: float,
    proofs: list[Proof],
    slack: Reals,
    deadline: Deadline,
) -> list[Counts] | None:
    """Return all contents (C,) within the slack of every proof, None if there are too many.

    Classes that bring along capacity come first. A content that does not fit yet grows on as long
    as later copies may bring what it lacks.

    Args:
        cost: of a node of the type, in the proofs' units.
        slack: (P,) target less bound of each proof, ≥ 0.
    """
    if shape.apart is not None or not np.isfinite(slack).all():
        return None
    classes = np.flatnonzero(shape.fit[node_type])
    if not classes.size:
        return []
    giving = np.any(shape.demand[classes] < 0, axis=1)
    size = shape.demand[classes] / np.maximum(shape.capacity[node_type], 1)
    classes = classes[np.lexsort((size.sum(axis=1), ~giving))]
    capacity, asked = _with_sum(shape.capacity[node_type], shape.demand[classes])
    earned = np.stack([proof.prices[classes] for proof in proofs], axis=1)
    order = [np.argsort(asked[:, r], kind="stable") for r in range(capacity.size)]
    most = shape.fit[node_type, classes]
    brought, bringing = _bringing(asked, most)
    search = _Search(
        classes=classes,
        asked=asked,
        most=most,
        earned=earned,
        enough=np.array([cost + p.rents[node_type] for p in proofs]) - slack - _NOISE,
        least=np.minimum.accumulate(asked[::-1], axis=0)[::-1],
        rates=_rates(asked, earned),
        brought=brought,
        bringing=bringing,
        sorted=np.stack([*order, np.arange(classes.size)]),
    )
    found = _grow(search, capacity, deadline)
    if found is None:
        return None
    contents: list[Counts] = []
    for chosen in found:
        content = np.bincount(classes[chosen], minlength=shape.count.size).astype(np.int64)
        if not shape.units @ content or assign(shape, shape.devices[node_type], content):
            contents.append(content)
    return contents


def _with_sum(capacity: Counts, asked: Counts) -> tuple[Counts, Counts]:
    """Put first what all resources together amount to: few classes are small there."""
    weight = max(int(capacity.max(initial=1)), 1) // np.maximum(capacity, 1)
    total, sums = weight @ capacity, asked @ weight
    return np.append(total, capacity), np.concatenate([sums[:, None], asked], axis=1)


def _grow(search: _Search, capacity: Counts, deadline: Deadline) -> list[Counts] | None:
    """Add one copy at a time, never a class before the last one; return positions of copies."""
    step = max(1, _CHUNK // max(search.rates.size, 1))
    stack = [
        _Partial(np.zeros((1, 0), np.int64), capacity[None], np.zeros((1, search.enough.size)))
    ]
    found: list[Counts] = []
    work = 0
    while stack:
        part = stack.pop()
        if len(part.chosen) > step:
            stack.append(part.rows(slice(step, None)))
            part = part.rows(slice(step))
        if deadline.over or work > _WORK or len(found) > _MOST:
            return None
        rows, added = _last(search, part)
        work += rows.size + len(part.chosen)
        complete: Counts = np.concatenate([part.chosen[rows], added[:, None]], axis=1)
        found.extend(complete)
        rows, added = _next(search, part)
        work += rows.size
        if rows.size:
            more = np.concatenate([part.chosen[rows], added[:, None]], axis=1)
            gained = part.earned[rows] + search.earned[added]
            stack.append(_Partial(more, part.free[rows] - search.asked[added], gained))
    return found


def _last(search: _Search, part: _Partial) -> tuple[Counts, Counts]:
    """Return (row, class) pairs that are contents with enough earned.

    Where a proof says what a unit of a resource earns at most, the last copy must ask for a
    certain part of what is left of it.
    """
    least = np.full(part.free.shape, -MANY)
    for p, enough in enumerate(search.enough.tolist()):
        wanting = enough - part.earned[:, p]
        for r in np.flatnonzero(np.isfinite(search.rates[0, p]) & (search.rates[0, p] > 0)):
            asked = np.ceil(wanting / search.rates[0, p, r] - _NOISE).astype(np.int64)
            least[:, r] = np.maximum(least[:, r], asked)
    rows, added = _pairs(search, part, least, part.free)
    for p, enough in enumerate(search.enough.tolist()):
        kept = part.earned[rows, p] + search.earned[added, p] >= enough
        rows, added = rows[kept], added[kept]
    return rows, added


def _next(search: _Search, part: _Partial) -> tuple[Counts, Counts]:
    """Return (row, class) pairs after which one more copy may yet complete a content."""
    first = np.zeros(len(part.chosen), dtype=np.int64)
    if part.chosen.shape[1]:
        first = part.chosen[:, -1]
    reached = part.free + _relief(search, part.free, first)
    roomy = np.flatnonzero(np.all(2 * search.least[first] <= reached, axis=1))
    some, reached = part.rows(roomy), reached[roomy]
    rows, added = _pairs(search, some, np.full_like(some.free, -MANY), reached)
    for r in range(part.free.shape[1]):
        kept = search.asked[added, r] + search.least[added, r] <= reached[rows, r]
        rows, added = rows[kept], added[kept]
    for p, enough in enumerate(search.enough.tolist()):
        for r in range(part.free.shape[1]):
            left = some.free[rows, r] - search.asked[added, r]
            gained = some.earned[rows, p] + search.earned[added, p]
            rate = search.rates[added, p, r]
            known = np.isfinite(rate)
            kept = ~known | (gained + np.where(known, rate, 0.0) * left >= enough)
            rows, added = rows[kept], added[kept]
    return roomy[rows], added


def _pairs(search: _Search, part: _Partial, least: Counts, most: Counts) -> tuple[Counts, Counts]:
    """Return pairs of a row and a class not before its last one that asks least … most of each
    resource; candidates come from the resource that leaves fewest.

    Args:
        least, most: (M, R).
    """
    height, width = part.free.shape
    begin, many = np.zeros((width + 1, height), np.int64), np.zeros((width + 1, height), np.int64)
    many[width] = search.classes.size
    for r in range(width):
        sizes = search.asked[search.sorted[r], r]
        begin[r] = np.searchsorted(sizes, least[:, r], side="left")
        many[r] = np.searchsorted(sizes, most[:, r], side="right") - begin[r]
    fewest = np.argmin(many, axis=0)
    every: Counts = np.arange(int(height), dtype=np.int64)
    times = np.maximum(many[fewest, every], 0)
    rows: Counts = np.repeat(every, times)
    offset = np.arange(rows.size) - np.repeat(np.cumsum(times) - times, times)
    added = search.sorted[fewest[rows], begin[fewest, every][rows] + offset]
    if part.chosen.shape[1]:
        last = part.chosen[:, -1]
        again = (part.chosen == last[:, None]).sum(axis=1) >= search.most[last]
        kept = (added > last[rows]) | ((added == last[rows]) & ~again[rows])
        rows, added = rows[kept], added[kept]
    for r in range(width):
        asked = search.asked[added, r]
        kept = (asked <= most[rows, r]) & (asked >= least[rows, r])
        rows, added = rows[kept], added[kept]
    return rows, added


def _relief(search: _Search, free: Counts, first: Counts) -> Counts:
    """Return (M, R) what copies not before a class can bring at most.

    They have to share what is left of the sum, where each of them asks for some of it.

    Args:
        free: (M, R), first: (M,) positions of classes.
    """
    brought = search.brought[first]
    if not brought.any():
        return brought
    sums = np.maximum(free[:, :1] + brought[:, :1], 0)
    with np.errstate(invalid="ignore"):  # an infinite rate on nothing: as much as there is
        shared = search.bringing[first] * sums
    return np.where(shared < brought, np.floor(shared + _NOISE), brought).astype(np.int64)


def _bringing(asked: Counts, most: Counts) -> tuple[Counts, Reals]:
    """Return (L, R) what this class and the later ones bring in all, and for a unit of the sum."""
    gifts = np.maximum(-asked, 0)
    total = asked[:, :1]
    rates = np.where(total > 0, gifts / np.maximum(total, 1), np.where(gifts > 0, np.inf, 0.0))
    brought = np.cumsum((gifts * most[:, None])[::-1], axis=0)[::-1]
    return brought, np.maximum.accumulate(rates[::-1], axis=0)[::-1]


def _rates(asked: Counts, earned: Reals) -> Reals:
    """Return (L, P, R) what a unit of a resource earns at most by this class or a later one.

    Who brings the resource along has to earn so much less than nothing; infinite where one of them
    earns more than any rate says.
    """
    rates = np.zeros((*earned.shape, asked.shape[1]))
    for r in range(asked.shape[1]):
        size = asked[:, r, None]
        ratio = earned / np.where(size == 0, 1, size)
        least = np.where(size > 0, ratio, np.where((size == 0) & (earned > 0), np.inf, 0.0))
        most = np.where(size < 0, ratio, np.inf)
        least = np.maximum.accumulate(np.maximum(least, 0.0)[::-1], axis=0)[::-1]
        most = np.minimum.accumulate(most[::-1], axis=0)[::-1]
        rates[:, :, r] = np.where(least <= most + _NOISE * np.abs(least), least, np.inf)
    return rates
