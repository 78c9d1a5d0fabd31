"""Placements for which running pods may make room, settled without a service."""

from scheduler.placement.batch.attempt import make_room
from scheduler.placement.batch.clearance import Ground
from scheduler.placement.batch.outcome import settle
from scheduler.placement.batch.preparation import prepare, scope_of
from scheduler.placement.scenario import read_scenario
from scheduler.placement.solver.engine import Options, solve
from tests.batch_cases import host as silent_host
from tests.batch_cases import job as placement_job
from tests.batch_cases import rules

RULES = rules()
COUNT = ({"place": "count"},)


def host(name, cpu):
    """Return a Node that is ready."""
    made = silent_host(name, cpu)
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return made


def running(name, node, cpu="2", *, owner=True, ready=True, app="web", **fields):
    """Return a pod that runs, of a ReplicationController unless it has no owner."""
    resources = {"requests": {"cpu": cpu, "memory": "16Mi"}}
    meta = {"name": name, "labels": {"app": app}, **fields.pop("meta", {})}
    if owner:
        meta["ownerReferences"] = [
            {
                "apiVersion": "v1",
                "kind": "ReplicationController",
                "name": "web",
                "uid": "u",
                "controller": True,
            }
        ]
    spec = {
        "schedulerName": "default-scheduler",
        "nodeName": node,
        "containers": [{"name": "c", "image": "i", "resources": resources}],
        **fields,
    }
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": meta, "spec": spec, "status": {"conditions": conditions}}


def budget(allowed, app="web"):
    return {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    }


def job(*templates, **fields):
    return placement_job(*templates, profile="default-scheduler", **fields)


def tried(placement, hosts, pods, limits, **more):
    """Return the outcome of a Placement where running pods may make room."""
    cluster = read_scenario({"nodes": list(hosts), "pods": list(pods), **more})
    asked = prepare(placement, cluster, RULES)
    before = settle(asked, solve(asked.model.problem, Options(seconds=5.0)), cluster.state)
    ground = Ground(cluster, RULES, limits, scope_of(placement))
    making = make_room(asked, before, ground)
    answer = None
    try:
        while True:
            problem = making.send(answer)
            answer = solve(problem, Options(seconds=5.0))
    except StopIteration as done:
        return done.value
