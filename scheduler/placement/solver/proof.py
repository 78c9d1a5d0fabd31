"""Better bounds from prices: what all nodes could earn if every copy were paid its price.

For prices p ≥ 0 no plan is worth more than Σ wanted · max(0, value - p) + Σ nodes · (the most that
one node's content earns at p, less its cost); rules between nodes are left out, which only raises
it. Prices walk from the best known ones towards the master's (in-out separation: Wentges 1997).
"""

from dataclasses import dataclass, field

import numpy as np

from .arrays import Counts, Mask, Reals
from .columns import Pool
from .deadline import Deadline
from .enumeration import Proof
from .pricing import Pricer
from .shapes import Shapes

_LEAST_STEP = 0.1
_PATIENCE = 12  # steps in a row that prove nothing


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be bounded, in its own units.

    Args:
        goal: the objective's place.
        value: (C,) ≥ 0 of a copy.
        cost: (T,) ≥ 0 of a node.
        must: (C,) bool, classes of which all copies are placed in the plans that count.
        prices: (C,) ≥ 0 to begin with.
        scale: what the master's prices are to be divided by.
    """

    goal: int
    value: Reals
    cost: Reals
    must: Mask
    prices: Reals
    scale: float


@dataclass(slots=True)
class Prover:
    """Keeps the best prices known, and what they prove."""

    shape: Shapes
    question: Question
    bound: float = float("inf")
    step: float = 1.0
    proofs: list[Proof] = field(default_factory=list[Proof])
    _fresh: bool = True
    _vain: int = 0
    _center: Reals = field(init=False)
    _alike: Counts = field(init=False)
    _firsts: Counts = field(init=False)

    def __post_init__(self) -> None:
        shape = self.shape
        rows = np.concatenate([shape.capacity, shape.devices, shape.fit], axis=1)
        _, self._firsts, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        self._alike = inverse.reshape(-1)
        self._center = self.question.prices

    @property
    def worn_out(self) -> bool:
        """Whether many steps were in vain, or the last ones did not even find a new content."""
        return self._vain >= _PATIENCE or (self.step <= _LEAST_STEP and not self._fresh)

    def improve(self, pool: Pool, pricer: Pricer, prices: Reals, deadline: Deadline) -> bool:
        """Try prices between the best and the master's; tell whether anything was gained.

        The contents that pay best join the pool.
        """
        aim = prices / self.question.scale
        tried = self._center + self.step * (aim - self._center)
        known = len(pool)
        found = self._best(pool, pricer, tried, deadline)
        if found is None:
            return False
        self._fresh = len(pool) > known
        bound = self._value(tried, found)
        better = bound < self.bound - 1e-7 * abs(self.bound)
        if better:
            self._center, self.bound = tried, bound
            self.proofs.append(self._proof(tried, found, bound))
        self._vain = 0 if better else self._vain + 1
        self.step = min(1.0, self.step * 2.0) if better else max(_LEAST_STEP, self.step * 0.5)
        return better

    def start(self, pool: Pool, pricer: Pricer, deadline: Deadline) -> None:
        """See what the first prices prove."""
        found = self._best(pool, pricer, self._center, deadline)
        if found is not None:
            self.bound = self._value(self._center, found)
            self.proofs.append(self._proof(self._center, found, self.bound))

    def _proof(self, prices: Reals, best: Reals, bound: float) -> Proof:
        return Proof(prices, np.maximum(best - self.question.cost, 0.0), bound)

    def _best(self, pool: Pool, pricer: Pricer, prices: Reals, deadline: Deadline) -> Reals | None:
        most = np.zeros(self._firsts.size)
        for at, node_type in enumerate(self._firsts.tolist()):
            if deadline.over:
                return None
            content, most[at] = pricer.exact(node_type, prices, deadline)
            if content is not None:
                for t in np.flatnonzero(self._alike == at).tolist():
                    pool.add(t, content)
        return most[self._alike]

    def _value(self, prices: Reals, best: Reals) -> float:
        asked = self.question
        gain = asked.value - prices
        per_copy = np.where(asked.must, gain, np.maximum(gain, 0.0))
        earned = np.maximum(best - asked.cost, 0.0)
        return float(self.shape.count @ per_copy + self.shape.number @ earned)
