"""Clusters that tests of rebalancing start from, and what becomes of a plan."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from scheduler.objects.meta import OwnerReference
from scheduler.objects.pod import Condition
from scheduler.objects.pod_class import pod_class
from scheduler.objects.stored import ObjectKey
from scheduler.placement.rebalance.floor import Floor
from scheduler.placement.rebalance.movability import Scope
from scheduler.placement.rebalance.plan import Aim
from scheduler.placement.rebalance.planner import plan
from scheduler.placement.scenario import Scenario, ScenarioPod
from scheduler.placement.solver.engine import Options, solve
from tests.placement_cases import default_framework, node, pod

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FILTERS = default_framework().filters


def host(name, cpu="4", **more):
    labels = {"kubernetes.io/hostname": name, **more.pop("labels", {})}
    return node(name, cpu=cpu, labels=labels, **more)


def member(name, on, *, owner="ReplicationController", ready=True, annotations=None, **fields):
    """Return a running pod of a controller, ready to be moved."""
    made = pod(name, node=on, **fields)
    owners = (OwnerReference("v1", owner, "web", "uid-web", controller=True),) if owner else ()
    meta = msgspec.structs.replace(
        made.meta, owner_references=owners, annotations=annotations or {}, creation_timestamp=NOW
    )
    conditions = (Condition("Ready", "True" if ready else "False"),)
    status = msgspec.structs.replace(made.status, phase="Running", conditions=conditions)
    return msgspec.structs.replace(made, meta=meta, status=status)


def scenario(*nodes, pods=(), budgets=()):
    """Return the cluster of nodes and pods; those without a node wait."""
    made = Scenario(budgets={("default", str(n)): each for n, each in enumerate(budgets)})
    for each in nodes:
        made.state.set_node(each)
    for each in pods:
        key = ObjectKey("pods", each.meta.namespace, each.meta.name)
        known = ScenarioPod(key, each, pod_class(each))
        if each.node:
            made.run(known, each.node)
        else:
            made.wait(known)
    return made


def planned(cluster, aim=None, scope=None, filters=FILTERS, solver=True, batch=()):
    """Return the plan for a scenario, the solver asked in this process."""
    floor = Floor(cluster, filters, scope or Scope(), batch)
    planning = plan(floor, aim or Aim())
    answer = None
    try:
        while True:
            question = planning.send(answer)
            answer = solve(question.problem, Options(seconds=2.0)) if solver else None
    except StopIteration as done:
        return done.value


def apply(cluster, made):
    """Move the pods of a plan in a scenario."""
    for move in made.moves:
        there = cluster.bound[move.uid]
        assert there.pod.node == move.source
        cluster.stop(move.uid, move.source)
        moved = replace(there, pod=msgspec.structs.replace(there.pod, node=move.target))
        cluster.run(moved, move.target)


def used(cluster):
    """Return the names of nodes that have pods."""
    return {name for name, pods in cluster.running.items() if pods}
