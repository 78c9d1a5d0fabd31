"""Contents that pay, among the classes that no other undercuts: quickly, or provably the best."""

from dataclasses import dataclass, field, replace

import numpy as np

from .arrays import Counts, Reals
from .columns import Pool, density_orders
from .deadline import Deadline
from .exchange import Kinds, core
from .filling import fill
from .pricing import Pricer
from .shapes import Shapes
from .swaps import improve

_GROWN = 4  # contents made of one by giving its copies more room
_VARIANTS = 16  # fillings tried per type of node
_KEPT, _NEAR = 4, 0.01  # of these the best, within a part of the very best
_NOISE = 1e-6


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
            fits &= np.any(more > 0, axis=1) & (prices >= prices[c] - _NOISE)
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
