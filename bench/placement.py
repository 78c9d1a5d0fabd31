"""How fast the fast path decides: copies of one class against nodes, default plugins.

    python bench/placement.py [--seconds S]

Prints pods per second of one process, for the greedy alone (scores given) and for whole decisions
(filters, scores, greedy, accounting), on a cluster already filled unevenly.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from scheduler.objects.meta import ObjectMeta
from scheduler.objects.node import Node, NodeSpec, NodeStatus
from scheduler.objects.pod import Container, PodSpec, ResourceRequirements
from scheduler.objects.pod_class import PodClass
from scheduler.placement.draft import Draft
from scheduler.placement.framework import Framework
from scheduler.placement.greedy import place
from scheduler.placement.state import ClusterState
from scheduler.plugin_manager import PluginManager
from scheduler.profile import PACKING
from scheduler.snapshot import Counts, Rows, Snapshot

COPIES = (1, 100, 1000)
NODES = (1000, 5000, 10000)


def a_class(number: int, cpu: str, memory: str) -> PodClass:
    requests = ResourceRequirements(requests={"cpu": cpu, "memory": memory})
    spec = PodSpec(containers=(Container("c", resources=requests),))
    return PodClass((number.to_bytes(16, "big"), "default", (), None), spec)


def a_cluster(nodes: int) -> Snapshot:
    random = np.random.default_rng(7)
    state = ClusterState()
    for number in range(nodes):
        offer: dict[str, str | int | float] = {"cpu": "64", "memory": "256Gi", "pods": "250"}
        state.set_node(
            Node(
                ObjectMeta(name=f"n{number}", labels={"kubernetes.io/hostname": f"n{number}"}),
                NodeSpec(),
                NodeStatus(capacity=offer, allocatable=offer),
                1,
            )
        )
    filler = a_class(0, "1", "2Gi")
    copies = random.integers(0, 40, nodes)
    state.assume(
        filler,
        ((f"{row}-{i}", f"n{row}") for row, many in enumerate(copies) for i in range(many)),
    )
    return state.freeze(1)


def rate(copies: int, seconds: float, run: Callable[[], int]) -> float:
    """Return pods per second; run returns how many it placed."""
    run()
    started, placed = time.perf_counter(), 0
    while (spent := time.perf_counter() - started) < seconds:
        placed += run()
    return placed / spent


def greedy_alone(snapshot: Snapshot, copies: int, seconds: float) -> float:
    free = snapshot.allocatable - snapshot.requested
    asked = np.array([500, 2**30, 0, 1])
    room: Counts = (free[[0, 1, 3]] // asked[[0, 1, 3], None]).min(axis=0)
    capacity = snapshot.allocatable[0]
    used = snapshot.requested[0]

    def score(rows: Rows, taken: Counts) -> Counts:
        return (used[rows] + 500 * (taken + 1)) * 100 // capacity[rows]

    return rate(copies, seconds, lambda: place(room, copies, score).size)


def whole_decision(framework: Framework, snapshot: Snapshot, copies: int, seconds: float) -> float:
    classes = [a_class(n, f"{250 + n}m", f"{512 + n}Mi") for n in range(1, 200)]
    draft = Draft(snapshot)
    calls = 0

    def run() -> int:
        nonlocal draft, calls
        calls += 1
        if calls % 64 == 0:  # a batch has that many classes; then a new snapshot is taken
            draft = Draft(snapshot)
        return framework.decide(classes[calls % len(classes)], copies, draft).rows.size

    return rate(copies, seconds, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="per figure")
    seconds: float = parser.parse_args().seconds
    rules = PluginManager.load().rules(PACKING)
    framework = Framework(rules.filters, rules.scorers)
    table = Table(title="pods placed per second, one process")
    table.add_column("copies at once", justify="right")
    for nodes in NODES:
        table.add_column(f"{nodes:,} nodes: greedy", justify="right")
        table.add_column("whole decision", justify="right")
    clusters = [a_cluster(nodes) for nodes in NODES]
    for copies in COPIES:
        cells: list[str] = []
        for snapshot in clusters:
            cells.append(f"{greedy_alone(snapshot, copies, seconds):,.0f}")
            cells.append(f"{whole_decision(framework, snapshot, copies, seconds):,.0f}")
        table.add_row(f"{copies:,}", *cells)
    console = Console()
    console.print(table)
    for (name, point), timing in rules.timings().items():
        calls = timing.answered.count
        mean = 1e6 * timing.answered.total / max(calls, 1)
        console.print(f"{name} {point}: {calls:,} calls, {mean:.1f} µs each")


if __name__ == "__main__":
    main()
