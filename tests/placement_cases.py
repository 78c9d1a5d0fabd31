"""Nodes, pods and clusters that tests of placement are made of."""

import hashlib
import itertools
from dataclasses import replace

import msgspec
import numpy as np

from scheduler.objects.meta import ObjectMeta
from scheduler.objects.node import ContainerImage, Node, NodeSpec, NodeStatus, Taint
from scheduler.objects.pod import Condition, Pod, PodSpec, PodStatus
from scheduler.objects.pod_class import PodClass, pod_class
from scheduler.objects.stored import ObjectKey
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Decision, Framework
from scheduler.placement.inspection import inspect
from scheduler.placement.plan import Allotment, PendingPod
from scheduler.placement.state import ClusterState
from scheduler.plugin_manager import PluginManager
from scheduler.profile import PACKING, Profile, by_name, read_profiles

_numbers = itertools.count()


def node(name, *, cpu="4", memory="8Gi", pods="110", labels=None, taints=(), **more):
    """Return a ready node.

    `more` is unschedulable, images, annotations or further resources by name.
    """
    unschedulable = more.pop("unschedulable", False)
    images = more.pop("images", {})
    annotations = more.pop("annotations", {})
    ready = more.pop("ready", "True")
    offer = {"cpu": cpu, "memory": memory, "pods": pods}
    offer |= {key.replace("__", "/"): value for key, value in more.items()}
    return Node(
        meta=ObjectMeta(name=name, uid=f"uid-{name}", labels=labels or {}, annotations=annotations),
        spec=NodeSpec(unschedulable=unschedulable, taints=tuple(Taint(*t) for t in taints)),
        status=NodeStatus(
            capacity=offer,
            allocatable=offer,
            conditions=(Condition("Ready", ready),),
            images=tuple(ContainerImage((image,), size) for image, size in images.items()),
        ),
        revision=1,
    )


def spec(*, cpu=None, memory=None, port=None, **more):
    """Return a pod spec of one container; `more` is JSON of further spec fields."""
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v is not None}
    requests |= more.pop("requests", {})
    container = {"name": "c", "image": "i", "resources": {"requests": requests}}
    if port is not None:
        container["ports"] = [{"containerPort": 80, "hostPort": port}]
    return {"containers": [container], **more}


def pod(
    name="", *, node="", namespace="default", labels=None, phase="Pending", json=None, **fields
):
    """Return a pod; `json` is its spec, or `fields` go to `spec`."""
    body = json or spec(**fields)
    name = name or f"pod-{next(_numbers)}"
    encoded = msgspec.json.encode(body, order="sorted")
    return Pod(
        meta=ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}", labels=labels or {}),
        spec=msgspec.convert(body, PodSpec),
        status=PodStatus(phase=phase),
        node=node,
        revision=1,
        digest=hashlib.blake2b(encoded, digest_size=16).digest(),
    )


def a_class(**fields) -> PodClass:
    """Return the class of pods with that spec."""
    return pod_class(pod(**fields))


def cluster(*nodes, pods=()) -> ClusterState:
    """Return a state of nodes and bound pods."""
    state = ClusterState()
    for each in nodes:
        state.set_node(each)
    for each in pods:
        state.set_pod(each.meta.uid, pod_class(each), each.node)
    return state


def by_strategy(strategy) -> Profile:
    """Return the packing profile with another scoring strategy of NodeResourcesFit."""
    fit = {"scoringStrategy": {"type": strategy}}
    return replace(PACKING, args={**PACKING.args, "NodeResourcesFit": fit})


def every_rule():
    """Return the installed plugins' rules by schedulerName, as the service has them."""
    plugins = PluginManager.load()
    return {name: plugins.rules(profile) for name, profile in by_name().items()}


def ignoring(*resources):
    """Return the default profile, by which nodes may be asked for more of these than they have."""
    config = [{"name": "NodeResourcesFit", "args": {"ignoredResources": list(resources)}}]
    kind = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    (found,) = read_profiles({**kind, "profiles": [{"pluginConfig": config}]})
    return found


def default_framework(profile=PACKING) -> Framework:
    """Return the framework with the installed plugins."""
    rules = PluginManager.load().rules(profile)
    return Framework(rules.filters, rules.scorers)


def decide(state, wanted, count=1, *, framework=None):
    """Return (chosen node names, decision) for copies of a class."""
    snapshot = state.freeze(1)
    decision = (framework or default_framework()).decide(wanted, count, Draft(snapshot))
    return list(snapshot.names(decision.rows)), decision


def allotment(number, wanted, names):
    """Return what gives nodes by name to waiting pods of a class; `number` tells pods apart."""
    pods = tuple(
        PendingPod(ObjectKey("pods", "default", f"{number}-{i}"), f"{number}-{i}")
        for i in range(len(names))
    )
    decision = Decision(wanted, len(names), np.zeros(0, dtype=np.int64))
    return Allotment(wanted, pods, tuple(names), (), decision)


def everywhere(size):
    """Return zeros for every one of `size` rows."""
    return np.zeros(size, dtype=np.int64)


def verdicts(rule, wanted, *nodes, pods=()):
    """Return what one rule, and no other, says of each node: name → NodeVerdict."""
    filters = [rule] if hasattr(rule, "filter") else []
    scorers = [rule] if hasattr(rule, "score") else []
    found = inspect(wanted, cluster(*nodes, pods=pods).freeze(1), filters, scorers)
    assert not found.failures, found.failures
    return {verdict.name: verdict for verdict in found.verdicts()}


def rated(rule, wanted, *nodes, pods=()):
    """Return the rule's 0-100 by node, None for a feasible node it has no opinion of."""
    return {
        name: dict(verdict.scores).get(rule.name)
        for name, verdict in verdicts(rule, wanted, *nodes, pods=pods).items()
        if verdict.feasible
    }


def refused(rule, wanted, *nodes, pods=()):
    """Return the reasons, and whether removing pods could help, by node that the rule rejects."""
    return {
        name: (list(verdict.reasons), verdict.resolvable)
        for name, verdict in verdicts(rule, wanted, *nodes, pods=pods).items()
        if not verdict.feasible
    }
