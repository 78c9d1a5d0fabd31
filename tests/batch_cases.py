"""Placements that tests settle without a service."""

import msgspec
import numpy as np

from scheduler.objects.meta import ObjectMeta
from scheduler.objects.placement_job import PlacementJob, PlacementSpec, PlacementStatus
from scheduler.objects.stored import Body, StoredObject
from scheduler.placement.batch.outcome import settle
from scheduler.placement.batch.preparation import prepare
from scheduler.placement.scenario import read_scenario
from scheduler.placement.solver.engine import Options, solve
from scheduler.plugin_manager import PluginManager
from scheduler.profile import PACKING
from tests.placement_cases import spec


def host(name, cpu="8", **labels):
    """Return a Node."""
    offer = {"cpu": cpu, "memory": "32Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": name, **labels}
    return {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": offer}}


def template(name, count, *, labels=None, image="i", **fields):
    """Return copies of a pod, labelled with their name so that they are a class."""
    body = spec(**fields)
    body["containers"][0]["image"] = image
    return {
        "name": name,
        "count": count,
        "template": {"metadata": {"labels": labels or {"app": name}}, "spec": body},
    }


def job(*templates, objective=({"place": "count"}, {"hosts": "fewest"}), **more):
    """Return a Placement of templates."""
    asked = {"pods": {"templates": list(templates)}, "objective": list(objective), **more}
    meta = ObjectMeta(name="p", namespace="default", uid="uid-p")
    return PlacementJob(
        meta,
        msgspec.json.decode(msgspec.json.encode(asked), type=PlacementSpec),
        PlacementStatus(),
        StoredObject("placements.ironfree.dev", meta, 1, 1, Body(b"{}")),
    )


def rules(*plugins, profile=PACKING):
    """Return the default rules with those of further plugins."""
    manager = PluginManager.load()
    for number, plugin in enumerate(plugins):
        manager.register(plugin, f"plugin-{number}")
    manager.collect()
    return manager.rules(profile)


def prepared(placement, hosts, given, pods=()):
    """Return (what a Placement asks, its cluster)."""
    cluster = read_scenario({"nodes": list(hosts), "pods": list(pods)})
    return prepare(placement, cluster, given), cluster


def settled(placement, hosts, given, pods=()):
    """Solve a Placement; return its outcome."""
    asked, cluster = prepared(placement, hosts, given, pods)
    return settle(asked, solve(asked.model.problem, Options(seconds=10.0)), cluster.state)


def where(outcome):
    """Return node → pods of an outcome, in the order of names."""
    found = {}
    for each in outcome.assignments():
        found.setdefault(each.node, []).append(each.pod.partition("/")[2])
    return {node: sorted(pods) for node, pods in found.items()}


def per_host(prepared, row):
    """Return a (H,) array from host name → number."""
    names = prepared.snapshot.names(prepared.hosts)
    return np.array([row.get(name, 0) for name in names], dtype=np.float64)
