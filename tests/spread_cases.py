"""Nodes in zones, pods that spread, and what PodTopologySpread says of them."""

from dataclasses import replace

import numpy as np
from ironfree_defaults.pod_topology_spread import PodTopologySpread

from scheduler.objects.pod_class import SERVICES
from scheduler.objects.selectors import from_map
from tests.placement_cases import a_class, cluster, everywhere, node, pod, spec

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
SKEWED = "node(s) didn't match pod topology spread constraints"
UNLABELLED = f"{SKEWED} (missing required label)"
LIST = PodTopologySpread.from_args({"defaultingType": "List"})
SYSTEM = PodTopologySpread.from_args({})
FOO = {"matchLabels": {"foo": ""}}
BAR = {"matchLabels": {"bar": ""}}
FOO_SERVICE = from_map({"foo": ""})
PICKED = {"pick": "yes"}
HARD = [("k", "NoSchedule", "")]


def spread(key="zone", skew=1, select=FOO, when="DoNotSchedule", **more):
    """Return a constraint's JSON."""
    found = {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": when, **more}
    return found if select is None else {**found, "labelSelector": select}


def soft(key="zone", skew=1, select=FOO, **more):
    return spread(key, skew, select, "ScheduleAnyway", **more)


def wants(*constraints, labels=("foo",), namespace="default", **fields):
    """Return the class of pods with these constraints; labels have the value ""."""
    body = spec(topologySpreadConstraints=list(constraints), **fields)
    marks = labels if isinstance(labels, dict) else dict.fromkeys(labels, "")
    return a_class(json=body, labels=marks, namespace=namespace)


def at(name, zone=None, *, host=True, **more):
    """Return a node in a zone, with its own host name."""
    labels = dict(more.pop("labels", {}))
    if zone is not None:
        labels["zone"] = zone
    if host:
        labels[HOST] = name
    return node(name, labels=labels, **more)


def on(name, count=1, *labels, namespace="default"):
    """Return pods on a node, labelled foo unless told."""
    marks = dict.fromkeys(labels or ("foo",), "")
    return [pod(node=name, labels=marks, namespace=namespace) for _ in range(count)]


def four(zones=("1", "1", "2", "2")):
    """Return the nodes a, b, x, y in their zones."""
    return [at(name, zone) for name, zone in zip("abxy", zones, strict=True)]


def verdict(wanted, nodes, pods=(), rule=LIST, change=None):
    """Return node → reason and whether it is resolvable, "" where the pod may run."""
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    if change is not None:
        snapshot = change(snapshot)
    found = rule.filter(wanted, snapshot)
    answers = {each.name: "" for each in snapshot.nodes}
    if found is None:
        return answers
    for rejection in found.because():
        assert rejection.resolvable == (rejection.reason == SKEWED)
        for row in np.flatnonzero(rejection.nodes).tolist():
            assert not found.room[row]
            assert answers[snapshot.nodes[row].name] == ""
            answers[snapshot.nodes[row].name] = rejection.reason
    assert [not answers[each.name] for each in snapshot.nodes] == found.room.tolist()
    return answers


def fits(wanted, nodes, pods=(), **more):
    """Return the names of the nodes where the pod may run, as text."""
    return "".join(name for name, why in verdict(wanted, nodes, pods, **more).items() if not why)


def scored(wanted, nodes, pods=(), rule=LIST, only=None, change=None):
    """Return node → score over the nodes named; None without an opinion."""
    snapshot = cluster(*nodes, pods=pods).freeze(1)
    if change is not None:
        snapshot = change(snapshot)
    names = [each.name for each in snapshot.nodes if only is None or each.name in only]
    rows = np.array([snapshot.row_of[name] for name in names], dtype=np.int64)
    found = rule.score(wanted, snapshot, rows, everywhere(rows.size))
    if found is None:
        return None
    values = found if isinstance(found, np.ndarray) else found.scores(rows)
    return dict(zip(names, values.tolist(), strict=True))


def workloads(*services, **controllers):
    """Return a change that gives the default namespace services, and controllers by resource.

    Controllers are given as replicationcontrollers={"name": selector}.
    """
    found = {(SERVICES, str(number)): each for number, each in enumerate(services)}
    for resource, named in controllers.items():
        found |= {(resource.replace("_", "."), name): each for name, each in named.items()}
    return lambda snapshot: replace(snapshot, workloads={"default": found})
