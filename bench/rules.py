"""Decisions a second by the shape of the pods, as kube-scheduler's scheduler_perf shapes them.

    make bench-rules [ARGS="--seconds 2"]

One process, no database: how many copies of one class the default profile places, in one decision
of a thousand copies and in decisions of one copy, on nodes in ten zones that run ten thousand pods
of a hundred classes already. The full path is `make bench-reach`'s.
"""

import argparse

import msgspec
from rich.console import Console
from rich.table import Table

from scheduler.objects.json import Json, JsonObject
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.node import Node, NodeSpec, NodeStatus
from scheduler.objects.pod import Pod, PodSpec, PodStatus
from scheduler.objects.pod_class import PodClass, pod_class
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from scheduler.placement.state import ClusterState
from scheduler.plugin_manager import PluginManager
from scheduler.profile import PACKING
from scheduler.snapshot import Snapshot

from .placement import rate

NODES = (1000, 5000, 15000)
ZONES = 10
COPIES = 1000
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"


def a_class(labels: dict[str, str], **fields: Json) -> PodClass:
    """Return a class of pods that ask for 100m and 500Mi."""
    container: JsonObject = {
        "name": "c",
        "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}},
    }
    spec = msgspec.convert({"containers": [container], **fields}, PodSpec)
    meta = ObjectMeta(name="p", namespace="default", labels=labels)
    return pod_class(Pod(meta, spec, PodStatus(), "", 0, b""))


def near(kind: str, key: str) -> JsonObject:
    """Return a required term about the pods with label app=it, themselves included."""
    term: JsonObject = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "it"}}}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def preferred(kind: str, key: str) -> JsonObject:
    """Return the same as a preference."""
    term: JsonObject = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "it"}}}
    weighted: JsonObject = {"weight": 1, "podAffinityTerm": term}
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}


def spread(key: str, when: str) -> JsonObject:
    """Return a constraint over the pods with label app=it."""
    selector: JsonObject = {"matchLabels": {"app": "it"}}
    return {"maxSkew": 5, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector}


def shapes() -> dict[str, PodClass]:
    """Return the classes by name."""
    it = {"app": "it"}
    zones: JsonObject = {"key": ZONE, "operator": "In", "values": ["z1", "z2"]}
    required: JsonObject = {"nodeSelectorTerms": [{"matchExpressions": [zones]}]}
    liked: JsonObject = {"weight": 1, "preference": {"matchExpressions": [zones]}}
    hard, soft = "DoNotSchedule", "ScheduleAnyway"
    must, may = (f"{w}DuringSchedulingIgnoredDuringExecution" for w in ("required", "preferred"))
    pinned: JsonObject = {"key": "metadata.name", "operator": "In", "values": ["n7"]}
    return {
        "basic": a_class(it),
        "node affinity": a_class(it, affinity={"nodeAffinity": {must: required}}),
        "preferred node affinity": a_class(it, affinity={"nodeAffinity": {may: [liked]}}),
        "zone spread": a_class(it, topologySpreadConstraints=[spread(ZONE, hard)]),
        "preferred zone spread": a_class(it, topologySpreadConstraints=[spread(ZONE, soft)]),
        "zone affinity": a_class(it, affinity=near("podAffinity", ZONE)),
        "host anti-affinity": a_class(it, affinity=near("podAntiAffinity", HOST)),
        "preferred zone affinity": a_class(it, affinity=preferred("podAffinity", ZONE)),
        "preferred host anti-affinity": a_class(it, affinity=preferred("podAntiAffinity", HOST)),
        "pinned to one node": a_class(
            it,
            affinity={"nodeAffinity": {must: {"nodeSelectorTerms": [{"matchFields": [pinned]}]}}},
        ),
    }


def a_cluster(nodes: int) -> Snapshot:
    """Return nodes in zones with ten thousand pods."""
    state = ClusterState()
    offer: dict[str, str | int | float] = {"cpu": "64", "memory": "512Gi", "pods": "500"}
    for number in range(nodes):
        labels = {HOST: f"n{number}", ZONE: f"z{number % ZONES}"}
        meta = ObjectMeta(name=f"n{number}", labels=labels)
        state.set_node(Node(meta, NodeSpec(), NodeStatus(capacity=offer, allocatable=offer), 1))
    for number in range(100):
        there = a_class({"app": f"a{number}"})
        places = ((f"{number}-{i}", f"n{(number * 37 + i * 11) % nodes}") for i in range(100))
        state.assume(there, places)
    return state.freeze(1)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="per figure")
    seconds: float = parser.parse_args().seconds
    rules = PluginManager.load().rules(PACKING)
    framework = Framework(rules.filters, rules.scorers)
    table = Table(title=f"decisions a second: {COPIES:,} copies at once · one at a time")
    table.add_column("shape")
    for nodes in NODES:
        table.add_column(f"{nodes:,} nodes", justify="right")
    clusters = [a_cluster(nodes) for nodes in NODES]
    for name, wanted in shapes().items():
        cells: list[str] = []
        for snapshot in clusters:
            figures: list[str] = []
            for copies in (COPIES, 1):

                def run(many: int = copies, on: Snapshot = snapshot, pod: PodClass = wanted) -> int:
                    return framework.decide(pod, many, Draft(on)).rows.size

                figures.append(f"{rate(copies, seconds, run):,.0f}")
            cells.append(" · ".join(figures))
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
