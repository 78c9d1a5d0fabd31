"""All contents of a node that a better plan could use, judged by every proof at hand.

A proof gives copies prices and nodes rents so that no content earns more than its node costs. In a
plan that costs at most `target`, what the contents fall short of that adds up to no more than
target - bound, so a content that falls short by more is in no such plan (reduced-cost fixing).
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Mask, Reals
from .deadline import Deadline
from .devices import assign
from .shapes import Shapes

_MOST = 30_000  # contents: more than an integer programme can choose from
_CHUNK = 1_000_000  # (content, class) pairs looked at together
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
        rates, richest: (P,) what a unit of which resource can still earn at most.
    """

    classes: Counts
    asked: Counts
    most: Counts
    earned: Reals
    enough: Reals
    least: Counts
    rates: Reals
    richest: Counts


def enumerate_contents(
    shape: Shapes,
    node_type: int,
    cost: float,
    proofs: list[Proof],
    slack: Reals,
    deadline: Deadline,
) -> list[Counts] | None:
    """Return all contents (C,) within the slack of every proof, None if there are too many.

    Classes that bring along capacity come first, so that contents only lose room as they grow.

    Args:
        cost: of a node of the type, in the proofs' units.
        slack: (P,) target less bound of each proof, ≥ 0.
    """
    if shape.apart is not None:
        return None
    classes = np.flatnonzero(shape.fit[node_type])
    size = shape.demand[classes] / np.maximum(shape.capacity[node_type], 1)
    giving = np.any(shape.demand[classes] < 0, axis=1)
    classes = classes[np.lexsort((-size.max(axis=1, initial=0.0), ~giving))]
    capacity, asked = shape.capacity[node_type], shape.demand[classes]
    earned = np.stack([proof.prices[classes] for proof in proofs], axis=1)
    rates, richest = _rates(asked, earned, capacity)
    search = _Search(
        classes=classes,
        asked=asked,
        most=shape.fit[node_type, classes],
        earned=earned,
        enough=np.array([cost + p.rents[node_type] for p in proofs]) - slack - _NOISE,
        least=np.minimum.accumulate(asked[::-1], axis=0)[::-1],
        rates=rates,
        richest=richest,
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


def _grow(search: _Search, capacity: Counts, deadline: Deadline) -> list[Counts] | None:
    """Add one copy at a time, never a class before the last one; return positions of copies."""
    length = search.classes.size
    step = max(1, _CHUNK // max(length, 1))
    chosen = np.zeros((1, 0), dtype=np.int64)
    stack = [(chosen, capacity[None], np.zeros((1, search.enough.size)))]
    found: list[Counts] = []
    work = 0
    while stack:
        chosen, free, earned = stack.pop()
        if len(chosen) > step:
            stack.append((chosen[step:], free[step:], earned[step:]))
            chosen, free, earned = chosen[:step], free[:step], earned[:step]
        work += len(chosen) * length
        if deadline.over or work > _WORK or len(found) > _MOST:
            return None
        done, hope = _extensions(search, chosen, free, earned)
        rows, added = np.nonzero(done)
        complete: Counts = np.concatenate([chosen[rows], added[:, None]], axis=1)
        found.extend(complete)
        rows, added = np.nonzero(hope)
        if rows.size:
            more = np.concatenate([chosen[rows], added[:, None]], axis=1)
            gained = earned[rows] + search.earned[added]
            stack.append((more, free[rows] - search.asked[added], gained))
    return found


def _extensions(search: _Search, chosen: Counts, free: Counts, earned: Reals) -> tuple[Mask, Mask]:
    """Return (M, L) which next copy completes a content, and which leaves hope for more."""
    fits: Mask = np.ones((len(chosen), search.classes.size), dtype=np.bool_)
    if chosen.shape[1]:
        last = chosen[:, -1]
        fits = np.arange(search.classes.size)[None] >= last[:, None]
        again = (chosen == last[:, None]).sum(axis=1) >= search.most[last]
        fits[np.flatnonzero(again), last[again]] = False
    hope = fits.copy()
    for r in range(free.shape[1]):
        fits &= search.asked[None, :, r] <= free[:, r, None]
        hope &= search.asked[None, :, r] + search.least[None, :, r] <= free[:, r, None]
    hope &= fits
    for p in range(search.enough.size):
        gained = earned[:, p, None] + search.earned[None, :, p]
        fits &= gained >= search.enough[p]
        if np.isfinite(search.rates[p]):
            r = int(search.richest[p])
            left = free[:, r, None] - search.asked[None, :, r]
            hope &= gained + search.rates[p] * left >= search.enough[p]
    return fits, hope


def _rates(asked: Counts, earned: Reals, capacity: Counts) -> tuple[Reals, Counts]:
    """Return by proof what a unit of one resource can still earn at most, and which resource.

    A rate holds for a resource if every class asks, at the rate, for as much as it earns. The
    resource that promises least for an empty node is taken; the rate is infinite if there is none.
    """
    rates = np.full(earned.shape[1], np.inf)
    richest = np.zeros(earned.shape[1], dtype=np.int64)
    for p in range(earned.shape[1]):
        promised = np.inf
        for r in range(capacity.size):
            takes, brings = asked[:, r] > 0, asked[:, r] < 0
            least = float((earned[takes, p] / asked[takes, r]).max(initial=0.0))
            most = float((earned[brings, p] / asked[brings, r]).min(initial=np.inf))
            idle = (asked[:, r] == 0) & (earned[:, p] > 0)
            if least <= most and not idle.any() and least * capacity[r] < promised:
                promised, rates[p], richest[p] = least * float(capacity[r]), least, r
    return rates, richest
