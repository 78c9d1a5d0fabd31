"""The search: bound, greedies, columns, diving, then better and better until time or proof ends it.

Sources: Gilmore and Gomory 1961 (columns), Lübbecke and Desrosiers 2005 (column generation),
Sadykov et al. 2019 (diving), Shaw 1998 (large neighbourhood search).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .arrays import Counts
from .bound import Bounds, bounds, rounded
from .columns import Pool
from .deadline import FOREVER, Deadline
from .dive import dive
from .greedy import KINDS, fill_up, orders
from .incumbent import Incumbent, achieved
from .master import Master, Relaxed
from .objectives import Placed
from .occupancy import Occupancy
from .pricing import Pricer
from .problem import Problem
from .proof import Prover, Question
from .settling import harvest, settle
from .shapes import Shapes, shapes
from .solution import Progress, Solution, Status
from .weighing import weigh


def _nobody(_: Progress) -> None:
    return


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Options:
    """How long to search, and who hears of it.

    Args:
        seconds: deadline, from the call on; infinite for as long as the engine finds it worth.
        gap: stop when every goal is within this of its bound, relative.
        seed: of everything random; equal seeds give equal plans where no deadline interferes.
        report: called on the engine's thread at every better plan and bound.
        cancelled: asked at every step; True ends the search with what there is.
        clock: seconds that only grow, for the deadline.
    """

    seconds: float = FOREVER
    gap: float = 0.0
    seed: int = 1
    report: Callable[[Progress], None] = _nobody
    cancelled: Callable[[], bool] = _never
    clock: Callable[[], float] = time.monotonic


def solve(given: Problem, options: Options | None = None) -> Solution:
    """Return the best plan found in time, with what is proved about it."""
    options = options or Options()
    deadline = Deadline(options.seconds, options.clock, options.cancelled)
    return _Search(given, options, deadline).run()


_GENERATION = 40  # rounds of pricing before the first dive
_PATIENCE = 40  # rounds of improvement without any
_GREEDY = 0.15  # of the time
_PART = 0.15  # of the nodes that a round of improvement empties


class _Search:
    def __init__(self, given: Problem, options: Options, deadline: Deadline) -> None:
        self.given, self.options, self.deadline = given, options, deadline
        self.shape: Shapes = shapes(given)
        self.pool = Pool(self.shape)
        self.pricer = Pricer(self.shape, options.seed, variants=32)
        self.random = np.random.default_rng(options.seed)
        self.incumbent = Incumbent(given, deadline, options.report)
        self.bounds: Bounds = bounds(given, self.shape)
        self.weights = weigh(given)
        self.relaxed: Relaxed | None = None
        self.orders = orders(self.shape)

    def run(self) -> Solution:
        steps = (
            ("bound", self.prove),
            ("greedy", self.greedy),
            ("columns", self.generate),
            ("dive", self.dive),
            ("proof", self.tighten),
            ("polish", self.polish),
        )
        for phase, step in steps:
            if self.done:
                break
            self.incumbent.enter(phase)
            step()
        self.incumbent.enter("")
        return self.answer()

    @property
    def done(self) -> bool:
        return self.deadline.over or self.incumbent.within(self.options.gap)

    def prove(self) -> None:
        """Bound the first goal."""
        bound, _ = self.bounds.of(self.given.objectives[0], self.deadline)
        self.incumbent.prove(0, bound)

    def greedy(self) -> None:
        """Fill nodes class by class in several ways."""
        limited = self.deadline.part(_GREEDY)
        for kind in KINDS:
            for order in self.orders:
                if self.done or (limited.over and self.incumbent.best is not None):
                    return
                state = Occupancy(self.shape)
                fill_up(state, order, kind, self.deadline)
                harvest(self.pool, state)
                self.incumbent.offer(state)

    def generate(self) -> None:
        """Add columns while they make the master better."""
        master = Master(self.pool)
        shape = self.shape
        every = np.arange(shape.number.size)
        for _ in range(_GENERATION):
            if self.done:
                return
            relaxed = master.relax(shape.number, shape.count, self.deadline.limit(20.0))
            if relaxed is None:
                return
            self.relaxed = relaxed
            prices, rents = relaxed.prices, relaxed.rents
            if not self.pricer.quick(self.pool, prices, rents, every, shape.count):
                return

    def dive(self) -> None:
        """Round the master to whole nodes."""
        state = Occupancy(self.shape)
        self.refill(state, np.arange(state.type_of.size))
        self.incumbent.offer(state)

    def tighten(self) -> None:
        """Improve bounds by exact pricing, as long as that is cheap and helps."""
        for question in self.questions():
            limited = self.deadline.part(0.3)
            prover = Prover(self.shape, question)
            prover.start(self.pool, self.pricer, limited)
            while not limited.over and not prover.worn_out and not self.done:
                self.generate()
                if self.relaxed is None:
                    break
                prover.improve(self.pool, self.pricer, self.relaxed.prices, limited)
                objective = self.given.objectives[question.goal]
                self.incumbent.prove(question.goal, rounded(objective, prover.bound))

    def questions(self) -> list[Question]:
        """Return the goals that prices can bound: what is placed, then nodes if all is placed."""
        shape, first = self.shape, self.given.objectives[0]
        free = np.zeros(shape.count.size)
        nobody = free > 0
        unpaid = np.zeros(shape.number.size)
        scale = self.weights.scales[0]
        if isinstance(first, Placed) and not self.incumbent.within_goal(0, self.options.gap):
            start = np.minimum(first.value, self.bounds.prices)
            return [Question(0, first.value, unpaid, nobody, start, scale)]
        return []

    def polish(self) -> None:
        """Empty the least efficient nodes and fill them anew, again and again."""
        idle = 0
        while not self.done and idle < _PATIENCE:
            best = self.incumbent.best
            if best is None:
                return
            state = best.copy()
            nodes = self.victims(state)
            state.clear(nodes)
            self.refill(state, nodes)
            idle = 0 if self.incumbent.offer(state) else idle + 1

    def victims(self, state: Occupancy) -> Counts:
        """Return nodes whose content pays little, some of them at random."""
        many = max(2, int(_PART * state.type_of.size))
        if self.relaxed is None:
            return self.random.choice(state.type_of.size, many, replace=False)
        paid = self.relaxed.prices @ state.content
        rent = self.relaxed.rents[state.type_of] + self.shape.cost[state.type_of] * state.used
        loss = np.maximum(rent - paid, 0.0)
        scale = float(loss.mean()) or 1.0
        key = loss / scale + self.random.exponential(1.0, loss.size) * 0.5
        return np.argsort(-key, kind="stable")[:many]

    def refill(self, state: Occupancy, nodes: Counts) -> None:
        """Fill empty nodes by a dive, then place what is left wherever it fits."""
        number = np.bincount(state.type_of[nodes], minlength=self.shape.number.size)
        chosen = dive(self.pool, self.pricer, number, state.left, self.deadline)
        settle(state, self.pool, chosen, nodes)
        order = self.orders[int(self.random.integers(len(self.orders)))]
        fill_up(state, order, "align", self.deadline)

    def answer(self) -> Solution:
        state = self.incumbent.best or Occupancy(self.shape)
        if self.incumbent.best is None:
            self.incumbent.values = achieved(self.given, state)
        classes, nodes = np.nonzero(state.content)
        status = Status.OPTIMAL if self.incumbent.within(1e-9) else Status.FEASIBLE
        return Solution(
            nodes=nodes.astype(np.int64),
            classes=classes.astype(np.int64),
            copies=state.content[classes, nodes].astype(np.int64),
            goals=self.incumbent.goals(),
            status=status,
            reason="",
            seconds=self.incumbent.seconds,
        )
