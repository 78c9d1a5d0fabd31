"""Shares of devices: what fits on a node's devices together, exactly and relaxed.

A copy takes one share of one device, or whole devices. Shares on a device are one-dimensional bin
packing, so a node's devices are described by patterns (sets of shares that fill one device).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .arrays import Counts, Mask, Reals
from .deadline import Deadline
from .linear import Programme, solve
from .problem import WHOLE
from .shapes import Shapes

_PATTERNS = 4000
_ALONE = 64  # types of nodes looked at one by one
_FRACTIONS = range(1, 9)


def relaxations(share: Counts) -> Reals:
    """Return dual-feasible functions of thousandths: (F, …) with Σ f(share) ≤ f(free) per device.

    Source: Fekete and Schepers, "New classes of fast lower bounds for bin packing problems", 2001;
    all are superadditive, so that they hold for devices that are partly taken as well.
    """
    x = share.astype(np.float64) / WHOLE
    functions = [x]
    for k in _FRACTIONS:
        scaled = (k + 1) * share
        exact = scaled % WHOLE == 0
        functions.append(np.where(exact, x, (scaled // WHOLE) / k))
    return np.stack(functions)


@lru_cache(maxsize=64)
def patterns(free: int, sizes: tuple[int, ...]) -> Counts | None:
    """Return the maximal ways to fill a device: (P, S) counts; None if there are too many.

    Args:
        free: thousandths.
        sizes: distinct shares, descending.
    """
    found: list[tuple[int, ...]] = []

    def fill(at: int, left: int, chosen: tuple[int, ...]) -> bool:
        if len(found) > _PATTERNS:
            return False
        if at == len(sizes):
            if not sizes or left < sizes[-1]:
                found.append(chosen)
            return True
        size = sizes[at]
        if at == len(sizes) - 1:
            return fill(at + 1, left % size, (*chosen, left // size))
        return all(
            fill(at + 1, left - taken * size, (*chosen, taken))
            for taken in range(left // size, -1, -1)
        )

    complete = fill(0, free, ())
    if not complete or len(found) > _PATTERNS:
        return None
    return np.array(found, dtype=np.int64).reshape(len(found), len(sizes))


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """Resources that devices amount to: taken (F, C) per copy, there (F, T) per node, float64."""

    taken: Reals
    there: Reals


def device_rows(shape: Shapes) -> DeviceRows:
    """Return the relaxations of a problem's devices, none if it has none."""
    if not shape.devices.size or not shape.units.any():
        return DeviceRows(np.zeros((0, len(shape.count))), np.zeros((0, len(shape.number))))
    taken = relaxations(shape.share) * shape.units
    return DeviceRows(taken, relaxations(shape.devices).sum(axis=2))


def violated(shape: Shapes, amounts: Reals, deadline: Deadline) -> DeviceRows | None:
    """Return functions of shares that an aggregated solution breaks, None if none is found.

    The dual of one-dimensional cutting stock: weights of shares so that no pattern of a free device
    weighs more than 1, and the solution's shares weigh most.

    Args:
        amounts: (T, C) copies of classes on all nodes of a type.
    """
    sizes = tuple(sorted({int(s) for s in shape.share[shape.units > 0]}, reverse=True))
    ways = patterns(WHOLE, sizes) if sizes else None
    if ways is None:
        return None
    column = {size: s for s, size in enumerate(sizes)}
    code = np.array([column.get(int(size), 0) for size in shape.share])
    shares = np.zeros((len(shape.number), len(sizes)))
    for t in range(len(shape.number)):
        shares[t] = np.bincount(code, amounts[t] * shape.units, len(sizes))
    there = (shape.devices > 0).sum(axis=1) * shape.number
    taken: list[Reals] = []
    rooms: list[Reals] = []
    for some in _unions(there):
        mine, devices = shares[some].sum(axis=0), float(there[some].sum())
        if not devices or not mine.any() or deadline.over:
            continue
        weight = _heaviest(ways, mine, deadline)
        if weight is None or weight @ mine <= devices * (1 + 1e-6):
            continue
        per_class = np.where(shape.units > 0, weight[code], 0.0) * shape.units.astype(np.float64)
        value = _best_fill(sizes, weight)
        taken.append(per_class[None])
        rooms.append(value[shape.devices].sum(axis=1).astype(np.float64)[None])
        if some.all():
            break
    return DeviceRows(np.concatenate(taken), np.concatenate(rooms)) if taken else None


def _unions(there: Counts) -> list[Mask]:
    """Return all types together, then each that has devices."""
    alone = np.eye(there.size, dtype=np.bool_)[there > 0][:_ALONE]
    return [np.ones(there.size, dtype=np.bool_), *alone]


def _heaviest(ways: Counts, shares: Reals, deadline: Deadline) -> Reals | None:
    rows, columns = np.nonzero(ways)
    programme = Programme(
        objective=shares,
        upper=np.ones(shares.size),
        most=np.ones(len(ways)),
        rows=rows,
        columns=columns,
        coefficients=ways[rows, columns].astype(np.float64),
    )
    weight = solve(programme, deadline.limit(5.0)).x
    if weight is None:
        return None
    weight = np.where(weight < 1e-7, 0.0, weight)
    return weight / max(1.0, float((ways @ weight).max()))


def _best_fill(sizes: Sequence[int], weight: Reals) -> Reals:
    """Return the heaviest content of a device by its free thousandths: (WHOLE + 1,)."""
    best = np.zeros(WHOLE + 1)
    for free in range(1, WHOLE + 1):
        best[free] = best[free - 1]
        for size, value in zip(sizes, weight.tolist(), strict=True):
            if size <= free:
                best[free] = max(best[free], best[free - size] + value)
    return best


def assign(shape: Shapes, devices: Counts, content: Counts) -> list[tuple[int, int]] | None:
    """Say which device each unit lives on: (class, device) pairs, or None if they do not fit.

    First fit decreasing, then a complete search; exact for any number of devices.

    Args:
        devices: (G,) free thousandths.
        content: (C,) copies.
    """
    units: list[tuple[int, int, int]] = []
    for c in np.flatnonzero(content * shape.units):
        one = [(int(shape.share[c]), int(c), k) for k in range(int(shape.units[c]))]
        units += one * int(content[c])
    units.sort(key=lambda unit: -unit[0])
    left = devices.tolist()
    chosen: list[int] = []
    budget = [20_000]
    if not _place(units, 0, left, chosen, budget):
        return None
    return [(c, device) for (_, c, _), device in zip(units, chosen, strict=True)]


def _place(
    units: Sequence[tuple[int, int, int]],
    at: int,
    left: list[int],
    chosen: list[int],
    budget: list[int],
) -> bool:
    if at == len(units):
        return True
    budget[0] -= 1
    if budget[0] < 0 or sum(left) < sum(size for size, _, _ in units[at:]):
        return False
    size, _, before = units[at]
    taken = chosen[at - before :]  # by the same copy
    tried: set[int] = set()
    for device in sorted(range(len(left)), key=left.__getitem__):
        room = left[device]
        if room < size or room in tried or device in taken:
            continue
        tried.add(room)
        left[device] -= size
        chosen.append(device)
        if _place(units, at + 1, left, chosen, budget):
            return True
        chosen.pop()
        left[device] += size
    return False
