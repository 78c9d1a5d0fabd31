"""What is on every single node and what is left of it; always whole and within capacity."""

import numpy as np

from .arrays import Counts, Mask, Reals
from .columns import take
from .devices import assign
from .problem import MANY
from .shapes import Shapes, room


class Occupancy:
    """N nodes and what they hold.

    Args:
        free: (R, N), devices: (N, G) ascending, content: (C, N), left: (C,) copies without a node.
    """

    def __init__(self, shape: Shapes) -> None:
        self.shape = shape
        self.type_of = shape.type_of
        self.free = shape.capacity[self.type_of].T.copy()
        self.devices = shape.devices[self.type_of].copy()
        self.content = np.zeros((shape.count.size, self.type_of.size), dtype=np.int32)
        self.left = shape.count.copy()

    def copy(self) -> "Occupancy":
        """Return an independent copy."""
        twin = Occupancy.__new__(Occupancy)
        twin.shape, twin.type_of = self.shape, self.type_of
        twin.free, twin.devices = self.free.copy(), self.devices.copy()
        twin.content, twin.left = self.content.copy(), self.left.copy()
        return twin

    @property
    def weighed(self) -> float:
        """The weighed value of what is placed, costs of nodes deducted."""
        shape = self.shape
        value = float(shape.value @ (shape.count - self.left))
        if shape.cost.any():
            value -= float(shape.cost[self.type_of] @ self.used)
        if shape.bonus is not None:
            value += float((shape.bonus[self.type_of].T * self.content).sum())
        return value

    @property
    def used(self) -> Mask:
        """(N,) which nodes hold anything."""
        return np.any(self.content, axis=0)

    def put(self, nodes: Counts, classes: Counts, copies: Counts) -> bool:
        """Give each of the empty nodes of one type the same content; False if it does not fit."""
        shape = self.shape
        devices = shape.devices[self.type_of[nodes[0]]].copy()
        if devices.size and shape.units[classes].any():
            content = np.zeros(shape.count.size, dtype=np.int64)
            content[classes] = copies
            placed = assign(shape, devices, content)
            if placed is None:
                return False
            for c, device in placed:
                devices[device] -= shape.share[c]
        self.content[np.ix_(classes, nodes)] = copies[:, None]
        self.free[:, nodes] -= (copies @ shape.demand[classes])[:, None]
        self.devices[nodes] = np.sort(devices)
        self.left[classes] -= copies * nodes.size
        return True

    def clear(self, nodes: Counts) -> None:
        """Take everything off nodes."""
        self.left += self.content[:, nodes].sum(axis=1)
        self.content[:, nodes] = 0
        self.free[:, nodes] = self.shape.capacity[self.type_of[nodes]].T
        self.devices[nodes] = self.shape.devices[self.type_of[nodes]]

    def room(self, c: int) -> tuple[Counts, Counts]:
        """Return the nodes where copies of a class fit, and how many."""
        shape = self.shape
        fits = (shape.fit[:, c] > 0)[self.type_of]
        for r in np.flatnonzero(shape.demand[c]):
            fits &= self.free[r] >= shape.demand[c, r]
        if shape.apart is not None:
            for other in np.flatnonzero(shape.apart[c]):
                fits &= self.content[other] == 0
        nodes = np.flatnonzero(fits)
        free, devices = self.free[:, nodes].T, self.devices[nodes]
        most = room(shape, free, devices, np.array([c]))[:, 0]
        if shape.limit[c] < MANY:
            most = np.minimum(most, shape.limit[c] - self.content[c, nodes])
        return nodes[most > 0], most[most > 0]

    def place(self, c: int, score: Reals, wanted: int) -> int:
        """Place copies of a class on the nodes of least score first; score: (N,)."""
        wanted = min(int(self.left[c]), wanted)
        if wanted <= 0:
            return 0
        nodes, fits = self.room(c)
        order = np.argsort(score[nodes], kind="stable")
        nodes, fits = nodes[order], fits[order]
        before = np.cumsum(fits) - fits
        copies = np.clip(wanted - before, 0, fits)
        used = np.flatnonzero(copies)
        self.add(c, nodes[used], copies[used])
        return int(copies.sum())

    def add(self, c: int, nodes: Counts, copies: Counts) -> None:
        """Put copies of a class on distinct nodes that have room for them."""
        shape = self.shape
        self.content[c, nodes] += copies.astype(np.int32)
        for r in np.flatnonzero(shape.demand[c]):
            self.free[r, nodes] -= copies * shape.demand[c, r]
        if shape.units[c]:
            same = np.full(nodes.size, shape.share[c])
            units = np.full(nodes.size, shape.units[c])
            self.devices[nodes] = take(self.devices[nodes], same, copies, units)
        self.left[c] -= int(copies.sum())
