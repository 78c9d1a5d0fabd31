"""Pods with affinity, and what InterPodAffinity says of them."""

import numpy as np
from ironfree_defaults.inter_pod_affinity import InterPodAffinity

from tests.placement_cases import a_class, cluster, node, pod, spec

RULE = InterPodAffinity()
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI = "node(s) didn't match pod anti-affinity rules"
OTHERS = "node(s) didn't satisfy existing pods anti-affinity rules"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
OK = None
TEAM = {"matchLabels": {"team": "one"}}
NAMESPACES = {"default": {}, "one": {"team": "one"}, "two": {"team": "two"}}


def term(selector=None, key="zone", **more):
    """Return a PodAffinityTerm; text "k=v" selects by one label, a dict is the selector itself."""
    if isinstance(selector, str):
        name, value = selector.split("=")
        selector = {"matchLabels": {name: value}}
    found = {"topologyKey": key, **more}
    return found if selector is None else {**found, "labelSelector": selector}


def affinity(*, near=(), far=(), liked=(), disliked=()):
    """Return spec.affinity; liked and disliked are (weight, term)."""

    def kind(required, preferred):
        weighted = [{"weight": w, "podAffinityTerm": t} for w, t in preferred]
        return {REQUIRED: list(required), PREFERRED: weighted}

    found = {}
    if near or liked:
        found["podAffinity"] = kind(near, liked)
    if far or disliked:
        found["podAntiAffinity"] = kind(far, disliked)
    return found


def wants(labels=None, namespace="default", **kinds):
    return a_class(labels=labels, namespace=namespace, json=spec(affinity=affinity(**kinds)))


def runs(on, labels=None, namespace="default", **kinds):
    body = spec(affinity=affinity(**kinds)) if kinds else spec()
    return pod(node=on, labels=labels, namespace=namespace, json=body)


def zones(*values):
    """Return nodes n0, n1, … with a zone each (None: without one) and their own name."""
    return [
        node(f"n{i}", labels={"host": f"n{i}"} | ({"zone": zone} if zone else {}))
        for i, zone in enumerate(values)
    ]


def a_snapshot(nodes, pods=(), namespaces=None):
    state = cluster(*nodes, pods=pods)
    for name, labels in (namespaces or {}).items():
        state.set_namespace(name, labels)
    return state.freeze(1)


def reasons(wanted, nodes, pods=(), namespaces=None):
    """Return, node by node, why the pod may not run there, None if it may."""
    snapshot = a_snapshot(nodes, pods, namespaces)
    return explained(RULE.filter(wanted, snapshot), snapshot.size)


def explained(verdict, size):
    found = [None] * size
    if verdict is None:
        return found
    if isinstance(verdict.because, str):
        return [None if room else verdict.because for room in verdict.room.tolist()]
    for rejection in verdict.because():
        assert rejection.resolvable == (rejection.reason != AFFINITY)
        for row in np.flatnonzero(rejection.nodes).tolist():
            assert found[row] is None
            found[row] = rejection.reason
    assert [reason is None for reason in found] == (verdict.room > 0).tolist()
    return found


WEB, DB = {"app": "web"}, {"app": "db"}
TWO = ("a", "a", "b")
