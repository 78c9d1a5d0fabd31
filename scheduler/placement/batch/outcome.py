"""What a Placement came to: the plan as it may be applied, and what is proved of it.

Pure. The solver's words are about its numbers; here they are held against what the rules let be.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...batch_terms import BatchPlan
from ...objects.placement_job import MOST_UNPLACED, Reached, SolverReport, Unplaced
from ...snapshot import Rows
from ...store.assignments import Assignment
from ..checker import Counted, check
from ..framework import Decision
from ..plan import Allotment, PendingPod, Plan
from ..scenario import Scenario
from ..solver.objectives import Placed
from ..solver.solution import Goal, Solution, Status
from .clearance import Clearance
from .following import Followed, Leash, follow
from .modelling import Model
from .preparation import Prepared
from .valuing import as_text, decimal_text, held, value_of

_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """A plan that passed the checker.

    Args:
        solver: what is proved of it.
        hosts_used: nodes that it puts pods on.
        unplaced: classes with pods left, at most MOST_UNPLACED.
        violations: what the checker found, by which allotments were left out: a bug if any.
        clearance: who makes room before the plan is applied.
    """

    plan: Plan
    solver: SolverReport
    placed: int
    hosts_used: int
    unplaced: tuple[Unplaced, ...]
    violations: tuple[str, ...]
    clearance: Clearance | None = None

    def assignments(self) -> Iterator[Assignment]:
        """Yield which pod goes where, class by class."""
        for allotment in self.plan.allotments:
            for pod, node in zip(allotment.pods, allotment.nodes, strict=True):
                yield Assignment(f"{pod.key.namespace}/{pod.key.name}", node)


def settle(prepared: Prepared, solution: Solution | None, bound: Counted) -> Outcome:
    """Return what a solution comes to under the rules.

    Args:
        solution: None when the solver gave none; everything is then placed greedily.
        bound: knows which pods are bound already.

    Raises:
        PluginError: a filter failed.
    """
    followed, complaints = _judged(prepared, solution)
    impossible = solution is not None and solution.status is Status.INFEASIBLE
    incomplete = prepared.model.problem.require_all and not _all_placed(prepared, followed)
    if impossible or incomplete:
        nobody = np.zeros(0, dtype=np.int64)
        followed = Followed(tuple([nobody] * len(followed.rows)), followed.decisions)
    plan = Plan(prepared.snapshot.revision, tuple(_allotments(prepared, followed)))
    violations = check(plan, prepared.snapshot, bound, prepared.groups)
    broken = {each.allotment for each in violations}
    kept = tuple(a for n, a in enumerate(plan.allotments) if n not in broken)
    rows = [
        np.zeros(0, dtype=np.int64) if n in broken else rows for n, rows in enumerate(followed.rows)
    ]
    return Outcome(
        Plan(plan.revision, kept),
        _report(prepared, solution, rows),
        sum(each.size for each in rows),
        _hosts_used(rows),
        tuple(_unplaced(plan.allotments, broken))[:MOST_UNPLACED],
        tuple(dict.fromkeys([*complaints, *(each.message for each in violations)])),
    )


def settle_cleared(
    prepared: Prepared, before: Outcome, clearance: Clearance, cluster: Scenario
) -> Outcome:
    """Return what a plan comes to once room is made, or what it was where that is refused.

    Nothing is proved of it yet, but for what was placed altogether.

    Args:
        before: without room being made.
        cluster: as it is then.

    Raises:
        PluginError: a batch rule failed.
    """
    followed = clearance.followed
    if prepared.model.problem.require_all and not _all_placed(prepared, followed):
        return before
    plan = Plan(prepared.snapshot.revision, tuple(_allotments(prepared, followed)))
    snapshot = cluster.state.freeze(prepared.snapshot.revision)
    said = [each.message for each in check(plan, snapshot, cluster.state, prepared.groups)]
    copies = counted(prepared.batch.hosts, followed.rows)
    for rule in prepared.rules:
        said += [f"{rule.name}: {each.said}" for each in rule.check(prepared.batch, copies)]
    if said:
        return replace(before, violations=(*before.violations, f"no room is made: {said[0]}"))
    return Outcome(
        plan,
        SolverReport(
            goals=_unproved(prepared, followed.rows),
            seconds=before.solver.seconds,
            reason=before.solver.reason,
        ),
        sum(each.size for each in followed.rows),
        _hosts_used(followed.rows),
        tuple(_unplaced(plan.allotments, set()))[:MOST_UNPLACED],
        before.violations,
        clearance,
    )


def with_room(prepared: Prepared, outcome: Outcome, bound: float | None, most: str) -> Outcome:
    """Return an outcome with what is proved of it where running pods may make room.

    Args:
        bound: of what the first goal, or Σ value, is of what is placed; None where none is known.
        most: what may be done to running pods, in words.
    """
    (objective, *_), demands = prepared.model.problem.objectives, prepared.model.demands
    counts = {each.pod: len(each.pods) for each in outcome.plan.allotments}
    worths = prepared.worths
    total = float(worths @ prepared.model.problem.count)
    value = float(worths @ np.array([counts.get(each.pod, 0) for each in demands]))
    best = max(value, total if bound is None else min(total, bound))
    first, *later = outcome.solver.goals
    status = Status.FEASIBLE
    if isinstance(objective, Placed):
        goal = Goal(first.name, value, best, maximised=True)
        first = as_text(goal)
        if goal.proved and not later:
            status = Status.OPTIMAL
    else:
        first = Reached(first.name, first.value, "", "")
    if prepared.model.problem.require_all and not outcome.placed:
        status = Status.INFEASIBLE if best < total - _NOISE * total else Status.UNKNOWN
    told = (first, *(Reached(each.name, each.value, "", "") for each in later))
    holds = f"bounds hold with {most}; of later goals none is known"
    reason = "; ".join(filter(None, (outcome.solver.reason, holds)))
    if status is Status.INFEASIBLE:
        reason = f"not even with {most} are all pods placed"
    report = SolverReport(str(status), "", told, outcome.solver.seconds, reason)
    return replace(outcome, solver=report)


def _hosts_used(rows: Sequence[Rows]) -> int:
    return int(np.unique(np.concatenate(rows)).size) if rows else 0


def _judged(prepared: Prepared, solution: Solution | None) -> tuple[Followed, list[str]]:
    """Return what batch rules let be of a solution, and what they said against it.

    If greedy placement of what the solver left is to blame, it is left; else the classes that a
    rule names are taken out, with the gangs they belong to.
    """
    model, said = prepared.model, list[str]()
    leash = Leash()
    while True:
        followed = follow(model, solution, prepared.framework, prepared.snapshot, leash)
        if not prepared.rules:
            return followed, said
        plan = counted(prepared.batch.hosts, followed.rows)
        found = [
            (f"{rule.name}: {complaint.said}", complaint.classes)
            for rule in prepared.rules
            for complaint in rule.check(prepared.batch, plan)
        ]
        if not found:
            return followed, said
        if solution is not None and not leash.exactly:
            leash = replace(leash, exactly=True)
            continue
        said += [message for message, _ in found]
        if len(leash.out) == len(model.demands):
            return followed, said
        named = frozenset(c for _, classes in found for c in classes)
        whole = any(not classes for _, classes in found) or named <= leash.out
        gone = frozenset(range(len(model.demands))) if whole else _with_gangs(model, named)
        leash = replace(leash, out=leash.out | gone)


def _with_gangs(model: Model, classes: frozenset[int]) -> frozenset[int]:
    pods = [each.pod for each in model.demands]
    gangs = {(pods[c].namespace, pods[c].group) for c in classes if pods[c].group}
    more = [c for c, pod in enumerate(pods) if (pod.namespace, pod.group) in gangs]
    return classes | frozenset(more)


def counted(chosen: Rows, rows: Sequence[Rows]) -> BatchPlan:
    """Return a plan as batch rules see it.

    Args:
        chosen: (H,) rows of the hosts.
        rows: by class, one a copy.
    """
    nothing = np.zeros(0, dtype=np.int64)
    parts = [np.unique(_hosts(chosen, mine), return_counts=True) for mine in rows]
    classes = [np.full(hosts.size, c, dtype=np.int64) for c, (hosts, _) in enumerate(parts)]
    return BatchPlan(
        np.concatenate([nothing, *classes]),
        np.concatenate([nothing, *(hosts for hosts, _ in parts)]),
        np.concatenate([nothing, *(copies for _, copies in parts)]),
        chosen.size,
    )


def _hosts(chosen: Rows, rows: Rows) -> Rows:
    """Return which of the hosts rows of the snapshot are."""
    return np.searchsorted(chosen, rows).astype(np.int64)


def _all_placed(prepared: Prepared, followed: Followed) -> bool:
    pairs = zip(prepared.members, followed.rows, strict=True)
    return all(len(members) == rows.size for members, rows in pairs)


def _allotments(prepared: Prepared, followed: Followed) -> Iterable[Allotment]:
    for demand, members, rows, last in zip(
        prepared.model.demands, prepared.members, followed.rows, followed.decisions, strict=True
    ):
        placed = rows.size
        yield Allotment(
            demand.pod,
            members[:placed],
            prepared.snapshot.names(rows),
            members[placed:],
            Decision(
                demand.pod,
                len(members),
                rows,
                diagnosis=last.diagnosis if last is not None else None,
                nodes=prepared.snapshot.size,
            ),
        )


def _unplaced(allotments: Sequence[Allotment], broken: set[int]) -> Iterator[Unplaced]:
    for number, allotment in enumerate(allotments):
        left: Sequence[PendingPod] = allotment.left
        if number in broken:
            left = (*allotment.pods, *left)
        if left:
            diagnosis = allotment.decision.diagnosis
            gang = f"PodGroup {allotment.pod.group} does not come together"
            reason = diagnosis.message if diagnosis else gang if allotment.pod.group else ""
            yield Unplaced(f"{left[0].key.namespace}/{left[0].key.name}", len(left), reason)


def _report(prepared: Prepared, solution: Solution | None, rows: Sequence[Rows]) -> SolverReport:
    """Hold what was proved against what is reached."""
    values = _values(prepared, rows)
    if solution is None:
        told = _unproved(prepared, rows)
        reason = "the solver did not answer in time; placed greedily"
        return SolverReport(str(Status.UNKNOWN), "", told, "", reason)
    solved = [
        replace(goal, name=name) for goal, name in zip(solution.goals, prepared.names, strict=True)
    ]
    goals = list(held(solved, values))
    status = solution.status
    if status is not Status.INFEASIBLE:
        proved = all(goal is not None and goal.proved for goal in goals)
        status = Status.OPTIMAL if proved else Status.FEASIBLE
    seconds = f"{sum(solution.seconds.values()):.2f}"
    told = tuple(
        as_text(goal) if goal else Reached(asked.name, decimal_text(value), "", "")
        for goal, asked, value in zip(goals, solved, values, strict=True)
    )
    reason = "; ".join(filter(None, (_said(solution), *prepared.vouched)))
    return SolverReport(str(status), "", told, seconds, reason)


def _values(prepared: Prepared, rows: Sequence[Rows]) -> list[float]:
    problem = prepared.model.problem
    nodes = [_hosts(prepared.model.rows, mine) for mine in rows]
    return [value_of(each, problem, nodes) for each in problem.objectives]


def _unproved(prepared: Prepared, rows: Sequence[Rows]) -> tuple[Reached, ...]:
    """Return what a plan reaches, without any bound."""
    pairs = zip(prepared.names, _values(prepared, rows), strict=True)
    return tuple([Reached(name, decimal_text(value), "", "") for name, value in pairs])


def _said(solution: Solution) -> str:
    """Return the solver's reason, which is about a plan of its own where there is another."""
    if solution.status is Status.UNKNOWN:
        return f"placed greedily; the solver had no such plan: {solution.reason}"
    return solution.reason
