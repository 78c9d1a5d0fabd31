"""What is on every single node and what is left of it; always whole and within capacity."""

import numpy as np

from .arrays import Counts, Mask, Reals
from .columns import shares, take
from .devices import assign
from .problem import MANY
from .regulation import Regulation, Zoned, allowed, poured
from .rules import Spread, Together
from .shapes import Shapes, room

_ROUNDS = 1000  # of placing a class a bit everywhere, where rules say so


class Occupancy:
    """N nodes and what they hold.

    Args:
        free: (R, N), devices: (N, G) ascending, content: (C, N), left: (C,) copies without a node.
    """

    def __init__(self, shape: Shapes, rules: Regulation) -> None:
        self.shape, self.rules = shape, rules
        self.type_of = shape.type_of
        self.free = shape.capacity[self.type_of].T.copy()
        self.devices = shape.devices[self.type_of].copy()
        self.content = np.zeros((shape.count.size, self.type_of.size), dtype=np.int64)
        self.left = shape.count.copy()

    def copy(self) -> "Occupancy":
        """Return an independent copy."""
        twin = Occupancy.__new__(Occupancy)
        twin.shape, twin.rules, twin.type_of = self.shape, self.rules, self.type_of
        twin.free, twin.devices = self.free.copy(), self.devices.copy()
        twin.content, twin.left = self.content.copy(), self.left.copy()
        return twin

    def become(self, other: "Occupancy") -> None:
        """Take over what another one holds; it is not used any more."""
        self.free, self.devices = other.free, other.devices
        self.content, self.left = other.content, other.left

    @property
    def used(self) -> Mask:
        """(N,) which nodes hold anything."""
        return np.any(self.content, axis=0)

    def put(self, nodes: Counts, classes: Counts, copies: Counts) -> bool:
        """Give each of the empty nodes of one type the same content; False if it does not fit.

        Rules between nodes are not looked at; `trim` does that.
        """
        shape = self.shape
        taken = copies @ shape.demand[classes]
        if (taken > shape.capacity[self.type_of[nodes[0]]]).any():
            return False
        content = np.zeros(shape.count.size, dtype=np.int64)
        content[classes] = copies
        devices = self._devices(int(self.type_of[nodes[0]]), content)
        if devices is None:
            return False
        self.content[np.ix_(classes, nodes)] = copies[:, None]
        self.free[:, nodes] -= taken[:, None]
        self.devices[nodes] = devices
        self.left[classes] -= copies * nodes.size
        return True

    def clear(self, nodes: Counts) -> None:
        """Take everything off nodes."""
        self.left += self.content[:, nodes].sum(axis=1)
        self.content[:, nodes] = 0
        self.free[:, nodes] = self.shape.capacity[self.type_of[nodes]].T
        self.devices[nodes] = self.shape.devices[self.type_of[nodes]]

    def remove(self, c: int, nodes: Counts, copies: Counts) -> None:
        """Take copies of a class off distinct nodes that have them."""
        for node, many in zip(nodes.tolist(), copies.tolist(), strict=True):
            content = self.content[:, node].copy()
            content[c] -= many
            self.clear(np.array([node]))
            classes = np.flatnonzero(content)
            if classes.size:
                self.put(np.array([node]), classes, content[classes])

    def trim(self) -> None:
        """Take off what breaks rules between nodes, until none is broken."""
        while self._trimmed() or self._dropped():
            pass

    def room(self, c: int) -> Counts:
        """Return (N,) how many copies of a class each node has room for."""
        shape = self.shape
        fits: Mask = (shape.fit[:, c] > 0)[self.type_of]
        for r in np.flatnonzero(shape.demand[c]):
            fits &= self.free[r] >= shape.demand[c, r]
        if shape.apart is not None:
            for other in np.flatnonzero(shape.apart[c]):
                fits &= self.content[other] == 0
        nodes = np.flatnonzero(fits)
        most = room(shape, self.free[:, nodes].T, self.devices[nodes], np.array([c]))[:, 0]
        if shape.limit[c] < MANY:
            most = np.minimum(most, shape.limit[c] - self.content[c, nodes])
        found = np.zeros(self.type_of.size, dtype=np.int64)
        found[nodes] = np.maximum(most, 0)
        return found

    def holds(self, c: int, node: int) -> bool:
        """Tell whether a node has room for one more copy of a class."""
        shape, here = self.shape, np.array([node])
        if shape.apart is not None and self.content[shape.apart[c], node].any():
            return False
        if not shape.fit[self.type_of[node], c] or self.content[c, node] >= shape.limit[c]:
            return False
        return bool(room(shape, self.free[:, here].T, self.devices[here], np.array([c]))[0, 0])

    def place(self, c: int, score: Reals, wanted: int) -> int:
        """Place copies of a class on the nodes of least score first; score: (N,)."""
        zoned, meters = self.rules.of(c)
        wanted = min(int(self.left[c]), wanted)
        placed = 0
        for _ in range(_ROUNDS if zoned else 1):
            fits = self.room(c) if wanted > placed else np.zeros(0, dtype=np.int64)
            if not fits.any():
                break
            copies = self._shared_out(c, score, fits, wanted - placed, zoned)
            for each in meters:
                copies = each.within(c, copies, self.content, score)
            used = np.flatnonzero(copies)
            if not used.size:
                break
            self.add(c, used, copies[used])
            placed += int(copies.sum())
        return placed

    def add(self, c: int, nodes: Counts, copies: Counts) -> None:
        """Put copies of a class on distinct nodes that have room for them."""
        shape = self.shape
        self.content[c, nodes] += copies
        for r in np.flatnonzero(shape.demand[c]):
            self.free[r, nodes] -= copies * shape.demand[c, r]
        if shape.units[c]:
            same = np.full(nodes.size, shape.share[c])
            units = np.full(nodes.size, shape.units[c])
            there = shares(self.devices[nodes], same, units)
            self.devices[nodes] = take(self.devices[nodes], same, there, copies * units)
        self.left[c] -= int(copies.sum())

    def _shared_out(
        self, c: int, score: Reals, fits: Counts, wanted: int, zoned: list[Zoned]
    ) -> Counts:
        """Return (N,) copies: best nodes first, no domain above what its rules allow."""
        spread = zoned[0] if len(zoned) == 1 and isinstance(zoned[0].rule, Spread) else None
        order = np.argsort(score, kind="stable")
        for rule in zoned:
            if rule is spread:
                most = poured(rule, self.content, fits, wanted)
            else:
                most = allowed(rule, self.content, c)
                if isinstance(rule.rule, Together) and most.size and most.min() == MANY:
                    # None is placed yet: they all go where there is room for most.
                    most[np.arange(most.size) != np.argmax(rule.sums(fits))] = 0
            fits = np.minimum(fits, rule.by_node(most, MANY if _open(rule) else 0))
            fits = _first(fits, rule, most, order)
        before = np.cumsum(fits[order]) - fits[order]
        copies = np.zeros(fits.size, dtype=np.int64)
        copies[order] = np.clip(wanted - before, 0, fits[order])
        return copies

    def _devices(self, node_type: int, content: Counts) -> Counts | None:
        shape = self.shape
        devices = shape.devices[node_type].copy()
        if devices.size and shape.units @ content:
            placed = assign(shape, devices, content)
            if placed is None:
                return None
            for c, device in placed:
                devices[device] -= shape.share[c]
        return np.sort(devices)

    def _trimmed(self) -> bool:
        found = False
        for classes, nodes, copies in self.rules.trims(self.content):
            found, left = True, copies
            for c in classes:
                there = self.content[c, nodes]
                gone = np.clip(left - (np.cumsum(there) - there), 0, there)
                some = np.flatnonzero(gone)
                self.remove(c, nodes[some], gone[some])
                left -= int(gone.sum())
        return found

    def _dropped(self) -> bool:
        """Drop gangs that are placed in part."""
        classes = self.rules.incomplete(self.left)
        for c in classes:
            nodes = np.flatnonzero(self.content[c])
            self.remove(c, nodes, self.content[c, nodes])
        return bool(classes)


def _open(zoned: Zoned) -> bool:
    """Whether nodes without a domain may have copies."""
    return not isinstance(zoned.rule, Spread | Together)


def _first(fits: Counts, zoned: Zoned, most: Counts, order: Counts) -> Counts:
    """Return (N,) fits of which no domain has more than `most` (D,), first in order first kept."""
    domains = zoned.domains[order]
    known = domains >= 0
    rows = order[known][np.argsort(domains[known], kind="stable")]
    if not rows.size:
        return fits
    wanted, mine = fits[rows], zoned.domains[rows]
    before = np.cumsum(wanted) - wanted
    starts = np.flatnonzero(np.append(True, mine[1:] != mine[:-1]))
    base = np.repeat(before[starts], np.diff(np.append(starts, rows.size)))
    kept = fits.copy()
    kept[rows] = np.clip(most[mine] - (before - base), 0, wanted)
    return kept
