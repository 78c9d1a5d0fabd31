"""Columns: distinct contents of one node of a type, and orders of classes by their prices."""

import numpy as np

from .arrays import Counts, Reals
from .shapes import Shapes

_NOISE = 0.6  # of the logarithm of a density, in the last variant


class Pool:
    """Contents known so far, without doubles.

    Column j is what a node of type `types[j]` holds.
    """

    def __init__(self, shape: Shapes) -> None:
        self.shape = shape
        self._known: dict[tuple[int, bytes], int] = {}
        self._types: list[int] = []
        self._classes: list[Counts] = []
        self._copies: list[Counts] = []
        empty = np.zeros(0, dtype=np.int64)
        self._entries = (empty, empty, empty)
        self._listed = 0

    def __len__(self) -> int:
        return len(self._types)

    def add(self, node_type: int, content: Counts) -> bool:
        """Add the content (C,) of a node of a type; False if it is empty or known."""
        before = len(self)
        return bool(content.any()) and self.index(node_type, content) == before

    def index(self, node_type: int, content: Counts) -> int:
        """Return the column of a content that is not empty, added if it is new."""
        classes = np.flatnonzero(content)
        copies = content[classes].astype(np.int64)
        key = (node_type, classes.tobytes() + copies.tobytes())
        column = self._known.setdefault(key, len(self._types))
        if column == len(self._types):
            self._types.append(node_type)
            self._classes.append(classes)
            self._copies.append(copies)
        return column

    @property
    def types(self) -> Counts:
        """(J,) the types of nodes."""
        return np.array(self._types, dtype=np.int64)

    def content(self, column: int) -> tuple[Counts, Counts]:
        """Return (classes, copies) of a column."""
        return self._classes[column], self._copies[column]

    def entries(self) -> tuple[Counts, Counts, Counts]:
        """Return (column, class, copies) of all columns, column after column."""
        fresh, first = self._classes[self._listed :], self._listed
        if fresh:
            sizes = np.array([classes.size for classes in fresh], dtype=np.int64)
            columns, classes, copies = self._entries
            self._entries = (
                np.concatenate([columns, np.repeat(np.arange(sizes.size) + first, sizes)]),
                np.concatenate([classes, *fresh]),
                np.concatenate([copies, *self._copies[first:]]),
            )
            self._listed = len(self)
        return self._entries


def quotient(dividend: Counts, divisor: Counts) -> Counts:
    """Return how often the divisors ≥ 1 go into counts ≥ 0, both below 2**53, where it is exact.

    Several times faster than a division of integers.
    """
    return np.floor(dividend / divisor).astype(np.int64)


def shares(devices: Counts, share: Counts, units: Counts) -> Counts:
    """Return (B, G) how many units devices (B, G) hold, at most one of who asks for several.

    Args:
        share: (B,) ≥ 1 of a device, units: (B,) ≥ 1.
    """
    each = quotient(devices, share[:, None])
    return np.where((units > 1)[:, None], np.minimum(each, 1), each)


def take(devices: Counts, share: Counts, there: Counts, wanted: Counts) -> Counts:
    """Return devices (B, G), ascending, after `wanted` (B,) units took shares, fullest first.

    Args:
        there: (B, G) units that each device holds, as of `shares`.
    """
    before = np.cumsum(there, axis=1) - there
    taken = np.minimum(np.maximum(wanted[:, None] - before, 0), there)
    return np.sort(devices - taken * share[:, None], axis=1)


def density_orders(
    shape: Shapes, types: Counts, prices: Reals, weights: Reals, random: np.random.Generator
) -> Counts:
    """Return classes by price for what they take, best first: (V · B, L), -1 where worthless.

    Args:
        types: (B,) types of nodes.
        prices: (B, C) what a copy pays.
        weights: (V, R + 1) how much each resource counts, devices last.
    """
    capacity = np.maximum(shape.capacity[types].astype(np.float64), 1.0)
    relative = shape.demand[None].astype(np.float64) / capacity[:, None]
    there = np.maximum(shape.devices[types].sum(axis=1), 1).astype(np.float64)
    devices = (shape.share * shape.units)[None] / there[:, None]
    relative = np.concatenate([relative, devices[:, :, None]], axis=2)
    taken = np.einsum("vr,bcr->vbc", weights, relative) + 1e-9
    useful = (shape.fit[types] > 0) & (prices > 1e-12)
    noise = np.linspace(0.0, _NOISE, len(weights), dtype=np.float64)[:, None, None]
    taken = taken * np.exp(noise * random.standard_normal(taken.shape))
    density = np.where(useful[None], prices[None] / taken, -1.0).reshape(-1, prices.shape[1])
    order = np.argsort(-density, axis=1, kind="stable")
    most = int((density > 0).sum(axis=1).max(initial=0))
    order = order[:, :most]
    return np.where(np.take_along_axis(density, order, axis=1) > 0, order, -1)
