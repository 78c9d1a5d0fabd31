"""Columns: distinct contents of one node of a type, and filling many nodes at once by prices."""

import numpy as np

from .problem import Shapes
from .result import Counts, Reals


class Pool:
    """Contents known so far, without doubles.

    Column j is a node of type `types[j]`; its classes and copies are entries start[j] … start[j+1].
    """

    def __init__(self, shape: Shapes) -> None:
        self.shape = shape
        self._known: set[tuple[int, bytes]] = set()
        self._types: list[int] = []
        self._classes: list[Counts] = []
        self._copies: list[Counts] = []

    def __len__(self) -> int:
        return len(self._types)

    def add(self, node_type: int, content: Counts) -> bool:
        """Add the content (C,) of a node of a type; False if it is empty or known."""
        content = np.asarray(content, dtype=np.int64)
        classes = np.flatnonzero(content)
        copies = content[classes]
        key = (node_type, np.concatenate([classes, copies]).tobytes())
        if not classes.size or key in self._known:
            return False
        self._known.add(key)
        self._types.append(node_type)
        self._classes.append(classes)
        self._copies.append(copies)
        return True

    @property
    def types(self) -> Counts:
        """(J,) the types of nodes."""
        return np.array(self._types, dtype=np.int64)

    def content(self, column: int) -> tuple[Counts, Counts]:
        """Return (classes, copies) of a column."""
        return self._classes[column], self._copies[column]

    def entries(self) -> tuple[Counts, Counts, Counts]:
        """Return (column, class, copies) of all columns, column after column."""
        sizes = np.array([classes.size for classes in self._classes], dtype=np.int64)
        columns = np.repeat(np.arange(sizes.size), sizes)
        if not sizes.size:
            return columns, columns, columns
        return columns, np.concatenate(self._classes), np.concatenate(self._copies)

    def keep(self, some: Counts) -> None:
        """Forget all columns but some."""
        chosen = some.tolist()
        self._types = [self._types[j] for j in chosen]
        self._classes = [self._classes[j] for j in chosen]
        self._copies = [self._copies[j] for j in chosen]


def take(devices: Counts, share: Counts, copies: Counts, units: Counts) -> Counts:
    """Return devices (B, G), ascending, after copies (B,) took their units, fullest device first."""
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
    for step in range(order.shape[1]):
        chosen = order[:, step]
        active = chosen >= 0
        if not active.any():
            break
        chosen = np.maximum(chosen, 0)
        asked = shape.demand[chosen]
        fits = np.where(active, np.minimum(shape.fit[types, chosen], left[chosen]), 0)
        fits = np.minimum(fits, np.where(asked > 0, free // np.maximum(asked, 1), 1 << 40).min(1))
        units = shape.units[chosen]
        some = np.flatnonzero((units > 0) & (fits > 0))
        if some.size:
            share, unit = shape.share[chosen[some]], units[some]
            each = devices[some] // share[:, None]
            each = np.where((unit > 1)[:, None], np.minimum(each, 1), each)
            fits[some] = np.minimum(fits[some], each.sum(axis=1) // unit)
            devices[some] = take(devices[some], share, fits[some], unit)
        content[rows, chosen] += fits
        free -= fits[:, None] * asked
    return content


def density_orders(shape: Shapes, types: Counts, prices: Reals, weights: Reals) -> Counts:
    """Return classes by price for what they take, best first: (V · B, C), -1 where worthless.

    Args:
        types: (B,) types of nodes.
        prices: (C,) what a copy pays.
        weights: (V, R + 1) how much each resource counts, devices last.
    """
    capacity = np.maximum(shape.capacity[types].astype(np.float64), 1.0)
    relative = shape.demand[None].astype(np.float64) / capacity[:, None]
    there = np.maximum(shape.devices[types].sum(axis=1), 1).astype(np.float64)
    devices = (shape.share * shape.units)[None] / there[:, None]
    relative = np.concatenate([relative, devices[:, :, None]], axis=2)
    taken = np.einsum("vr,bcr->vbc", weights, relative) + 1e-9
    useful = (shape.fit[types] > 0) & (prices > 1e-12)
    density = np.where(useful[None], prices / taken, -1.0).reshape(-1, prices.size)
    order = np.argsort(-density, axis=1, kind="stable")
    most = int((density > 0).sum(axis=1).max(initial=0))
    order = order[:, :most]
    return np.where(np.take_along_axis(density, order, axis=1) > 0, order, -1)
