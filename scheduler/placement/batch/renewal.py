"""Holds a plan against the cluster as it is now, before it is committed.

Pure. Solving takes seconds, in which pods go, hosts are lost and others bind. What still holds is
committed, from the newest state; where something does not, the Placement is solved again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...batch_terms import Batch
from ...objects.placement_job import PlacementJob
from ...objects.pod_class import PodClass
from ...plugin_manager import Rules
from ...snapshot import Counts, Snapshot
from ..checker import check
from ..plan import Allotment, Plan
from ..scenario import Scenario
from .following import framework_for, hold
from .judging import counted
from .outcome import Outcome
from .preparation import hosts_of, least_members
from .turns import in_turns


@dataclass(frozen=True, slots=True)
class Renewed:
    """What became of a plan.

    Args:
        outcome: with the plan on the newest state, without pods that need no node any more; None
            if it does not hold.
        why: it does not hold, or "".
    """

    outcome: Outcome | None
    why: str = ""


def renew(job: PlacementJob, outcome: Outcome, cluster: Scenario, rules: Rules) -> Renewed:
    """Return a plan as it is to be applied to the cluster.

    Raises:
        BadRequest: none of the hosts is left.
        PluginError: a filter or a batch rule failed.
    """
    snapshot = cluster.state.freeze(cluster.revision)
    waiting = {pod.uid: pod.wanted for pod in cluster.pending}
    allotments = tuple([_still_waiting(each, waiting) for each in outcome.plan.allotments])
    plan = Plan(snapshot.revision, allotments)
    turns = in_turns(outcome.plan.allotments, outcome.turns)
    placed = tuple([_still_waiting(each, waiting) for each in turns])
    why = next(_objections(job, Plan(snapshot.revision, placed), snapshot, cluster, rules), "")
    if why:
        return Renewed(None, why)
    gone = outcome.placed - sum(len(each.pods) for each in allotments)
    said = outcome.violations
    if gone:
        said = (*said, f"pods that were deleted, bound or changed meanwhile: {gone}")
    left = tuple([(each.pod, len(each.pods)) for each in placed])
    renewed = replace(outcome, plan=plan, violations=said, turns=left)
    return Renewed(replace(renewed, placed=outcome.placed - gone))


def _still_waiting(allotment: Allotment, waiting: Mapping[str, PodClass]) -> Allotment:
    """Return an allotment without pods that were deleted, bound by others, or changed."""
    pairs = [
        (pod, node)
        for pod, node in zip(allotment.pods, allotment.nodes, strict=True)
        if waiting.get(pod.uid) == allotment.pod
    ]
    return replace(allotment, pods=[p for p, _ in pairs], nodes=tuple([n for _, n in pairs]))


def _objections(
    job: PlacementJob, plan: Plan, snapshot: Snapshot, cluster: Scenario, rules: Rules
) -> Iterator[str]:
    """Yield what is wrong with a plan by the rules, the batch rules and the checker.

    Args:
        plan: its allotments in the order in which their pods come; classes may have several.
    """
    hosts = hosts_of(job, snapshot)
    wanted: list[Counts] = []
    for each in plan.allotments:
        lost = [node for node in each.nodes if node not in snapshot.row_of]
        if lost:
            yield f"node {lost[0]!r} is gone"
            return
        rows = np.array([snapshot.row_of[node] for node in each.nodes], dtype=np.int64)
        wanted.append(np.bincount(rows, minlength=snapshot.size).astype(np.int64))
    framework = framework_for(rules.filters, rules.scorers, snapshot, hosts)
    pods = [each.pod for each in plan.allotments]
    for each, left in zip(plan.allotments, hold(pods, wanted, framework, snapshot), strict=True):
        if left.any():
            node = snapshot.nodes[int(np.argmax(left))].name
            name = each.pods[0].key.name
            yield f"node {node!r} does not take all of the pods like {name!r} any more"
    by_class: dict[PodClass, Counts] = {}
    for pod, copies in zip(pods, wanted, strict=True):
        by_class[pod] = by_class.get(pod, np.zeros_like(copies)) + copies
    count = np.array([int(copies.sum()) for copies in by_class.values()], dtype=np.int64)
    batch = Batch(snapshot, hosts, tuple(by_class), count)
    placed = counted(hosts, [np.repeat(snapshot.all_rows, each) for each in by_class.values()])
    for rule in rules.batch:
        for complaint in rule.check(batch, placed):
            yield f"{rule.name}: {complaint.said}"
    least = least_members(cluster)
    for violation in check(plan, snapshot, cluster.state, least, ignores=framework.ignores):
        yield violation.message
