"""From room to copies: puts chosen columns on nodes and gives their room to whoever takes it."""

import numpy as np

from .arrays import Counts
from .bound import Bounds
from .columns import Pool
from .deadline import Deadline
from .exchange import Takers, exchange, handed_out
from .objectives import Placed
from .occupancy import Occupancy
from .slot_master import SlotMaster
from .slots import Slots
from .weighing import weigh

_SECONDS = 20.0
_DIVING = 0.85  # of the time that is left; the rest is for who takes what room
_BEYOND = 0.05  # of the time


def slots(pool: Pool, bounds: Bounds, bound: float, deadline: Deadline) -> Slots | None:
    """Return columns of room for a problem that they suit: any plain nodes, valued copies.

    Devices have room of their own kind, and where nodes have a price, or groups a preference, it
    matters who is where.

    Args:
        bound: of the first objective.
    """
    shape, first = pool.shape, bounds.given.objectives[0]
    if shape.devices.any() or shape.cost.any() or shape.bonus is not None:
        return None
    if not isinstance(first, Placed) or not first.value.any():
        return None
    scale = weigh(bounds.given).scales[0]
    center = np.minimum(shape.value, bounds.prices * scale)
    return Slots(pool, exchange(shape, deadline), center, bound * scale)


def fill_slots(
    state: Occupancy, slots: Slots, nodes: Counts, wanted: Counts, deadline: Deadline
) -> None:
    """Fill empty nodes by a dive for room.

    Args:
        nodes: (M,) empty nodes.
        wanted: (C,) copies that may be placed.
    """
    pool = slots.pool
    if deadline.over:
        return
    types = state.type_of[nodes]
    number = np.bincount(types, minlength=pool.shape.number.size).astype(np.int64)
    chosen = slots.dive(number, wanted, deadline.part(_DIVING))
    if not chosen:
        return
    room = np.zeros_like(wanted)
    for column, times in chosen.items():
        classes, copies = pool.content(column)
        room[classes] += times * copies
    every = np.ones(len(pool), dtype=np.bool_)
    master = SlotMaster(pool, slots.exchange, every)
    # A little beyond the deadline, if need be: without this LP the dive was for nothing.
    seconds = max(min(1.0, _BEYOND * deadline.length), deadline.limit(_SECONDS))
    relaxed = master.relax(np.zeros_like(number), wanted, room, seconds)
    if relaxed is None:
        return
    placed = np.minimum(np.rint(relaxed.placed).astype(np.int64), wanted)
    moved = np.rint(relaxed.moved).astype(np.int64)
    takers = handed_out(slots.exchange, room, placed, moved)
    empty = {int(t): nodes[types == t] for t in np.unique(types)}
    for column in sorted(chosen):
        t = int(pool.types[column])
        classes, copies = pool.content(column)
        mine, empty[t] = empty[t][: chosen[column]], empty[t][chosen[column] :]
        for node in mine.tolist():
            content = _content(state, classes, copies, takers)
            some = np.flatnonzero(content)
            if some.size:
                state.put(np.array([node]), some, content[some])


def _content(state: Occupancy, classes: Counts, copies: Counts, takers: list[Takers]) -> Counts:
    """Return (C,) what a node gets: whoever takes the room, none more often than its limit."""
    content = np.zeros(state.left.size, dtype=np.int64)
    for at in range(classes.size):
        c, left, kept = int(classes[at]), int(copies[at]), Takers()
        while left and takers[c]:
            taker, there = takers[c].pop()
            some = min(left, there, int(state.shape.limit[taker] - content[taker]))
            content[taker] += some
            left -= some
            if there > some:
                kept.append((taker, there - some))
        takers[c] += kept
    return content
