"""Greedy on single nodes, class after class, all copies at once: first plans and last ones."""

import numpy as np

from .arrays import Counts, Reals
from .deadline import Deadline
from .occupancy import Occupancy
from .rules import Gang
from .shapes import Shapes

KINDS = ("align", "first", "best")
_DEVICE = 8000.0  # thousandths of a large node, so that device sums are of the size of other shares
_KEEP_OFF = 100.0
_OPEN = 1e6
_PARTS = 32  # of a class's copies, between which is looked where they prefer to be now


def scores(state: Occupancy, c: int, kind: str) -> Reals:
    """Score nodes for a class, least first.

    "first": as they come, by type. "best": least left. "align": where what is left looks like what
    is asked. Empty nodes come by their price; classes without devices keep off free devices.
    """
    shape = state.shape
    if kind == "first":
        score = state.type_of.astype(np.float64)
    else:
        top = np.maximum(shape.capacity.max(axis=0), 1).astype(np.float64)
        free = state.free / top[:, None]
        devices = state.devices.sum(axis=1) / _DEVICE
        if kind == "align":
            asked = shape.demand[c] / top
            device = float(shape.share[c] * shape.units[c]) / _DEVICE
            size = np.sqrt((free * free).sum(axis=0) + devices * devices) + 1e-9
            score = -(asked @ free + device * devices) / size
        else:
            score = free.sum(axis=0) + devices
    if state.devices.shape[1] and not shape.units[c]:
        score = score + _KEEP_OFF * state.devices.sum(axis=1) / _DEVICE
    if shape.bonus is not None:
        score = score - _KEEP_OFF * shape.bonus[state.type_of, c]
    if c in shape.likes.of:
        score = score - _KEEP_OFF * shape.likes.gains(c, state.content)
    if shape.cost.any():
        score = score + np.where(state.used, 0.0, _OPEN * shape.cost[state.type_of])
    return score


def fill_up(state: Occupancy, order: Counts, kind: str, deadline: Deadline) -> None:
    """Place classes in order, each where its score says."""
    for c in order.tolist():
        if deadline.over:
            return
        gang = state.rules.gang_of.get(c)
        if gang is not None:
            _place_gang(state, gang, kind)
        elif state.left[c] > 0:
            _place(state, c, kind, int(state.left[c]))


def _place(state: Occupancy, c: int, kind: str, wanted: int) -> int:
    """Place copies of a class, a part at a time if they mean something to each other."""
    part = -(-wanted // _PARTS) if c in state.shape.likes.of else wanted
    placed = 0
    while placed < wanted:
        some = state.place(c, scores(state, c, kind), min(part, wanted - placed))
        if not some:
            break
        placed += some
    return placed


def _place_gang(state: Occupancy, gang: Gang, kind: str) -> None:
    """Place all copies of a gang, or leave it as it is."""
    classes = [c for c in gang.classes if state.left[c] > 0]
    if not classes:
        return
    before = state.copy()
    for c in classes:
        wanted = int(state.left[c])
        if _place(state, c, kind, wanted) < wanted:
            state.become(before)
            return


def orders(shape: Shapes) -> list[Counts]:
    """Return ways to order classes: worth most for their size first, large first, scarce first."""
    top = np.maximum(shape.capacity.max(axis=0, initial=1), 1).astype(np.float64)
    device = (shape.share * shape.units)[:, None] / _DEVICE
    sizes = np.append(shape.demand / top, device, axis=1)
    worth = shape.value > 0
    largest, total = sizes.max(axis=1), sizes.sum(axis=1)
    places = (shape.fit > 0).T @ shape.number
    gain = shape.value / (total + 1e-9)
    return [
        np.lexsort((-total, -gain.round(3))),
        np.lexsort((-total, ~worth)),
        np.lexsort((-largest, ~worth)),
        np.lexsort((-total, places, ~worth)),
    ]
