"""Greedy on single nodes: class after class, all copies at once; makes first plans and last ones."""

import numpy as np

from .columns import take
from .devices import assign
from .problem import Shapes, room
from .result import Counts, Reals


class Floor:
    """What is on every node and what is left of it.

    Args:
        free: (N, R), devices: (N, G) ascending, content: (N, C), left: (C,) copies without a node.
    """

    def __init__(self, shape: Shapes) -> None:
        self.shape = shape
        nodes = int(shape.number.sum())
        self.type_of = np.zeros(nodes, dtype=np.int64)
        for t, rows in enumerate(shape.nodes):
            self.type_of[rows] = t
        self.free = shape.capacity[self.type_of].copy()
        self.devices = shape.devices[self.type_of].copy()
        self.content = np.zeros((nodes, len(shape.count)), dtype=np.int32)
        self.left = shape.count.copy()

    @property
    def value(self) -> float:
        """What is placed is worth."""
        return float(self.shape.value @ (self.shape.count - self.left))

    def put(self, nodes: Counts, classes: Counts, copies: Counts) -> bool:
        """Give each of the empty nodes of one type the same content; False if it does not fit."""
        shape = self.shape
        content = np.zeros(len(shape.count), dtype=np.int64)
        content[classes] = copies
        devices = shape.devices[self.type_of[nodes[0]]].copy()
        if devices.size:
            placed = assign(shape, devices, content)
            if placed is None:
                return False
            for c, device in placed:
                devices[device] -= shape.share[c]
        self.content[np.ix_(nodes, classes)] = copies
        self.free[nodes] -= copies @ shape.demand[classes]
        self.devices[nodes] = np.sort(devices)
        self.left[classes] -= copies * nodes.size
        return True

    def clear(self, nodes: Counts) -> None:
        """Take everything off nodes."""
        self.left += self.content[nodes].sum(axis=0)
        self.content[nodes] = 0
        self.free[nodes] = self.shape.capacity[self.type_of[nodes]]
        self.devices[nodes] = self.shape.devices[self.type_of[nodes]]

    def room(self, c: int) -> tuple[Counts, Counts]:
        """Return the nodes where copies of a class fit, and how many."""
        shape = self.shape
        nodes = np.flatnonzero((shape.fit[:, c] > 0)[self.type_of])
        some = np.all(self.free[nodes] >= shape.demand[c], axis=1)
        nodes = nodes[some]
        only = np.array([c])
        fits = room(shape, self.free[nodes], self.devices[nodes], only)[:, 0]
        fits = np.minimum(fits, shape.limit[c] - self.content[nodes, c])
        return nodes[fits > 0], fits[fits > 0]

    def place(self, c: int, score: Reals, most: int = 1 << 40) -> int:
        """Place copies of a class on the nodes of least score first; score: (N,)."""
        wanted = min(int(self.left[c]), most)
        if wanted <= 0:
            return 0
        nodes, fits = self.room(c)
        order = np.argsort(score[nodes], kind="stable")
        nodes, fits = nodes[order], fits[order]
        before = np.cumsum(fits) - fits
        copies = np.clip(wanted - before, 0, fits)
        used = np.flatnonzero(copies)
        nodes, copies = nodes[used], copies[used]
        shape = self.shape
        self.content[nodes, c] += copies.astype(np.int32)
        self.free[nodes] -= copies[:, None] * shape.demand[c]
        if shape.units[c]:
            same = np.full(nodes.size, shape.share[c])
            units = np.full(nodes.size, shape.units[c])
            self.devices[nodes] = take(self.devices[nodes], same, copies, units)
        placed = int(copies.sum())
        self.left[c] -= placed
        return placed


def slack(floor: Floor, c: int, kind: str) -> Reals:
    """Score nodes for a class, least first.

    "first": as they come, cheapest and smallest type first. "best": least left. "align": where what
    is left looks like what is asked. Classes without devices keep off nodes that have free ones.
    """
    shape = floor.shape
    top = np.maximum(shape.capacity.max(axis=0), 1).astype(np.float64)
    free = floor.free / top
    if floor.devices.shape[1]:
        free = np.concatenate([free, floor.devices.sum(axis=1)[:, None] / 8000.0], axis=1)
    empty = (floor.content.sum(axis=1) == 0) * shape.cost[floor.type_of]
    if kind == "first":
        score = floor.type_of.astype(np.float64)
    elif kind == "align":
        asked = np.append(shape.demand[c] / top, [shape.share[c] * shape.units[c] / 8000.0])
        asked = asked[: free.shape[1]]
        score = -(free @ asked) / (np.linalg.norm(free, axis=1) + 1e-9)
    else:
        score = free.sum(axis=1)
    if floor.devices.shape[1] and not shape.units[c]:
        score = score + 100.0 * floor.devices.sum(axis=1) / 8000.0
    return score + 1e6 * empty


def greedy(floor: Floor, order: Counts, kind: str) -> None:
    """Place classes in order, each where its score says."""
    for c in order.tolist():
        if floor.left[c] > 0:
            floor.place(c, slack(floor, c, kind))


def orders(shape: Shapes) -> list[Counts]:
    """Return ways to order classes: large first, scarce first, worth most first."""
    top = np.maximum(shape.capacity.max(axis=0), 1).astype(np.float64)
    sizes = np.append(
        shape.demand / top, (shape.share * shape.units)[:, None] / 8000.0, axis=1
    )
    worth = shape.value > 0
    largest, total = sizes.max(axis=1), sizes.sum(axis=1)
    places = (shape.fit > 0).T @ shape.number
    gain = shape.value / (total + 1e-9)
    return [
        np.lexsort((-total, ~worth)),
        np.lexsort((-largest, ~worth)),
        np.lexsort((-total, places, ~worth)),
        np.lexsort((-total, -gain.round(3))),
    ]
