"""What waiting costs: the scheduling queue with thousands of parked classes, alone.

    make bench-queue [ARGS="--classes 10000"]

One process, no database. A change is what a batch of news from the store comes to; the scan beside
it looks at every parked class, as a queue without an index does. Adds and pops are of one class of
many pods, and of as many classes.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

from rich.console import Console
from rich.table import Table

from scheduler.hookspecs import Change
from scheduler.objects.pod import Container, PodSpec, ResourceRequirements
from scheduler.objects.pod_class import PodClass
from scheduler.objects.stored import ObjectKey
from scheduler.placement import batches
from scheduler.placement.framework import Diagnosis
from scheduler.placement.plan import PendingPod
from scheduler.placement.queue import SchedulingQueue

WAITS = Diagnosis(1, (), Change.NODE_ADDED | Change.NODE_RESOURCES | Change.POD_REMOVED)
PODS = 100_000


def a_class(number: int) -> PodClass:
    """Return one of many classes."""
    spec = PodSpec(containers=(Container("c", resources=ResourceRequirements()),))
    return PodClass((number.to_bytes(16, "big"), "default", (), None), spec)


def a_pod(number: int) -> PendingPod:
    """Return one of many pods."""
    name = f"p{number}"
    return PendingPod(ObjectKey("pods", "default", name), name)


def parked(classes: list[PodClass]) -> SchedulingQueue:
    """Return a queue in which a pod of every class is parked."""
    queue = SchedulingQueue()
    for number, wanted in enumerate(classes):
        queue.add(wanted, a_pod(number), 0.0)
    for wanted, pods in queue.pop(len(classes), len(classes), 0.0):
        queue.park(wanted, pods, WAITS, 0.0)
    return queue


def seconds(run: Callable[[], object], times: int = 1) -> float:
    """Return how long one of so many calls takes."""
    started = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - started) / times


def changes(table: Table, count: int) -> None:
    """Add what changes cost that help nobody, and one that helps all."""
    classes = [a_class(number) for number in range(count)]
    queue = parked(classes)
    reasons = [WAITS] * count
    scan = seconds(lambda: [r for r in reasons if r.wakes_on & Change.NODE_LABELS], 5)
    none = seconds(lambda: queue.changed(Change.NODE_LABELS), 100_000)
    all_ = seconds(lambda: queue.changed(Change.POD_REMOVED))
    portions = [seconds(lambda: queue.ready(20.0)) for _ in range(count // 500)]
    worst = max(portions)
    table.add_row(f"a change that helps none of {count:,} classes", f"{none * 1e6:.2f} µs")
    table.add_row(
        "  the same by looking at each", f"{scan * 1e6:,.0f} µs, {scan / none:,.0f} times"
    )
    table.add_row(f"a change that helps all {count:,}", f"{all_ * 1e6:.1f} µs")
    table.add_row("  then, at most, a time the queue is asked", f"{worst * 1e3:.2f} ms")


def throughput(table: Table, classes: int) -> None:
    """Add adds and pops a second of pods in so many classes."""
    kinds = [a_class(number) for number in range(classes)]
    pods = [a_pod(number) for number in range(PODS)]
    queue = SchedulingQueue()
    started = time.perf_counter()
    for number, pod in enumerate(pods):
        queue.add(kinds[number % classes], pod, 0.0)
    adding = time.perf_counter() - started
    pauses: list[float] = []
    while len(pauses) * batches.CLASSES <= PODS and queue.ready(0.0):
        pauses.append(seconds(lambda: queue.pop(batches.PODS, batches.CLASSES, 0.0)))
    popping = sum(pauses)
    done = seconds(lambda: [queue.done(pod.key) for pod in pods])
    table.add_row(f"adds, {classes:,} classes", f"{PODS / adding:,.0f}/s")
    table.add_row(f"pops, {classes:,} classes", f"{PODS / popping:,.0f}/s")
    table.add_row("  a batch", f"{median(pauses) * 1e3:.2f} ms")
    table.add_row(f"dones, {classes:,} classes", f"{PODS / done:,.0f}/s")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=10_000, help="parked")
    count: int = parser.parse_args().classes
    table = Table("the scheduling queue", "", title=f"{count:,} parked classes, {PODS:,} pods")
    changes(table, count)
    throughput(table, 1)
    throughput(table, 100)
    throughput(table, count)
    Console().print(table)


if __name__ == "__main__":
    main()
