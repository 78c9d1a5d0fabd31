"""Room for a copy of one class that a copy of another may take: which, and who then goes where.

A copy that asks for no more than another fits wherever that one does, so what a content holds is
room, not who is in it. In the master that keeps prices in the order of sizes and lets few contents
serve many classes (dual inequalities: Valério de Carvalho 2005; Ben Amor, Desrosiers and Valério de
Carvalho 2006).
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Counts, Mask, Reals
from .deadline import Deadline
from .shapes import Shapes

_NEAREST = 3  # larger classes whose room a class may take; further ones are reached through these
_LOOKED_AT = 24
_WORTH = 1e-9

Takers = list[tuple[int, int]]  # (class, copies)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Room for a copy of `larger[e]` may be given to one of `smaller[e]`: (E,) each.

    A smaller class never comes before a larger one in `order`, (C,) classes.
    """

    larger: Counts
    smaller: Counts
    order: Counts
    kinds: "Kinds"


@dataclass(frozen=True, slots=True)
class Kinds:
    """Where classes may run.

    Args:
        of: (C,) codes, within: (K, K) bool, whether all nodes of the first are nodes of the second.
        size: (C,) what a copy asks for, in shares of the largest node.
    """

    of: Counts
    within: Mask
    size: Reals


def exchange(shape: Shapes, deadline: Deadline) -> Exchange:
    """Return for every class the nearest larger ones that fit nowhere else.

    Once time is over, for no further classes: they keep to their own room.
    """
    kinds = _kinds(shape)
    order = np.argsort(-kinds.size, kind="stable")
    apart = np.zeros(order.size, dtype=np.bool_)
    if shape.apart is not None:
        apart = np.any(shape.apart, axis=1)
    pairs: list[Counts] = []
    for at, c in enumerate(order.tolist()):
        if deadline.over:
            break
        if apart[c]:
            continue
        before = order[:at]
        larger = before[_covers(shape, before, c) & kinds.within[kinds.of[before], kinds.of[c]]]
        kept: list[int] = []
        for other in larger[::-1][:_LOOKED_AT].tolist():  # the smallest first
            if len(kept) == _NEAREST:
                break
            if not any((shape.demand[other] >= shape.demand[k]).all() for k in kept):
                kept.append(other)
        pairs.append(np.array([[other, c] for other in kept], dtype=np.int64).reshape(-1, 2))
    found = np.concatenate([np.zeros((0, 2), dtype=np.int64), *pairs])
    return Exchange(found[:, 0], found[:, 1], order, kinds)


def core(shape: Shapes, kinds: Kinds, prices: Reals) -> Counts:
    """Return the classes that pay more than every class that asks for no more."""
    some = np.flatnonzero(np.any(shape.fit > 0, axis=0) & (prices > _WORTH))
    some = some[np.lexsort((kinds.size[some], -prices[some]))]
    kept: list[int] = []
    while some.size:
        c = int(some[0])
        kept.append(c)
        above = _covers(shape, some, c) & kinds.within[kinds.of[some], kinds.of[c]]
        above[0] = True
        some = some[~above]
    return np.array(kept, dtype=np.int64)


def _kinds(shape: Shapes) -> Kinds:
    top = np.maximum(shape.capacity.max(axis=0, initial=1), 1)
    size = (shape.demand / top).sum(axis=1) + shape.share * shape.units
    patterns, kind = np.unique(shape.fit > 0, axis=1, return_inverse=True)
    within = np.array([~np.any(one[:, None] & ~patterns, axis=0) for one in patterns.T])
    return Kinds(kind.reshape(-1), within, size)


def _covers(shape: Shapes, larger: Counts, c: int) -> Mask:
    """Return (M,) which classes ask for at least what a class asks for."""
    found = np.all(shape.demand[larger] >= shape.demand[c], axis=1)
    if shape.units[c]:
        found &= (shape.units[larger] == shape.units[c]) & (shape.share[larger] >= shape.share[c])
    return found


def handed_out(given: Exchange, room: Counts, placed: Counts, moved: Counts) -> list[Takers]:
    """Say who gets the room of each class.

    Args:
        room: (C,) copies that there is room for.
        placed: (C,) copies to place.
        moved: (E,) room that goes to the smaller class.
    """
    out: list[list[int]] = [[] for _ in range(room.size)]
    for e in np.flatnonzero(moved).tolist():
        out[int(given.larger[e])].append(e)
    held: list[Takers] = [[(c, many)] if many else [] for c, many in enumerate(room.tolist())]
    answer: list[Takers] = [[] for _ in range(room.size)]
    for at in range(given.order.size):
        c = int(given.order[at])
        for origin, many in _taken(held[c], int(placed[c])):
            answer[origin].append((c, many))
        for e in out[c]:
            held[int(given.smaller[e])] += _taken(held[c], int(moved[e]))
    return answer


def _taken(held: Takers, wanted: int) -> Takers:
    """Take copies off what is held."""
    taken: Takers = []
    while wanted and held:
        origin, many = held.pop()
        some = min(many, wanted)
        taken.append((origin, some))
        wanted -= some
        if many > some:
            held.append((origin, many - some))
    return taken
