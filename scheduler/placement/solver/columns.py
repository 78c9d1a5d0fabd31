"""Columns: distinct contents of one node of a type, and filling many nodes at once by prices."""

import numpy as np

from .arrays import Counts, Reals
from .problem import MANY
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


def take(devices: Counts, share: Counts, copies: Counts, units: Counts) -> Counts:
    """Return devices (B, G), ascending, after copies (B,) took units, fullest device first."""
    each = devices // np.maximum(share, 1)[:, None]
    each = np.where((units > 1)[:, None], np.minimum(each, 1), each)
    each[share == 0] = 0
    wanted = (copies * units)[:, None]
    before = np.cumsum(each, axis=1) - each
    taken = np.clip(wanted - before, 0, each)
    return np.sort(devices - taken * share[:, None], axis=1)


def fill(shape: Shapes, types: Counts, order: Counts, left: Counts) -> Counts:
    """Fill a node for each row of `types`, taking classes in that row's order, all that fit.

    Args:
        types: (B,) types of nodes.
        order: (B, L) classes, -1 for none.
        left: (C,) copies still wanted.

    Returns:
        (B, C) int64 contents.
    """
    rows = np.arange(types.size)
    free, devices = shape.capacity[types].copy(), shape.devices[types].copy()
    content = np.zeros((types.size, left.size), dtype=np.int64)
    most = np.minimum(shape.fit, left)
    asked_of = np.maximum(shape.demand, 1)
    never = shape.demand == 0
    for step in range(order.shape[1]):
        chosen = order[:, step]
        active = chosen >= 0
        chosen = np.where(active, chosen, 0)
        fits = np.where(active, most[types, chosen], 0)
        each = np.where(never[chosen], MANY, free // asked_of[chosen])
        fits = np.minimum(fits, each.min(axis=1, initial=MANY))
        if shape.apart is not None:
            met = (shape.apart[chosen] & (content > 0)).any(axis=1)
            fits[met] = 0
        units = shape.units[chosen]
        some = np.flatnonzero((units > 0) & (fits > 0))
        if some.size:
            fits[some] = _on_devices(devices, some, shape.share[chosen[some]], units[some], fits)
        content[rows, chosen] += fits
        free -= fits[:, None] * shape.demand[chosen]
    return content


def _on_devices(
    devices: Counts, some: Counts, share: Counts, units: Counts, fits: Counts
) -> Counts:
    """Take devices for as many of `fits` copies as there are; return how many."""
    each = devices[some] // share[:, None]
    each = np.where((units > 1)[:, None], np.minimum(each, 1), each)
    copies = np.minimum(fits[some], each.sum(axis=1) // units)
    devices[some] = take(devices[some], share, copies, units)
    return copies


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
