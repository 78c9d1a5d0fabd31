"""`make bench-shapes`: pods of kube-scheduler's own benchmark shapes by the whole path.

Pods come as NDJSON requests over HTTP (2,000 pods each, three at a time), ten templates a shape,
with a generateName as scheduler_perf's have; then each with a name of its own, so that no two are
alike; and once more from ten ReplicationControllers, onto ready nodes without agents; the clock
runs from the first byte sent to the last binding's commit. Before that the nodes run 10,000 others.
kube-scheduler's CI floors are for 5,000 nodes; decisions alone are in bench/rules.py. The service,
its PostgreSQL (fsync on) and this client share the machine.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.client import CHUNK, connect, create_all, lines, post, send
from bench.server import Server, ask, running

LANES = 3
QUIET = 60.0
TEMPLATES = 10
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
Spec = dict[str, object]


def node(number: int) -> Spec:
    """Return a ready node that no agent stands behind."""
    name = f"node-{number:05d}"
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
    labels = {ZONE: f"zone-{number % 10}", HOST: name, "disk": "ssd" if number % 2 else "hdd"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Bench"}],
        },
    }


def term(app: str, key: str) -> Spec:
    """Return a pod affinity term on one's own kind."""
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}


def affinity(which: str, key: str, *, hard: bool) -> Callable[[str, int], Spec]:
    """Return what makes the spec of pods that seek or shun their own kind."""

    def spec(app: str, _number: int) -> Spec:
        if hard:
            field, value = "requiredDuringSchedulingIgnoredDuringExecution", [term(app, key)]
        else:
            field = "preferredDuringSchedulingIgnoredDuringExecution"
            value = [{"weight": 1, "podAffinityTerm": term(app, key)}]
        return {"affinity": {which: {field: value}}}

    return spec


def spread(action: str) -> Callable[[str, int], Spec]:
    """Return what makes the spec of pods that spread over zones."""

    def spec(app: str, _number: int) -> Spec:
        constraint = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": action}
        return {
            "topologySpreadConstraints": [
                {**constraint, "labelSelector": {"matchLabels": {"app": app}}}
            ]
        }

    return spec


def on_nodes(field: str) -> Callable[[str, int], Spec]:
    """Return what makes the spec of pods that need or like nodes with a label."""
    match = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    required: Spec = {"nodeSelectorTerms": [match]}
    value = required if field.startswith("required") else [{"weight": 1, "preference": match}]
    return lambda _app, _number: {"affinity": {"nodeAffinity": {field: value}}}


def pinned(nodes: int) -> Callable[[str, int], Spec]:
    """Return what makes the spec of pods as a DaemonSet makes them."""

    def spec(_app: str, number: int) -> Spec:
        name = f"node-{number % nodes:05d}"
        match = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}
        field = "requiredDuringSchedulingIgnoredDuringExecution"
        return {"affinity": {"nodeAffinity": {field: {"nodeSelectorTerms": [match]}}}}

    return spec


def plain(_app: str, _number: int) -> Spec:
    """Return nothing special."""
    return {}


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of pods, and what kube-scheduler's CI demands of itself (pods/s, 0 for nothing)."""

    name: str
    spec: Callable[[str, int], Spec]
    floor: int = 0
    goal: int = 10


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def shapes() -> list[Shape]:
    """Return all that differ only in their pods."""
    kinds = [
        plain,
        affinity("podAffinity", ZONE, hard=True),
        affinity("podAntiAffinity", HOST, hard=True),
        affinity("podAffinity", HOST, hard=False),
        affinity("podAntiAffinity", HOST, hard=False),
    ]
    return [
        Shape("basic", plain, 680),
        Shape("node affinity", on_nodes(REQUIRED), 220),
        Shape("preferred node affinity", on_nodes(PREFERRED)),
        Shape("zone spread", spread("DoNotSchedule"), 460, 50),
        Shape("preferred zone spread", spread("ScheduleAnyway")),
        Shape("zone affinity", affinity("podAffinity", ZONE, hard=True), 35, 50),
        Shape("host anti-affinity", affinity("podAntiAffinity", HOST, hard=True), 60, 50),
        Shape("preferred host affinity", affinity("podAffinity", HOST, hard=False)),
        Shape("preferred host anti-affinity", affinity("podAntiAffinity", HOST, hard=False)),
        Shape("mixed, 5 kinds", lambda app, n: kinds[n % 5](app, n), 140),
    ]


