"""What all phases of the search share: the shapes, the columns, the incumbent and the clock."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arrays import Counts
from .bound import Bounds, bounds
from .choosing import choose
from .columns import Pool
from .deadline import Deadline
from .dive import dive
from .greedy import KINDS, fill_up, orders
from .incumbent import Incumbent
from .linear import Basis
from .master import Master, Relaxed
from .objectives import Shortfall
from .occupancy import Occupancy
from .pricing import Pricer
from .problem import Problem
from .regions import regions
from .regulation import Regulation
from .settling import harvest, settle
from .shapes import Shapes, shapes
from .slot_master import Relaxed as Room
from .slots import Slots
from .slotting import fill_slots, slots
from .solution import Progress

_GREEDY = 0.2  # of the time: contents that greedies find spare many rounds of pricing
_SLOTS = 0.35  # of the time that is left
_GENERATION = 40  # rounds of pricing
_GENERATING = 0.45  # of the time that is left
_VARIANTS = 32
_SECONDS = 20.0
_SMALL = 600  # pairs of nodes and classes, of a problem that is decided on as a whole


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends: at a relative gap of every goal from its bound, or out of time."""

    deadline: Deadline
    gap: float = 0.0


class Search:
    """A search for one problem, and the phases that make first plans."""

    def __init__(
        self, given: Problem, limits: Limits, seed: int, report: Callable[[Progress], None]
    ) -> None:
        self.given, self.limits, self.deadline = given, limits, limits.deadline
        self.shape: Shapes = shapes(given)
        self.rules = Regulation(given)
        self.regions = regions(given, self.shape)
        self.pool = Pool(self.shape)
        self.pricer = Pricer(self.shape, seed, _VARIANTS)
        self.random = np.random.default_rng(seed)
        self.incumbent = Incumbent(given, limits.deadline, report)
        self.bounds: Bounds = bounds(given, self.shape)
        self.orders = orders(self.shape)
        self.relaxed: Relaxed | Room | None = None
        self.slots: Slots | None = None
        self.basis: Basis | None = None

    @property
    def done(self) -> bool:
        """Whether there is no time left or nothing to gain."""
        return self.deadline.over or self.incumbent.within(self.limits.gap)

    @property
    def small(self) -> bool:
        """Whether it is decided on as a whole."""
        return self.shape.count.size * self.shape.type_of.size <= _SMALL

    def prove(self) -> None:
        """Bound the first goal."""
        first, *others = self.given.objectives
        bound, _ = self.bounds.of(first, self.deadline)
        self.incumbent.prove(0, bound)
        if isinstance(first, Shortfall) and others:  # how the rest is best packed, demands met
            self.bounds.keep(first, bound)
            self.bounds.of(others[0], self.deadline)

    def greedy(self) -> None:
        """Fill nodes class by class in several ways."""
        limited = self.deadline.part(_GREEDY)
        took = 0.0
        for kind in KINDS:
            for order in self.orders:
                if self.done or limited.left <= took:
                    return
                began = limited.elapsed
                state = self.empty()
                fill_up(state, order, kind, self.deadline)
                state.trim()
                self.incumbent.offer(state)
                if self.deadline.over:
                    return
                harvest(self.pool, state)
                took = limited.elapsed - began

    def generate(self) -> None:
        """Add columns while they make the master better."""
        if self.slots is None:
            bound = self.incumbent.bounds[0]
            self.slots = slots(self.pool, self.bounds, bound, self.deadline)
        if self.slots is not None:
            self.slots.generate(self.deadline.part(_SLOTS))
            self.relaxed = self.slots.relaxed
            return
        master = Master(self.pool, self.basis)
        shape = self.shape
        every = np.arange(shape.number.size)
        limited = self.deadline.part(_GENERATING)
        for _ in range(_GENERATION):
            if self.done or limited.over:
                return
            relaxed = master.relax(shape.number, shape.count, self.deadline.limit(_SECONDS))
            if relaxed is None:
                return
            self.relaxed, self.basis = relaxed, master.basis
            prices, rents = relaxed.prices, relaxed.rents
            if not self.pricer.quick(self.pool, prices, rents, every, shape.count):
                return

    def dive(self) -> None:
        """Round the master to whole nodes."""
        state = self.empty()
        amounts = self.bounds.amounts(self.deadline)
        if amounts is None:
            amounts = np.zeros(self.shape.fit.shape)
        quotas = self.regions.quotas(amounts, self.shape.count)
        self.refill(state, np.arange(state.type_of.size), quotas)
        self.incumbent.offer(state)

    def resume(self) -> None:
        """Offer what there is today, as far as it keeps the rules."""
        nodes, classes, copies = self.given.current
        content = np.zeros((self.shape.count.size, self.shape.type_of.size), dtype=np.int64)
        np.add.at(content, (classes, nodes), copies)
        if nodes.size and (content.sum(axis=1) <= self.shape.count).all():
            state = self.empty()
            self._hold(state, content)
            state.trim()
            self.incumbent.offer(state)

    def plan_of(self, content: Counts) -> Occupancy | None:
        """Return the plan of (C, N) copies, None if they do not fit or break a rule."""
        state = self.empty()
        if not self._hold(state, content):
            return None
        placed = int(content.sum())
        state.trim()
        return state if int(state.content.sum()) == placed else None

    def _hold(self, state: Occupancy, content: Counts) -> bool:
        """Fill empty nodes; leave those empty that cannot hold it, and tell if there are any."""
        whole = True
        for node in np.flatnonzero(content.any(axis=0)).tolist():
            mine = np.flatnonzero(content[:, node])
            fits = content[mine, node] <= self.shape.fit[state.type_of[node], mine]
            whole &= bool(fits.all()) and state.put(np.array([node]), mine, content[mine, node])
        return whole

    def empty(self) -> Occupancy:
        """Return nodes that hold nothing."""
        return Occupancy(self.shape, self.rules)

    def refill(self, state: Occupancy, nodes: Counts, quotas: Counts, whole: bool = False) -> None:
        """Fill empty nodes by dives, then place what is left wherever it fits.

        Args:
            quotas: (Z, C) copies for each region of the classes that rules send there.
            whole: choose all contents of a region at once, instead of a dive.
        """
        region = self.regions.of_type[state.type_of[nodes]]
        begun, meant = state.left.copy(), np.zeros_like(state.left)
        spare = np.maximum(state.left - quotas.sum(axis=0), 0)
        for z in np.unique(region).tolist():
            mine = nodes[region == z]
            meant += quotas[z]
            carried = meant + spare - (begun - state.left)
            wanted = np.where(self.regions.ruled, quotas[z], carried)
            wanted = np.clip(wanted, 0, state.left)
            if self.slots is not None:
                fill_slots(state, self.slots, mine, wanted, self.deadline)
                continue
            number = np.bincount(state.type_of[mine], minlength=self.shape.number.size)
            basis = self.basis if mine.size == state.type_of.size else None
            if whole:
                chosen = choose(self.pool, self.pricer, number, wanted, self.deadline)
            else:
                chosen = dive(self.pool, self.pricer, number, wanted, self.deadline, basis)
            settle(state, self.pool, chosen, mine, wanted)
        self.top_up(state)

    def top_up(self, state: Occupancy) -> None:
        """Take off what breaks rules and place what is left wherever it fits."""
        order = self.orders[int(self.random.integers(len(self.orders)))]
        state.trim()
        fill_up(state, order, KINDS[0], self.deadline)
        state.trim()
