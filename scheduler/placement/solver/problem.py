"""A packing problem in columns, and its shapes: equal nodes counted, not listed.

Everything a rule says reaches the engine as numbers about (class, node group): a group is a set of
nodes that no rule tells apart (labels, taints, domain), whatever their resources.
"""

from dataclasses import dataclass, field

import numpy as np

from .result import Counts, Mask, Reals

WHOLE = 1000
_MANY = 1 << 40


@dataclass(frozen=True, slots=True)
class Exclusive:
    """On one node, at most `most` pods of these classes together (host ports, anti-affinity)."""

    classes: tuple[int, ...]
    most: int = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """Copies of the classes differ by at most `skew` between any two domains that may be used.

    Args:
        classes: counted together, as a selector would.
        domain: (K,) code 0 … D-1 of each group, -1 where the topology key is missing (no copy may
            go there).
        skew: Kubernetes' maxSkew for DoNotSchedule.
        existing: (D,) copies that run already.
    """

    classes: tuple[int, ...]
    domain: Counts
    skew: int
    existing: Counts


@dataclass(frozen=True, slots=True)
class Together:
    """All copies of the classes are in one domain (required affinity); domain: (K,), -1 never."""

    classes: tuple[int, ...]
    domain: Counts


@dataclass(frozen=True, slots=True)
class Cap:
    """A plugin's linear term: Σ weight[c, k] · copies of class c in group k ≤ most; weights ≥ 0."""

    weight: Reals
    most: float


@dataclass(frozen=True, slots=True)
class Gang:
    """All copies of these classes, or none of any; a class is in one gang at most."""

    classes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """N nodes, C classes, R resources, G device slots, K node groups.

    Args:
        free: (R, N) int64, what is left on each node, never negative.
        demand: (R, C) int64, what a copy takes.
        count: (C,) int64, copies wanted.
        value: (C,) float64 ≥ 0, what placing a copy is worth; the first goal is their sum. Copies
            worth nothing are placed where that costs nothing.
        group: (N,) int64, each node's group.
        feasible: (C, K) bool, where a class may run.
        limit: (C,) int64, most copies of a class on one node.
        host_cost: (N,) float64 ≥ 0, the price of using a node at all; 0 for those in use.
        devices: (G, N) int64, free thousandths of each device, 0 where there is none.
        device_share: (C,) int64, thousandths that a copy takes of each of `device_units` devices;
            a share below 1000 is of one device.
        device_units: (C,) int64.
        require_all: whether anything less than everything is no solution.
        exclusives, spreads, togethers, caps, gangs: rules between copies.
        current: (3, E) int64, today's (node, class, copies) of pods that are to be placed anew; the
            plan keeps as many in place as it can.
    """

    free: Counts
    demand: Counts
    count: Counts
    value: Reals
    group: Counts
    feasible: Mask
    limit: Counts
    host_cost: Reals
    devices: Counts
    device_share: Counts
    device_units: Counts
    require_all: bool = False
    exclusives: tuple[Exclusive, ...] = ()
    spreads: tuple[Spread, ...] = ()
    togethers: tuple[Together, ...] = ()
    caps: tuple[Cap, ...] = ()
    gangs: tuple[Gang, ...] = ()
    current: Counts = field(default_factory=lambda: np.zeros((3, 0), dtype=np.int64))


def problem(free: Counts, demand: Counts, count: Counts, value: Reals | None = None) -> Problem:
    """Return a problem without rules and devices, each copy worth 1 by default."""
    nodes, classes = free.shape[1], demand.shape[1]
    return Problem(
        free=free,
        demand=demand,
        count=count,
        value=np.ones(classes) if value is None else value,
        group=np.zeros(nodes, dtype=np.int64),
        feasible=np.ones((classes, 1), dtype=np.bool_),
        limit=np.full(classes, _MANY, dtype=np.int64),
        host_cost=np.zeros(nodes),
        devices=np.zeros((0, nodes), dtype=np.int64),
        device_share=np.zeros(classes, dtype=np.int64),
        device_units=np.zeros(classes, dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class Shapes:
    """T types of nodes and C classes, one row each: what the engine works on.

    Args:
        capacity: (T, R) int64.
        devices: (T, G) int64, ascending.
        number: (T,) int64, nodes of the type.
        cost: (T,) float64.
        group: (T,) int64.
        nodes: by type, the rows of its nodes.
        demand: (C, R) int64.
        share, units, count, limit: (C,) int64.
        value: (C,) float64.
        fit: (T, C) int64, most copies of a class alone on a node of the type.
    """

    capacity: Counts
    devices: Counts
    number: Counts
    cost: Reals
    group: Counts
    nodes: tuple[Counts, ...]
    demand: Counts
    share: Counts
    units: Counts
    count: Counts
    limit: Counts
    value: Reals
    fit: Counts


def shapes(given: Problem) -> Shapes:
    """Count equal nodes together and say how many copies of each class a type holds alone."""
    free, demand = _with_exclusives(given)
    devices = np.sort(given.devices, axis=0)
    prices, cost_code = np.unique(given.host_cost, return_inverse=True)
    rows = np.concatenate([given.group[None], cost_code[None], free, devices]).T
    kinds, code = np.unique(rows, axis=0, return_inverse=True)
    code = code.reshape(-1)
    order = np.argsort(code, kind="stable")
    number = np.bincount(code, minlength=len(kinds)).astype(np.int64)
    capacity = kinds[:, 2 : 2 + len(free)]
    made = Shapes(
        capacity=capacity,
        devices=kinds[:, 2 + len(free) :],
        number=number,
        cost=prices[kinds[:, 1]],
        group=kinds[:, 0],
        nodes=tuple(np.split(order, np.cumsum(number)[:-1])),
        demand=demand.T,
        share=given.device_share,
        units=given.device_units,
        count=given.count,
        limit=given.limit,
        value=given.value,
        fit=np.zeros((len(kinds), len(given.count)), dtype=np.int64),
    )
    fit = room(made, capacity, made.devices)
    fit = np.where(given.feasible.T[made.group], np.minimum(fit, made.count), 0)
    made.fit[:] = fit
    return made


def room(shape: Shapes, free: Counts, devices: Counts, only: Counts | None = None) -> Counts:
    """Return how many copies of each class alone fit: (M, C) for (M, R) free and (M, G) devices."""
    chosen = np.arange(len(shape.count)) if only is None else only
    fits = np.repeat(shape.limit[chosen][None], len(free), axis=0)
    for r in range(free.shape[1]):
        asked = shape.demand[chosen, r]
        some = asked > 0
        fits[:, some] = np.minimum(fits[:, some], free[:, r, None] // asked[some])
    for position in np.flatnonzero(shape.units[chosen]):
        c = chosen[position]
        alone = devices // shape.share[c] if shape.units[c] == 1 else devices >= shape.share[c]
        fits[:, position] = np.minimum(fits[:, position], alone.sum(axis=1) // shape.units[c])
    return np.maximum(fits, 0)


def _with_exclusives(given: Problem) -> tuple[Counts, Counts]:
    """An exclusive set is one more resource of which every node has `most`."""
    free, demand = given.free, given.demand
    for rule in given.exclusives:
        row = np.zeros((1, demand.shape[1]), dtype=np.int64)
        row[0, list(rule.classes)] = 1
        demand = np.concatenate([demand, row])
        most = np.full((1, free.shape[1]), rule.most, dtype=np.int64)
        free = np.concatenate([free, most])
    return free, demand
