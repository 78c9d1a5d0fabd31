"""What a Placement came to: the plan as it may be applied, and what is proved of it.

Pure. The solver's words are about its numbers; here they are held against what the rules let be.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...objects.placement_job import MOST_UNPLACED, Reached, SolverReport, Unplaced
from ...objects.pod_class import PodClass
from ...snapshot import Rows
from ...store.assignments import Assignment
from ..checker import Counted, check
from ..framework import Decision
from ..plan import Allotment, Plan
from ..scenario import Scenario
from ..solver.objectives import Placed
from ..solver.solution import Goal, Solution, Status
from .clearance import Clearance
from .following import Followed
from .judging import Judged, among, counted, judge
from .preparation import Prepared
from .turns import Turn, in_turns
from .valuing import as_text, beaten, decimal_text, held, value_of

_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """A plan that passed the checker.

    Args:
        solver: what is proved of it.
        hosts_used: nodes that it puts pods on.
        unplaced: classes with pods left, at most MOST_UNPLACED.
        violations: what batch rules and the checker found, by which classes were left out; of
            the checker's, each is a bug.
        clearance: who makes room before the plan is applied.
        turns: in which order its pods can come one after another.
    """

    plan: Plan
    solver: SolverReport
    placed: int
    hosts_used: int
    unplaced: tuple[Unplaced, ...]
    violations: tuple[str, ...]
    clearance: Clearance | None = None
    turns: tuple[Turn, ...] = ()

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
    judged = judge(prepared, solution)
    followed = judged.followed
    refused = _refused(prepared, followed, bound)
    counts = zip(prepared.model.demands, followed.rows, strict=True)
    most = sum(rows.size for demand, rows in counts if demand.pod not in refused)
    nobody = _nobody(prepared, solution, most)
    nothing = np.zeros(0, dtype=np.int64)
    rows = tuple(
        [
            nothing if nobody or demand.pod in refused else mine
            for demand, mine in zip(prepared.model.demands, followed.rows, strict=True)
        ]
    )
    allotments = tuple(_allotments(prepared, replace(followed, rows=rows)))
    whys = _whys(prepared, judged, refused, nobody)
    return Outcome(
        Plan(prepared.snapshot.revision, allotments),
        _report(prepared, solution, rows, nobody),
        sum(each.size for each in rows),
        _hosts_used(rows),
        tuple(_unplaced(allotments, whys))[:MOST_UNPLACED],
        (*dict.fromkeys((*judged.said, *refused.values())),),
        turns=followed.turns,
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
    turns = tuple(in_turns(plan.allotments, followed.turns))
    one_by_one = Plan(plan.revision, turns)
    bound, groups, ignores = cluster.state, prepared.groups, prepared.framework.ignores
    found = check(one_by_one, snapshot, bound, groups, ignores=ignores)
    said = [each.message for each in found]
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
        tuple(_unplaced(plan.allotments, {}))[:MOST_UNPLACED],
        before.violations,
        clearance,
        followed.turns,
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
    best = total
    if bound is not None and not beaten(value, bound, maximised=True):
        best = max(value, min(total, bound))
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


def _refused(prepared: Prepared, followed: Followed, bound: Counted) -> dict[PodClass, str]:
    """Return the classes that the checker takes out until nothing is wrong, and why."""
    refused: dict[PodClass, str] = {}
    allotments = list(_allotments(prepared, followed))
    while True:
        kept = (each for each in allotments if each.pod not in refused)
        plan = Plan(prepared.snapshot.revision, tuple(in_turns(kept, followed.turns)))
        found = check(
            plan, prepared.snapshot, bound, prepared.groups, ignores=prepared.framework.ignores
        )
        if not found:
            return refused
        for each in found:
            refused.setdefault(plan.allotments[each.allotment].pod, each.message)


def _whys(
    prepared: Prepared, judged: Judged, refused: Mapping[PodClass, str], nobody: str
) -> dict[int, str]:
    """Return why pods of a demand have no node, where that is not up to the filters alone.

    Args:
        nobody: why nobody is placed, "" if somebody may be.
    """
    whys = {c: f"taken out by {why}" for c, why in judged.whys.items()}
    followed = judged.followed
    for c, demand in enumerate(prepared.model.demands):
        last = followed.decisions[c]
        if demand.pod in refused:
            whys[c] = f"refused by the checker: {refused[demand.pod]}"
        elif nobody and followed.rows[c].size == demand.count:
            whys[c] = nobody
        elif judged.strict and c not in whys and (last is None or last.diagnosis is None):
            whys[c] = f"more than the solver has placed would break {judged.strict}"
    return whys


def _unplaced(allotments: Sequence[Allotment], whys: Mapping[int, str]) -> Iterator[Unplaced]:
    for c, allotment in enumerate(allotments):
        left = allotment.left
        if left:
            diagnosis = allotment.decision.diagnosis
            gang = f"PodGroup {allotment.pod.group} does not come together"
            told = diagnosis.message if diagnosis else gang if allotment.pod.group else ""
            name = f"{left[0].key.namespace}/{left[0].key.name}"
            yield Unplaced(name, len(left), whys.get(c, told))


def _nobody(prepared: Prepared, solution: Solution | None, most: int) -> str:
    """Return why nobody is placed, "" if somebody may be.

    Args:
        most: pods that have a place by the rules.
    """
    if solution is not None and solution.status is Status.INFEASIBLE:
        return f"nobody is placed: {solution.reason}"
    if prepared.model.problem.require_all and most < prepared.pods:
        return (
            f"nobody is placed unless all are: {most} of {prepared.pods} pods have a place by the "
            "rules"
        )
    return ""


def _report(
    prepared: Prepared, solution: Solution | None, rows: Sequence[Rows], nobody: str
) -> SolverReport:
    """Hold what was proved against what is reached.

    Args:
        nobody: why nobody is placed, "" if somebody may be.
    """
    if solution is None:
        late = "the solver did not answer in time; placed greedily"
        reason = "; ".join(filter(None, (late, nobody)))
        return SolverReport(str(Status.UNKNOWN), "", _unproved(prepared, rows), "", reason)
    seconds = f"{sum(solution.seconds.values()):.2f}"
    if nobody:  # what is proved of plans says nothing of none
        known = solution.status in (Status.INFEASIBLE, Status.UNKNOWN)
        status = solution.status if known else Status.UNKNOWN
        reason = solution.reason if known else nobody
        return SolverReport(str(status), "", _unproved(prepared, rows), seconds, reason)
    values = _values(prepared, rows)
    solved = [
        replace(goal, name=name) for goal, name in zip(solution.goals, prepared.names, strict=True)
    ]
    goals = list(held(solved, values))
    proved = all(goal is not None and goal.proved for goal in goals)
    status = Status.OPTIMAL if proved else Status.FEASIBLE
    told = tuple(
        as_text(goal) if goal else Reached(asked.name, decimal_text(value), "", "")
        for goal, asked, value in zip(goals, solved, values, strict=True)
    )
    reason = "; ".join(filter(None, (_said(solution), *prepared.vouched)))
    return SolverReport(str(status), "", told, seconds, reason)


def _values(prepared: Prepared, rows: Sequence[Rows]) -> list[float]:
    problem = prepared.model.problem
    nodes = [among(prepared.model.rows, mine) for mine in rows]
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