def pod(name: str, namespace: str, app: str, spec: Spec, cpu: str = "10m") -> Spec:
    """Return a pod; without a name it gets one."""
    called = {"name": name} if name else {"generateName": "pod-"}
    container = {"name": "c", "image": "x:1", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**called, "namespace": namespace, "labels": {"app": app}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


async def submit(server: Server, namespace: str, pods: list[Spec]) -> None:
    """Send pods, three requests at a time."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    bodies = [lines(pods[start : start + CHUNK]) for start in range(0, len(pods), CHUNK)]
    await send(server.url, path, bodies, LANES)


async def bound(server: Server, namespace: str, goal: int) -> None:
    """Wait until so many pods of a namespace are bound."""
    query = (
        "SELECT (SELECT count(*) FROM bindings b JOIN objects o ON o.uid = b.pod_uid"
        f" WHERE o.namespace = '{namespace}')"
        " + (SELECT coalesce(sum(CASE WHEN c.gone IS NULL THEN cardinality(b.ordinals) ELSE"
        " (SELECT count(*) FROM unnest(b.ordinals) n WHERE get_bit(c.gone, n) = 0) END), 0)::bigint"
        " FROM cohort_bindings b"
        f" JOIN cohorts c ON c.uid = b.cohort WHERE c.namespace = '{namespace}')"
    )
    last, moved = -1, time.perf_counter()
    while True:
        count = int(str((await ask(server, query))[0][0]))
        if count >= goal:
            return
        now = time.perf_counter()
        if count != last:
            last, moved = count, now
        elif now - moved > QUIET:
            raise SystemExit(f"{namespace}: only {count} of {goal} pods were placed")
        await asyncio.sleep(0.02)


async def space(server: Server, name: str) -> None:
    """Make a namespace."""
    body: Spec = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await create_all(server.url, "/api/v1/namespaces", [body])


async def run_shape(
    server: Server, shape: Shape, number: int, count: int, *, named: bool = False
) -> float:
    """Return pods/s of a shape, names generated as in scheduler_perf, or each with its own."""
    namespace = f"{'named' if named else 'shape'}-{number}"
    await space(server, namespace)
    pods: list[Spec] = []
    for n in range(count):
        app = f"app-{n * TEMPLATES // count}"
        pods.append(pod(f"p-{n}" if named else "", namespace, app, shape.spec(app, n)))
    begun = time.perf_counter()
    await submit(server, namespace, pods)
    await bound(server, namespace, count)
    return count / (time.perf_counter() - begun)


async def by_controllers(server: Server, shape: Shape, number: int, count: int) -> float:
    """Return pods/s of a shape when ten ReplicationControllers ask for the pods."""
    namespace = f"controlled-{number}"
    await space(server, namespace)
    controllers: list[Spec] = []
    for n in range(TEMPLATES):
        app = f"app-{n}"
        template = pod("", namespace, app, shape.spec(app, n))
        metadata: Spec = {"labels": {"app": app}}
        controllers.append(
            {
                "apiVersion": "v1",
                "kind": "ReplicationController",
                "metadata": {"name": app, "namespace": namespace},
                "spec": {
                    "replicas": count // TEMPLATES,
                    "selector": {"app": app},
                    "template": {"metadata": metadata, "spec": template["spec"]},
                },
            }
        )
    path = f"/api/v1/namespaces/{namespace}/replicationcontrollers"
    begun = time.perf_counter()
    await create_all(server.url, path, controllers)
    await bound(server, namespace, count)
    return count / (time.perf_counter() - begun)


async def beside_others(server: Server, count: int) -> float:
    """Return pods/s of basic pods while 10,000 gated and 10,000 unschedulable ones wait."""
    await space(server, "crowd")
    gated = [
        pod(f"g-{n}", "crowd", f"app-{n % 100}", {"schedulingGates": [{"name": "wait"}]})
        for n in range(10_000)
    ]
    lost = [
        pod(f"u-{n}", "crowd", f"app-{n % 100}", {"nodeSelector": {"no": "where"}})
        for n in range(10_000)
    ]
    await submit(server, "crowd", gated + lost)
    await asyncio.sleep(5)
    return await run_shape(server, Shape("", plain), 99, count)


async def preemption(server: Server, nodes: int, count: int, *, named: bool = False) -> float:
    """Return pods/s of pods for whom others must go; the nodes are filled before."""
    await space(server, "low")
    await space(server, "high")
    classes: list[Spec] = [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
        for name, value in (("low", 0), ("high", 1000))
    ]
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await create_all(server.url, path, classes)
    filling = [
        pod(f"l-{n}" if named else "", "low", "low", {"priorityClassName": "low"}, "15")
        for n in range(4 * nodes)
    ]
    await submit(server, "low", filling)
    await bound(server, "low", len(filling))
    high = [
        pod(f"h-{n}" if named else "", "high", "high", {"priorityClassName": "high"}, "10")
        for n in range(count)
    ]
    begun = time.perf_counter()
    await submit(server, "high", high)
    await bound(server, "high", count)
    return count / (time.perf_counter() - begun)


async def one_by_one(server: Server, count: int) -> tuple[float, float]:
    """Return p50 and p99 in ms from a pod's answer (durable) to its binding, as a watch tells."""
    await space(server, "single")
    watcher, poster = await connect(server.url), await connect(server.url)
    path = "/api/v1/namespaces/single/pods"
    watcher[1].write(f"GET {path}?watch=true HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await watcher[1].drain()
    await watcher[0].readuntil(b"\r\n\r\n")
    times: list[float] = []
    for n in range(count):
        body = json.dumps(pod(f"s-{n}", "single", "single", {})).encode()
        code, answer = await post(poster, path, body)
        durable = time.perf_counter()
        if code != 201:
            raise SystemExit(f"HTTP {code}: {answer[:300].decode()}")
        mark = f'"name":"s-{n}"'.encode()
        while True:
            line = await asyncio.wait_for(watcher[0].readline(), 30)
            if mark in line and b'"nodeName"' in line:
                break
        times.append(time.perf_counter() - durable)
        await asyncio.sleep(0.01)
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return float(p50), float(p99)


async def measure(nodes: int, count: int, only: str) -> dict[str, tuple[float, Shape]]:
    """Return pods/s by shape on one size of cluster."""
    found: dict[str, tuple[float, Shape]] = {}
    with running(IRONFREE_NODE_GRACE_SECONDS="3600") as server:
        await create_all(server.url, "/api/v1/nodes", [node(n) for n in range(nodes)])
        await asyncio.sleep(2)
        if not only or only in "one pod at a time":
            p50, p99 = await one_by_one(server, 500)
            found["one pod alone: p50 ms from durable to bound"] = p50, Shape("", plain)
            found["one pod alone: p99 ms from durable to bound"] = p99, Shape("", plain)
        await run_shape(server, Shape("", plain), 98, 10_000)
        for number, shape in enumerate(shapes()):
            if only in shape.name:
                fits = min(count, nodes * TEMPLATES // 2)
                found[shape.name] = await run_shape(server, shape, number, fits), shape
                rate = await run_shape(server, shape, number, fits, named=True)
                found[f"  {shape.name}, each with a name"] = rate, shape
                rate = await by_controllers(server, shape, number, fits)
                found[f"  {shape.name}, by controllers"] = rate, shape
        if only in "10,000 gated + 10,000 unschedulable":
            shape = Shape("beside 10,000 gated + 10,000 unschedulable", plain)
            found[shape.name] = await beside_others(server, count), shape
    if only in "pinned to one node each":
        with running(IRONFREE_NODE_GRACE_SECONDS="3600") as server:
            await create_all(server.url, "/api/v1/nodes", [node(n) for n in range(nodes)])
            shape = Shape("pinned to one node each", pinned(nodes))
            found[shape.name] = await run_shape(server, shape, 97, count), shape
    for named in (False, True) if only in "preemption" else ():
        with running(IRONFREE_NODE_GRACE_SECONDS="3600") as server:
            await create_all(server.url, "/api/v1/nodes", [node(n) for n in range(nodes)])
            shape = Shape(f"preemption{', each with a name' if named else ''}", plain, 570)
            rate = await preemption(server, nodes, min(nodes, 5000), named=named)
            found[shape.name] = rate, shape
    return found


async def main(nodes: list[int], pods: int, shape: str, *, as_json: bool) -> None:
    """Measure every size and print."""
    sizes = {size: await measure(size, pods, shape) for size in nodes}
    if as_json:
        told = {
            size: {name: rate for name, (rate, _) in found.items()} for size, found in sizes.items()
        }
        Console().print_json(json.dumps(told))
        return
    table = Table(title="pods/s, HTTP to durable binding")
    for title in ("shape", *(f"{size:,} nodes" for size in nodes), "floor", "ratio at 5,000"):
        table.add_column(title, justify="left" if title == "shape" else "right")
    for name in next(iter(sizes.values())):
        rates = [found[name][0] for found in sizes.values()]
        floor = next(iter(sizes.values()))[name][1].floor
        at = sizes.get(5000, {}).get(name)
        ratio = f"{at[0] / floor:.0f} times" if at is not None and floor else ""
        words = [f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}" for rate in rates]
        table.add_row(name, *words, str(floor or ""), ratio)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 5000, 15000])
    parser.add_argument("--pods", type=int, default=10_000, help="of each shape")
    parser.add_argument("--shape", default="", help="only those whose name has this")
    parser.add_argument("--json", action="store_true", dest="as_json")
    arguments = parser.parse_args()
    asyncio.run(main(**vars(arguments)))
