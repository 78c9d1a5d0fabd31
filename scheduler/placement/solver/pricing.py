"""Pricing: which content of a node pays most at the master's prices, quickly or provably."""

from dataclasses import dataclass, field

import numpy as np
from ortools.sat.python import cp_model

from .columns import Pool, density_orders, fill
from .deadline import Deadline
from .devices import assign, patterns
from .problem import Shapes
from .result import Counts, Reals

_SCALE = 1_000_000


@dataclass(slots=True)
class Pricer:
    """Finds columns; keeps its random numbers.

    Args:
        seed: of the weights of resources tried.
    """

    shape: Shapes
    seed: int = 1
    variants: int = 8
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def quick(
        self, pool: Pool, prices: Reals, rents: Reals, types: Counts, left: Counts
    ) -> int:
        """Add contents that pay more than their rent, found by filling nodes; return how many."""
        if not types.size:
            return 0
        shape = self.shape
        width = shape.demand.shape[1] + 1
        weights = np.concatenate(
            [np.ones((1, width)), self.random.dirichlet(np.full(width, 0.6), self.variants - 1)]
        )
        noise = 1.0 + 0.05 * self.random.standard_normal(prices.size)
        order = density_orders(shape, types, prices * np.maximum(noise, 0.1), weights)
        all_types = np.tile(types, self.variants)
        contents = fill(shape, all_types, order, left)
        profit = contents @ prices - shape.cost[all_types] - rents[all_types]
        scale = 1e-7 * (1.0 + float(np.abs(rents).max(initial=0.0)))
        added = 0
        for row in np.flatnonzero(profit > scale):
            added += pool.add(int(all_types[row]), contents[row])
        return added

    def exact(
        self, node_type: int, prices: Reals, left: Counts, deadline: Deadline
    ) -> tuple[Counts | None, float]:
        """Return the best content found of a node, and what none exceeds (cost not deducted)."""
        shape = self.shape
        fit = np.minimum(shape.fit[node_type], left)
        scale = _SCALE / max(float(prices.max(initial=0.0)), 1e-12)
        gains = np.ceil(prices * scale - 1e-9).astype(np.int64)
        classes = np.flatnonzero((fit > 0) & (gains > 0))
        if not classes.size:
            return None, 0.0
        model = cp_model.CpModel()
        copies = {int(c): model.new_int_var(0, int(fit[c]), "") for c in classes}
        for r in range(shape.demand.shape[1]):
            asked = shape.demand[classes, r]
            if asked @ fit[classes] > shape.capacity[node_type, r]:
                terms = [copies[c] * int(shape.demand[c, r]) for c in copies if shape.demand[c, r]]
                model.add(sum(terms) <= int(shape.capacity[node_type, r]))
        _devices(model, shape, node_type, copies)
        model.maximize(sum(copies[c] * int(gains[c]) for c in copies))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = deadline.limit(1.0)
        status = solver.solve(model)
        bound = solver.best_objective_bound / scale
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None, max(bound, 0.0) if status != cp_model.UNKNOWN else float("inf")
        content = np.zeros(left.size, dtype=np.int64)
        content[classes] = [solver.value(copies[int(c)]) for c in classes]
        if shape.units @ content and assign(shape, shape.devices[node_type], content) is None:
            return None, bound
        return content, bound


def _devices(
    model: cp_model.CpModel,
    shape: Shapes,
    node_type: int,
    copies: dict[int, cp_model.IntVar],
) -> None:
    """Let every unit have its share of some device, by patterns or by devices."""
    there = shape.devices[node_type]
    there = there[there > 0]
    sharing = [c for c in copies if shape.units[c]]
    if not sharing:
        return
    sizes = tuple(sorted({int(shape.share[c]) for c in sharing}, reverse=True))
    supply: dict[int, list[cp_model.LinearExprT]] = {size: [] for size in sizes}
    for free, number in zip(*(a.tolist() for a in np.unique(there, return_counts=True)), strict=True):
        ways = patterns(free, sizes)
        if ways is None:
            _device_by_device(model, free, number, supply)
            continue
        used = [model.new_int_var(0, number, "") for _ in range(len(ways))]
        model.add(sum(used) <= number)
        for s, size in enumerate(sizes):
            supply[size] += [int(ways[p, s]) * used[p] for p in np.flatnonzero(ways[:, s])]
    for size in sizes:
        asked = [copies[c] * int(shape.units[c]) for c in sharing if shape.share[c] == size]
        model.add(sum(asked) <= sum(supply[size]))


def _device_by_device(
    model: cp_model.CpModel,
    free: int,
    number: int,
    supply: dict[int, list[cp_model.LinearExprT]],
) -> None:
    for _ in range(number):
        shares = {size: model.new_int_var(0, free // size, "") for size in supply}
        model.add(sum(size * shares[size] for size in supply) <= free)
        for size, share in shares.items():
            supply[size].append(share)
