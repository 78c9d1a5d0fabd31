"""Pricing: which content of a node pays most at the master's prices, quickly or provably."""

from dataclasses import dataclass, field

import numpy as np
from ortools.sat.python import cp_model

from .arrays import Counts, Reals
from .columns import Pool, density_orders
from .deadline import Deadline
from .devices import assign, patterns
from .filling import fill
from .shapes import Shapes
from .swaps import improve

_SCALE = 1_000_000
_ROWS = 256  # fillings in all: where there are few types, more of each
_WORK = 1.0  # CP-SAT's deterministic seconds per node type


@dataclass(slots=True)
class Pricer:
    """Finds columns; keeps its random numbers.

    Args:
        seed: of the weights of resources tried.
        variants: fillings tried per type of node, at least.
    """

    shape: Shapes
    seed: int = 1
    variants: int = 8
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def quick(self, pool: Pool, prices: Reals, rents: Reals, types: Counts, left: Counts) -> int:
        """Add contents that pay more than their rent, found by filling nodes; return how many."""
        if not types.size:
            return 0
        shape = self.shape
        width = shape.demand.shape[1] + 1
        many = max(self.variants, min(_ROWS // types.size, 4 * self.variants))
        weights = np.concatenate(
            [np.ones((1, width)), self.random.dirichlet(np.full(width, 0.6), many - 1)]
        )
        paid = _paid(shape, types, prices)
        order = density_orders(shape, types, paid, weights, self.random)
        all_types = np.tile(types, many)
        contents = fill(shape, all_types, order, left)
        if shape.cost.any() and shape.bonus is None:
            contents = improve(shape, all_types, contents, prices)
        gains = (contents * np.tile(paid, (many, 1))).sum(axis=1)
        profit = gains - shape.cost[all_types] - rents[all_types]
        scale = 1e-7 * (1.0 + float(np.abs(rents).max(initial=0.0)))
        added = 0
        for row in np.flatnonzero(profit > scale):
            added += pool.add(int(all_types[row]), contents[row])
        return added

    def exact(self, node_type: int, paid: Reals, deadline: Deadline) -> tuple[Counts | None, float]:
        """Return the best content found of a node, and what none exceeds.

        Args:
            paid: (C,) ≥ 0 what a copy pays.
        """
        shape = self.shape
        fit = shape.fit[node_type]
        scale = _SCALE / max(float(paid.max(initial=0.0)), 1e-12)
        gains = np.ceil(paid * scale - 1e-9).astype(np.int64)
        classes = np.flatnonzero((fit > 0) & (gains > 0))
        if not classes.size:
            return None, 0.0
        model = cp_model.CpModel()
        copies = {int(c): model.new_int_var(0, int(fit[c]), "") for c in classes}
        _capacities(model, shape, node_type, copies)
        _devices(model, shape, node_type, copies)
        model.maximize(sum(copies[c] * int(gains[c]) for c in copies))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = deadline.limit(10.0)
        solver.parameters.max_deterministic_time = _WORK
        status = solver.solve(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None, float("inf")
        bound = solver.best_objective_bound / scale
        content = np.zeros(paid.size, dtype=np.int64)
        content[classes] = [solver.value(copies[int(c)]) for c in classes]
        if shape.units @ content and assign(shape, shape.devices[node_type], content) is None:
            return None, bound
        return content, bound


def _paid(shape: Shapes, types: Counts, prices: Reals) -> Reals:
    """Return (B, C) what a copy pays on each type of node."""
    if shape.bonus is None:
        return np.repeat(prices[None], types.size, axis=0)
    return prices[None] + shape.bonus[types]


def _capacities(
    model: cp_model.CpModel,
    shape: Shapes,
    node_type: int,
    copies: dict[int, cp_model.IntVar],
) -> None:
    for r in range(shape.demand.shape[1]):
        terms = [copies[c] * int(shape.demand[c, r]) for c in copies if shape.demand[c, r]]
        model.add(sum(terms) <= int(shape.capacity[node_type, r]))
    if shape.apart is None:
        return
    here: dict[int, cp_model.IntVar] = {}
    for c, many in copies.items():
        if shape.apart[c].any():
            here[c] = model.new_bool_var("")
            model.add(many <= int(shape.fit[node_type, c]) * here[c])
    for c, there in here.items():
        for other in np.flatnonzero(shape.apart[c, : c + 1]).tolist():
            if other in here:
                model.add_bool_or(~there, ~here[other])


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
    free_of, many = np.unique(there, return_counts=True)
    for free, number in zip(free_of.tolist(), many.tolist(), strict=True):
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
