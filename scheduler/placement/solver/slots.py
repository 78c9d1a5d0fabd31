"""Packing room instead of copies: columns whose room any smaller class may take, and their dive.

For large problems with many classes of similar size: the master knows which class may take whose
room (`exchange`), prices are smoothed (in-out: Wentges 1997), and contents are found exactly among
the classes that no other undercuts.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from .arrays import Counts, Mask, Reals
from .columns import Pool, density_orders, fill
from .deadline import Deadline
from .exchange import Exchange, Kinds, core
from .linear import Basis, Programme, solve
from .pricing import Pricer
from .shapes import Shapes
from .swaps import improve

_AT_LOWER = 2  # MathOpt's BASIS_STATUS_AT_LOWER_BOUND
_SECONDS = 20.0
_ROUNDS = 60
_GENERATION = 300  # rounds of pricing
_STEPS = (0.3, 1.0)  # from the best prices known to the master's
_CLOSE = 1e-4
_GROWN = 4  # contents made of one by giving its copies more room
_NONE = 1e-6
_GAIN = 1e-5  # relative, of a round
_PATIENCE = 3
_VARIANTS = 16
_KEPT = 4
_NEAR = 0.01
_PART = 0.25  # of the fractional columns, fixed at once
_SHORT = 0.05  # of a rent


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A solution of the master.

    Args:
        x: (J,) nodes per column, placed: (C,) copies, moved: (E,) room given to smaller classes.
        prices: (C,) of room for a copy, rents: (T,) of a node.
        value: of the LP.
    """

    x: Reals
    placed: Reals
    moved: Reals
    prices: Reals
    rents: Reals
    value: float


@dataclass(slots=True)
class SlotMaster:
    """max value·y - cost·x with y + what larger gives away - what it gets ≤ room in Σ copies·x.

    Args:
        ruled_out: (J,) bool, columns not to be looked at; those added later all are.
    """

    pool: Pool
    exchange: Exchange
    ruled_out: Mask
    basis: Basis | None = None

    def relax(self, number: Counts, wanted: Counts, room: Counts, seconds: float) -> Relaxed | None:
        """Solve for `number` (T,) nodes, `wanted` (C,) copies and `room` (C,) that is there."""
        used = np.ones(len(self.pool), dtype=np.bool_)
        used[: self.ruled_out.size] = ~self.ruled_out
        programme = self._programme(number, wanted, room, used)
        answer = solve(programme, seconds)
        if answer.x is None:
            return None
        self.basis = answer.basis
        height, pairs = wanted.size, self.exchange.larger.size
        found = np.clip(answer.x, 0.0, programme.upper)
        x = np.zeros(used.size)
        x[used] = found[height + pairs :]
        return Relaxed(
            x=x,
            placed=found[:height],
            moved=found[height : height + pairs],
            prices=answer.duals[number.size :],
            rents=answer.duals[: number.size],
            value=float(programme.objective @ answer.x),
        )

    def _programme(self, number: Counts, wanted: Counts, room: Counts, used: Mask) -> Programme:
        shape, types = self.pool.shape, self.pool.types[used]
        columns, classes, copies = self.pool.entries()
        some = used[columns]
        columns, classes, copies = (np.cumsum(used) - 1)[columns[some]], classes[some], copies[some]
        kinds, height = number.size, wanted.size
        larger, smaller = self.exchange.larger, self.exchange.smaller
        pairs = np.arange(larger.size)
        first, each, ones = height + pairs.size, np.arange(height), np.ones(pairs.size)
        every = first + np.arange(types.size)
        row_parts = [types, kinds + classes, kinds + each, kinds + larger, kinds + smaller]
        column_parts = [every, first + columns, each, height + pairs, height + pairs]
        parts = [np.ones(types.size), -copies, np.ones(height), ones, -ones]
        exchanged = np.full(pairs.size, wanted.sum() + room.sum())
        return Programme(
            objective=np.concatenate([shape.value, np.zeros(pairs.size), -shape.cost[types]]),
            upper=np.concatenate([wanted, exchanged, number[types]], dtype=np.float64),
            most=np.concatenate([number, room], dtype=np.float64),
            rows=np.concatenate(row_parts),
            columns=np.concatenate(column_parts),
            coefficients=np.concatenate(parts, dtype=np.float64),
            basis=self._extended(first + types.size),
        )

    def _extended(self, size: int) -> Basis | None:
        if self.basis is None:
            return None
        known = self.basis.variables
        fresh = np.full(size - known.size, _AT_LOWER, dtype=np.int64)
        return Basis(np.concatenate([known, fresh]), self.basis.constraints)


