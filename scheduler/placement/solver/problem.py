"""A packing problem in columns: nodes, classes of identical pods, rules and objectives.

Everything a rule says reaches the engine as numbers about (class, node group): a group is a set of
nodes that no rule tells apart (labels, taints, domain), whatever their resources.
"""

from dataclasses import dataclass, field

import numpy as np

from .arrays import Counts, Mask
from .objectives import Objective, Placed
from .rules import Rule

WHOLE = 1000  # thousandths of a device
MANY = 1 << 40


def _nothing() -> Counts:
    return np.zeros((3, 0), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Problem:
    """N nodes, C classes, R resources, G device slots, K node groups.

    Args:
        free: (R, N) int64, what is left on each node, never negative.
        demand: (R, C) int64, what a copy takes; below 0 what it brings along.
        count: (C,) int64, copies wanted.
        group: (N,) int64, each node's group.
        feasible: (C, K) bool, where a class may run.
        limit: (C,) int64, most copies of a class on one node.
        devices: (G, N) int64, free thousandths of each device, 0 where there is none.
        device_share: (C,) int64, thousandths that a copy takes of each of `device_units` devices;
            a copy's shares are of different devices.
        device_units: (C,) int64, 0 for none.
        objectives: lexicographic, most important first.
        require_all: whether anything less than everything is no solution.
        rules: between copies; all hold.
        claims: by objective, a bound that somebody else vouches for, None for none; () for none.
        current: (3, E) int64, today's (node, class, copies) of pods that are to be placed anew; the
            search starts there, and `Kept` counts what stays.

    Raises:
        ValueError: arrays of other shapes, or negative amounts.
    """

    free: Counts
    demand: Counts
    count: Counts
    group: Counts
    feasible: Mask
    limit: Counts
    devices: Counts
    device_share: Counts
    device_units: Counts
    objectives: tuple[Objective, ...]
    require_all: bool = False
    rules: tuple[Rule, ...] = ()
    claims: tuple[float | None, ...] = ()
    current: Counts = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        nodes, classes = self.free.shape[1], self.count.size
        shapes = {
            "demand": (self.demand.shape, (self.free.shape[0], classes)),
            "group": (self.group.shape, (nodes,)),
            "feasible": (self.feasible.shape[:1], (classes,)),
            "limit": (self.limit.shape, (classes,)),
            "devices": (self.devices.shape[1:], (nodes,)),
            "device_share": (self.device_share.shape, (classes,)),
            "device_units": (self.device_units.shape, (classes,)),
            "current": (self.current.shape[:1], (3,)),
        }
        for name, (found, wanted) in shapes.items():
            if found != wanted:
                raise ValueError(f"{name} has shape {found}, not {wanted}")
        if nodes and not 0 <= self.group.min() <= self.group.max() < self.feasible.shape[1]:
            raise ValueError(f"group is not within 0 … {self.feasible.shape[1] - 1}")
        for name in ("free", "count", "limit", "devices", "device_share", "device_units"):
            if (getattr(self, name) < 0).any():
                raise ValueError(f"{name} is negative")
        if ((self.device_units > 0) & (self.device_share == 0)).any():
            raise ValueError("a class takes devices but no share of them")
        if self.claims and len(self.claims) != len(self.objectives):
            raise ValueError(f"{len(self.claims)} claims for {len(self.objectives)} objectives")
        if not self.objectives:
            raise ValueError("there is no objective")


def problem(  # noqa: PLR0913 - the plain part of a Problem, by name
    free: Counts,
    demand: Counts,
    count: Counts,
    *,
    objectives: tuple[Objective, ...] | None = None,
    rules: tuple[Rule, ...] = (),
    group: Counts | None = None,
    feasible: Mask | None = None,
    require_all: bool = False,
) -> Problem:
    """Return a problem without devices; without objectives, as many copies as possible count."""
    nodes, classes = int(free.shape[1]), int(demand.shape[1])
    groups = 1 if group is None else int(group.max(initial=0)) + 1
    return Problem(
        free=free,
        demand=demand,
        count=count,
        group=np.zeros(nodes, dtype=np.int64) if group is None else group,
        feasible=np.ones((classes, groups), dtype=np.bool_) if feasible is None else feasible,
        limit=np.full(classes, MANY, dtype=np.int64),
        devices=np.zeros((0, nodes), dtype=np.int64),
        device_share=np.zeros(classes, dtype=np.int64),
        device_units=np.zeros(classes, dtype=np.int64),
        objectives=objectives or (Placed(np.ones(classes)),),
        require_all=require_all,
        rules=rules,
    )
