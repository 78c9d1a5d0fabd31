"""Bounds of all goals, tightened by exact pricing, and the plan that meets them if there is one."""

import numpy as np

from .arrays import Counts, Mask
from .assembly import assemble
from .bound import rounded
from .deadline import Deadline
from .enumeration import Proof, enumerate_contents
from .objectives import HostCost, Placed, Shortfall
from .proof import Prover, Question
from .search import Search
from .settling import settle
from .softening import soft_goal
from .weighing import weigh

_PART = 0.3  # of the time that is left
_SOFT = 0.2  # likewise, for a bound of soft limits, if that is so many seconds at least
_WORTHWHILE = 10.0
_EARLY = 0.5  # of the time, before columns are generated, if it goes on so long
_TRIES = 3  # targets
_PROOFS = 16  # of single resources: those that say most


def certify(search: Search) -> None:
    """Bound the later goals; improve bounds by exact pricing, as long as that helps."""
    given, incumbent = search.given, search.incumbent
    _bound_later(search)
    question = _question(search)
    if question is None or (search.slots is not None and search.slots.close):
        return
    limited = search.deadline.part(_PART)
    prover = Prover(search.shape, question)
    prover.start(search.pool, search.pricer, limited)
    objective = given.objectives[question.goal]
    while not limited.over and not prover.worn_out and not search.done:
        search.generate()
        if search.relaxed is None:
            break
        prover.improve(search.pool, search.pricer, search.relaxed.prices, limited)
        incumbent.prove(question.goal, rounded(objective, prover.bound))
    if question.must.any() and np.array_equal(question.cost, np.rint(question.cost)):
        best = min(prover.proofs, key=lambda proof: proof.bound, default=None)
        _assemble(search, question, [best] if best is not None else [], search.deadline)


def complete(search: Search) -> None:
    """Look for a plan at the bound where only few contents can be part of one."""
    if len(search.given.objectives) < 2 or not search.incumbent.within_goal(0, search.limits.gap):
        return
    _bound_later(search)
    question = _question(search)
    if question is not None and np.array_equal(question.cost, np.rint(question.cost)):
        _assemble(search, question, [], search.deadline.part(_EARLY))


def _bound_later(search: Search) -> None:
    given, incumbent = search.given, search.incumbent
    for goal in range(1, len(given.objectives)):
        search.bounds.keep(given.objectives[goal - 1], incumbent.values[goal - 1])
        limited = search.deadline
        if soft_goal(given) == goal and not search.small:
            limited = search.deadline.part(_SOFT)
            if limited.left < _WORTHWHILE:
                continue
        bound, _ = search.bounds.of(given.objectives[goal], limited)
        incumbent.prove(goal, bound)


def _question(search: Search) -> Question | None:
    """Return the goal that prices can bound: what is placed, then nodes if all is placed."""
    shape, objectives = search.shape, search.given.objectives
    at = int(isinstance(objectives[0], Shortfall) and len(objectives) > 1)
    first, second = objectives[at], objectives[at + 1] if len(objectives) > at + 1 else None
    scales = weigh(search.given).scales
    nothing, nobody = np.zeros(shape.count.size), np.zeros(shape.count.size, dtype=np.bool_)
    if not isinstance(first, Placed) or not first.value.any():
        return None
    if not search.incumbent.within_goal(at, search.limits.gap):
        start = np.minimum(first.value, search.bounds.prices)
        unpaid = np.zeros(shape.number.size)
        return Question(at, first.value, unpaid, nobody, start, scales[at])
    must = _must(search, first)
    if not isinstance(second, HostCost) or not second.cost.any() or not must.any():
        return None
    cost = second.cost[[int(rows[0]) for rows in shape.nodes]]
    return Question(at + 1, nothing, cost, must, search.bounds.prices, scales[at + 1])


def _must(search: Search, first: Placed) -> Mask:
    """Return the classes of which all copies are placed in every plan as good as the best."""
    best = search.incumbent.best
    fits = np.any(search.shape.fit > 0, axis=0)
    wanted: Mask = np.asarray((first.value > 0) & fits, dtype=np.bool_)
    if best is None or best.left[wanted].any():
        return np.zeros(wanted.size, dtype=np.bool_)
    return wanted


def _assemble(search: Search, question: Question, proofs: list[Proof], deadline: Deadline) -> None:
    """Look for a plan at the bound among all contents that it could use; raise it if none is."""
    shape, incumbent = search.shape, search.incumbent
    proofs = [*proofs, *_resource_proofs(search, question)]
    if not proofs or not question.must.all():
        return
    for _ in range(_TRIES):
        target = round(-incumbent.bounds[question.goal])
        if search.done or target >= -incumbent.values[question.goal]:
            return
        contents: list[tuple[int, Counts]] = []
        slack = np.array([target + proof.bound for proof in proofs])
        for t in range(shape.number.size):
            found = enumerate_contents(shape, t, float(question.cost[t]), proofs, slack, deadline)
            if found is None:
                return
            contents += [(t, content) for content in found]
        times, certain = assemble(shape, contents, question.cost, target, deadline)
        if times is not None:
            _realise(search, contents, times)
            return
        if not certain:
            return
        incumbent.prove(question.goal, -float(target + 1))


def _resource_proofs(search: Search, question: Question) -> list[Proof]:
    """Return what each resource alone proves: a copy pays for its part of a node."""
    shape, proofs = search.shape, list[Proof]()
    for r in range(shape.capacity.shape[1]):
        there = shape.capacity[:, r]
        if (there > 0).all():
            rate = float((question.cost / there).min())
            prices = shape.demand[:, r].astype(np.float64) * rate
            unpaid = np.zeros(shape.number.size)
            proofs.append(Proof(prices, unpaid, -float(shape.count @ prices)))
    return sorted(proofs, key=lambda proof: proof.bound)[:_PROOFS]


def _realise(search: Search, contents: list[tuple[int, Counts]], times: list[int]) -> None:
    chosen: dict[int, int] = {}
    for (node_type, content), many in zip(contents, times, strict=True):
        if many:
            column = search.pool.index(node_type, content)
            chosen[column] = chosen.get(column, 0) + many
    state = search.empty()
    settle(state, search.pool, chosen, np.arange(state.type_of.size), state.left)
    search.top_up(state)
    search.incumbent.offer(state)