@dataclass(slots=True)
class SlotPricer:
    """Finds contents by exact pricing of the classes that no other undercuts."""

    pool: Pool
    kinds: Kinds
    seed: int
    random: np.random.Generator = field(init=False)
    _alike: list[Counts] = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        shape = self.pool.shape
        rows = np.concatenate([shape.capacity, shape.devices, shape.fit > 0], axis=1)
        code = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
        self._alike = [np.flatnonzero(code == k) for k in range(int(code.max(initial=-1)) + 1)]

    def quick(self, prices: Reals, types: Counts) -> int:
        """Add contents that pay well; return how many were new."""
        return self._filled(core(self.pool.shape, self.kinds, prices), prices, types)

    def exact(self, prices: Reals, open_types: Counts, deadline: Deadline) -> tuple[int, Reals]:
        """Add the contents that pay best; return how many were new, and what each type earns."""
        shape = self.pool.shape
        chosen = core(shape, self.kinds, prices)
        pricer = Pricer(_restricted(shape, chosen), self.seed)
        earned, added = np.zeros(shape.number.size), 0
        for mine in self._open(open_types):
            if deadline.over:
                break
            small, most = pricer.exact(int(mine[0]), prices[chosen], deadline)
            earned[mine] = most
            if small is None or not small.any():
                continue
            content = np.zeros(shape.count.size, dtype=np.int64)
            content[chosen] = small
            contents = [
                content,
                *(self._grown(int(mine[0]), content, prices) for _ in range(_GROWN)),
            ]
            for t in mine.tolist():
                added += sum(self.pool.add(t, one) for one in contents)
        return added, earned

    def _filled(self, chosen: Counts, prices: Reals, types: Counts) -> int:
        """Fill nodes in several orders and exchange copies while that pays."""
        shape = self.pool.shape
        if not chosen.size or not types.size:
            return 0
        small = _restricted(shape, chosen)
        width = small.demand.shape[1] + 1
        weights = np.concatenate(
            [np.ones((1, width)), self.random.dirichlet(np.full(width, 0.6), _VARIANTS - 1)]
        )
        groups = self._open(types)
        firsts = np.array([alike[0] for alike in groups], dtype=np.int64)
        paid = np.repeat(prices[chosen][None], firsts.size, axis=0)
        order = density_orders(small, firsts, paid, weights, self.random)
        rows = np.tile(firsts, _VARIANTS)
        filled = improve(small, rows, fill(small, rows, order, small.count), prices[chosen])
        gains = filled @ prices[chosen]
        added = 0
        for alike in groups:
            mine = np.flatnonzero(rows == alike[0])
            best = mine[np.argsort(-gains[mine], kind="stable")[:_KEPT]]
            for row in best[gains[best] >= gains[best[0]] * (1 - _NEAR)].tolist():
                content = np.zeros(shape.count.size, dtype=np.int64)
                content[chosen] = filled[row]
                grown = self._grown(int(alike[0]), content, prices)
                for t in alike.tolist():
                    added += self.pool.add(t, content) + self.pool.add(t, grown)
        return added

    def _open(self, types: Counts) -> list[Counts]:
        """Return the types with what types are like each."""
        here = np.isin(np.arange(self.pool.shape.number.size), types)
        return [alike[here[alike]] for alike in self._alike if here[alike].any()]

    def _grown(self, node_type: int, content: Counts, prices: Reals) -> Counts:
        """Give copies the room of larger classes as long as there is any, in any order."""
        shape = self.pool.shape
        content = content.copy()
        free = shape.capacity[node_type] - content @ shape.demand
        most = np.minimum(shape.fit[node_type], shape.count)
        allowed = (shape.units == 0) & (most > 0)
        if shape.apart is not None:
            allowed &= ~np.any(shape.apart, axis=1)
        for c in self.random.permutation(np.flatnonzero(content * (shape.units == 0))).tolist():
            more = shape.demand - shape.demand[c]
            fits = allowed & np.all((more >= 0) & (more <= free), axis=1)
            fits &= np.any(more > 0, axis=1) & (prices >= prices[c] - _NONE)
            larger = np.flatnonzero(fits & (content < most))
            if larger.size:
                other = int(self.random.choice(larger))
                many = int(min(content[c], (most - content)[other]))
                asked = more[other] > 0
                many = int(min(many, (free[asked] // more[other][asked]).min()))
                content[c] -= many
                content[other] += many
                free = free - many * more[other]
        return content


def _restricted(shape: Shapes, classes: Counts) -> Shapes:
    return replace(
        shape,
        demand=shape.demand[classes],
        share=shape.share[classes],
        units=shape.units[classes],
        count=shape.count[classes],
        limit=shape.limit[classes],
        value=shape.value[classes],
        apart=None if shape.apart is None else shape.apart[np.ix_(classes, classes)],
        fit=shape.fit[:, classes],
    )


@dataclass(slots=True)
class Slots:
    """Columns of room and the best prices known for it.

    Args:
        center: (C,) prices to begin with.
        bound: what the master cannot exceed.
    """

    pool: Pool
    exchange: Exchange
    center: Reals
    bound: float
    seed: int = 1
    pricer: SlotPricer = field(init=False)
    relaxed: Relaxed | None = None
    basis: Basis | None = None
    _best: float = float("inf")

    def __post_init__(self) -> None:
        self.pricer = SlotPricer(self.pool, self.exchange.kinds, self.seed)

    @property
    def close(self) -> bool:
        """Whether the master is as good as what it cannot exceed, so that no price proves more."""
        return self.relaxed is not None and self.bound <= (1.0 + _CLOSE) * self.relaxed.value

    def generate(self, deadline: Deadline) -> None:
        """Add contents until the master is close to what prices prove, or time is over.

        Prices of the master are asked quickly while that helps, then exactly.
        """
        shape = self.pool.shape
        master = SlotMaster(self.pool, self.exchange, np.zeros(0, dtype=np.bool_), self.basis)
        nothing = np.zeros_like(shape.count)
        every = np.arange(shape.number.size)
        last, idle = 0.0, 0
        for _ in range(_GENERATION):
            if deadline.over:
                break
            relaxed = master.relax(shape.number, shape.count, nothing, deadline.limit(_SECONDS))
            if relaxed is None:
                break
            self.relaxed, self.basis = relaxed, master.basis
            if self.close:
                break
            idle = idle + 1 if relaxed.value <= last * (1.0 + _GAIN) else 0
            last = max(last, relaxed.value)
            added = self.pricer.quick(relaxed.prices, every) if idle < _PATIENCE else 0
            if added <= every.size // 4:
                added += self._exact(relaxed, every, deadline)
                idle = 0
            if not added:
                break

    def _exact(self, relaxed: Relaxed, types: Counts, deadline: Deadline) -> int:
        """Price between the best prices known and the master's; return how many were new."""
        shape, added = self.pool.shape, 0
        for step in _STEPS:
            prices = self.center + step * (relaxed.prices - self.center)
            some, earned = self.pricer.exact(prices, types, deadline)
            added += some
            if deadline.over:
                break
            bound = float(shape.count @ np.maximum(shape.value - prices, 0.0))
            bound += float(shape.number @ np.maximum(earned - shape.cost, 0.0))
            self.bound = min(self.bound, bound)
            if bound < self._best:
                self._best, self.center = bound, prices
            if added > types.size // 4:
                break
        return added

    def dive(self, number: Counts, wanted: Counts, deadline: Deadline) -> dict[int, int]:
        """Return how many nodes get which column.

        Args:
            number: (T,) nodes to fill, wanted: (C,) copies to place.
        """
        master = SlotMaster(self.pool, self.exchange, self._ruled_out(number))
        rest, room = number.copy(), np.zeros_like(wanted)
        chosen: dict[int, int] = {}
        for _ in range(_ROUNDS):
            relaxed = master.relax(rest, wanted, room, deadline.limit(_SECONDS))
            if relaxed is None or not rest.any() or deadline.over:
                break
            if self.pricer.quick(relaxed.prices, np.flatnonzero(rest)):
                relaxed = master.relax(rest, wanted, room, deadline.limit(_SECONDS)) or relaxed
            if not (relaxed.x > _NONE).any():
                break
            types = self.pool.types
            for j, meant in _fixed(relaxed.x).items():
                t = int(types[j])
                times = min(meant, int(rest[t]))
                if times:
                    classes, copies = self.pool.content(j)
                    chosen[j] = chosen.get(j, 0) + times
                    room[classes] += times * copies
                    rest[t] -= times
        return chosen

    def _ruled_out(self, number: Counts) -> Mask:
        """Return (J,) columns of types without nodes, and those far short of their rent."""
        types = self.pool.types
        out = number[types] == 0
        if self.relaxed is not None:
            columns, classes, copies = self.pool.entries()
            earned = np.bincount(columns, self.relaxed.prices[classes] * copies, types.size)
            out |= earned < (1.0 - _SHORT) * self.relaxed.rents[types]
        return np.asarray(out, dtype=np.bool_)


def _fixed(x: Reals) -> dict[int, int]:
    """Take whole parts, and the most integral columns up to a part of what is left."""
    whole = np.floor(x + _NONE).astype(np.int64)
    fraction = np.maximum(x - whole, 0.0)
    some = whole > 0
    mass = float(fraction.sum())
    quota = int(np.ceil(mass * _PART))
    order = np.argsort(-fraction, kind="stable")[:quota]
    order = order[fraction[order] > (0.5 if some.any() else _NONE)]
    whole[order] += 1
    return {
        int(j): int(whole[j]) for j in np.argsort(-whole, kind="stable")[: int((whole > 0).sum())]
    }
