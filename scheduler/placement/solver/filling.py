"""Filling many nodes at once, each in an order of classes of its own."""

import numpy as np

from .arrays import Counts, Mask
from .columns import quotient, shares, take
from .problem import MANY
from .shapes import Shapes

_TOGETHER = 8192  # (node, place) pairs that are looked at at once, within bounds
_LEAST, _MOST = 8, 64  # places


def fill(shape: Shapes, types: Counts, order: Counts, left: Counts) -> Counts:
    """Fill a node for each row of `types`, taking classes in that row's order, all that fit.

    Args:
        types: (B,) types of nodes.
        order: (B, L) classes, -1 for none.
        left: (C,) copies still wanted.

    Returns:
        (B, C) int64 contents.
    """
    filling = _Filling(shape, types, left)
    width = min(max(_TOGETHER // max(types.size, 1), _LEAST), _MOST)
    for first in range(0, order.shape[1], width):
        filling.go_on(order[:, first : first + width])
    return filling.content


class _Filling:
    """B nodes being filled; `barred` (B, C) says who must not join what a node holds."""

    def __init__(self, shape: Shapes, types: Counts, left: Counts) -> None:
        self.shape = shape
        self.types = types
        self.most = np.minimum(shape.fit, left)
        self.free, self.devices = shape.capacity[types], shape.devices[types]
        self.content = np.zeros((types.size, left.size), dtype=np.int64)
        self.barred: Mask | None = None
        if shape.apart is not None:
            self.barred = np.zeros(self.content.shape, dtype=np.bool_)

    def go_on(self, order: Counts) -> None:
        """Take what fits of the next places (B, W) of the orders.

        In steps of one class taken by each row, instead of one class looked at. Who brings capacity
        along may so let one of these places fit that did not before.
        """
        rows, chosen = np.arange(self.types.size), np.maximum(order, 0)
        most = np.where(order >= 0, self.most[self.types[:, None], chosen], 0)
        if self.barred is not None:
            most[self.barred[rows[:, None], chosen]] = 0
        asked = self.shape.demand.T[:, chosen]
        while rows.size:
            fits = most > 0
            for each, free in zip(asked, self.free[rows].T, strict=True):
                fits &= each <= free[:, None]
            some: Mask = np.any(fits, axis=1)
            if not some.all():
                rows, chosen, most, fits = rows[some], chosen[some], most[some], fits[some]
                asked = asked[:, some]
            if rows.size:
                self._take(rows, chosen, most, fits.argmax(axis=1))

    def _take(self, rows: Counts, chosen: Counts, most: Counts, at: Counts) -> None:
        """Take as many copies as fit of the class at one place (M,) of each row's places (M, W)."""
        every = np.arange(at.size)
        classes = chosen[every, at]
        asked, free = self.shape.demand[classes], self.free[rows]
        each = np.where(asked > 0, quotient(free, np.maximum(asked, 1)), MANY)
        copies = np.minimum(most[every, at], each.min(axis=1, initial=MANY))
        on = np.flatnonzero(self.shape.units[classes])
        if on.size:
            copies[on] = self._take_devices(rows[on], classes[on], copies[on])
        most[every, at] = 0
        self.content[rows, classes] += copies
        self.free[rows] = free - copies[:, None] * asked
        if self.barred is not None and self.shape.apart is not None:
            held = np.flatnonzero(copies)
            self.barred[rows[held]] |= self.shape.apart[classes[held]]
            most[self.barred[rows[:, None], chosen]] = 0

    def _take_devices(self, rows: Counts, classes: Counts, copies: Counts) -> Counts:
        """Take shares of devices, the fullest first, for as many of `copies` as there are."""
        share, units = self.shape.share[classes], self.shape.units[classes]
        devices = self.devices[rows]
        there = shares(devices, share, units)
        copies = np.minimum(copies, there.sum(axis=1) // units)
        self.devices[rows] = take(devices, share, there, copies * units)
        return copies
