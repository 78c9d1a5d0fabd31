"""`make bench-c1m`: a million pods, from HTTP to a million durable bindings, and to running.

1,000 ReplicationControllers of 1,000 pods, each in a namespace of its own, onto 5,000 simulated
hosts; the clock runs from the first byte sent until the last binding is committed, and on until
the last pod's status says Running and is committed. Meanwhile a user creates one object at a time
and lists one namespace (1,000 pods), and both are timed. The service, its PostgreSQL (fsync on),
the hosts and this client share the machine. `ARGS=--bare` takes Nodes that nobody stands behind.
"""

import argparse
import asyncio
import contextlib
import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.client import connect, create_all, get, post
from bench.server import Server, ask, running
from scheduler.store.postgres import connect as connect_database

LANES = 8
QUIET = 30.0
PLACED = """
SELECT (SELECT count(*) FROM bindings)
     + (SELECT coalesce(sum(cardinality(ordinals)), 0) FROM cohort_bindings)
     - (SELECT coalesce(sum(bit_count(gone)), 0) FROM cohorts)
"""
CREATED = """
SELECT (SELECT count(*) FROM objects WHERE resource = 'pods')
     + (SELECT coalesce(sum(size - coalesce(bit_count(gone), 0)), 0) FROM cohorts)
"""
RUNNING = """
SELECT (SELECT count(*) FROM objects WHERE resource = 'pods' AND status ->> 'phase' = 'Running')
     + (SELECT coalesce(sum(cardinality(ordinals)), 0) FROM cohort_reports WHERE phase = 'Running')
     - (SELECT count(*) FROM cohorts c JOIN cohort_reports r ON r.cohort = c.uid
        CROSS JOIN unnest(r.ordinals) AS ordinal
        WHERE c.gone IS NOT NULL AND get_bit(c.gone, ordinal) = 1 AND r.phase = 'Running')
"""
READY = """
SELECT count(*) FROM nodes WHERE ready
"""
OVERCOMMITTED = """
SELECT name, pods, allocatable_pods, requested_cpu_milli, allocatable_cpu_milli FROM nodes
WHERE pods > allocatable_pods OR requested_cpu_milli > allocatable_cpu_milli
   OR requested_memory_bytes > allocatable_memory_bytes
"""


def node(number: int, room: int) -> dict[str, object]:
    """Return a ready node that no agent stands behind."""
    capacity = {"cpu": "64", "memory": "256Gi", "pods": str(room)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"node-{number:05d}"},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Bench"}],
        },
    }


def host(number: int, room: int) -> dict[str, object]:
    """Return a simulated host."""
    shape = f"simulated://host-{number:05d}?cpu=64&memory=256Gi"
    return {
        "apiVersion": "ironfree.dev/v1",
        "kind": "DockerHost",
        "metadata": {"name": f"node-{number:05d}"},
        "spec": {"driver": "simulated", "address": shape, "capacity": {"pods": str(room)}},
    }


def controller(number: int, replicas: int) -> dict[str, object]:
    """Return a ReplicationController of its own shape."""
    labels = {"app": f"web-{number}"}
    cpu, memory = 50 + 10 * (number % 10), 64 + 16 * (number // 10 % 10)
    container = {
        "name": "web",
        "image": f"registry.example/web:{number % 50}",
        "resources": {"requests": {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": labels,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


class User:
    """Somebody who uses the API meanwhile."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.creates: list[float] = []
        self.lists: list[float] = []

    async def run(self) -> None:
        """Create and list, one after the other, until cancelled."""
        streams = await connect(self.url)
        number = 0
        while True:
            number += 1
            body = json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": f"mine-{number}"},
                    "data": {"n": str(number)},
                }
            ).encode()
            begun = time.perf_counter()
            code, answer = await post(streams, "/api/v1/namespaces/default/configmaps", body)
            self.creates.append(time.perf_counter() - begun)
            if code != 201:
                raise SystemExit(f"HTTP {code}: {answer[:300].decode()}")
            begun = time.perf_counter()
            code, answer = await get(streams, "/api/v1/namespaces/c1m-0/pods")
            self.lists.append(time.perf_counter() - begun)
            if code != 200:
                raise SystemExit(f"HTTP {code}: {answer[:300].decode()}")
            await asyncio.sleep(0.1)


async def submit(url: str, controllers: int, replicas: int) -> None:
    """POST the controllers over a few connections."""
    numbers = iter(range(controllers))

    async def lane() -> None:
        streams = await connect(url)
        for number in numbers:
            body = json.dumps(controller(number, replicas)).encode()
            path = f"/api/v1/namespaces/c1m-{number}/replicationcontrollers"
            code, answer = await post(streams, path, body)
            if code != 201:
                raise SystemExit(f"HTTP {code}: {answer[:300].decode()}")
        streams[1].close()

    await asyncio.gather(*(lane() for _ in range(LANES)))


Moment = tuple[float, int, int, int]  # seconds since the start; pods created, bound, running


async def watch_it_grow(server: Server, goal: int, begun: float, *, run: bool) -> list[Moment]:
    """Show progress until all pods are bound, or also run; returns how it went."""
    curve: list[Moment] = []
    database = await connect_database(server.database_url)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, TimeElapsedColumn()) as progress:
        made = progress.add_task("created", total=goal)
        placed = progress.add_task("bound", total=goal)
        started = progress.add_task("running", total=goal, visible=run)
        moved = time.perf_counter()
        while not curve or curve[-1][3 if run else 2] < goal:
            await asyncio.sleep(0.25)
            created, bound = await database.fetchval(CREATED), await database.fetchval(PLACED)
            runs = await database.fetchval(RUNNING) if run else 0
            now = time.perf_counter()
            if curve and (created, bound, runs) != curve[-1][1:]:
                moved = now
            curve.append((now - begun, int(created), int(bound), int(runs)))
            progress.update(made, completed=int(created))
            progress.update(placed, completed=int(bound))
            progress.update(started, completed=int(runs))
            if now - moved > QUIET:
                raise SystemExit(f"stuck at {bound} bound and {runs} running of {goal} pods")
    await database.close()
    return curve


async def furnish(server: Server, nodes: int, room: int, *, bare: bool) -> None:
    """Make the nodes: simulated hosts, or Nodes that nobody stands behind."""
    if bare:
        await create_all(server.url, "/api/v1/nodes", [node(n, room) for n in range(nodes)])
        return
    path = "/apis/ironfree.dev/v1/dockerhosts"
    await create_all(server.url, path, [host(n, room) for n in range(nodes)])
    while (await ask(server, READY))[0][0] != nodes:  # noqa: ASYNC110 - another process's news
        await asyncio.sleep(0.5)


async def main(
    nodes: int, controllers: int, replicas: int, curve: Path | None, *, bare: bool
) -> None:
    """Run and print."""
    goal = controllers * replicas
    with running(IRONFREE_NODE_GRACE_SECONDS="3600") as server:
        room = -(-goal // nodes) * 2
        await furnish(server, nodes, room, bare=bare)
        spaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"c1m-{n}"}}
            for n in range(controllers)
        ]
        await create_all(server.url, "/api/v1/namespaces", spaces)
        await asyncio.sleep(2)
        user = User(server.url)
        using = asyncio.create_task(user.run())
        cpu, begun = server.cpu_seconds(), time.perf_counter()
        growing = asyncio.create_task(watch_it_grow(server, goal, begun, run=not bare))
        await submit(server.url, controllers, replicas)
        submitted = time.perf_counter() - begun
        moments = await growing
        cpu = server.cpu_seconds() - cpu
        using.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await using
        over = await ask(server, OVERCOMMITTED)
        resident, postgres = server.memory()
    table = Table(title=f"{goal:,} pods on {nodes:,} nodes", show_header=False)
    table.add_row("controllers accepted", f"{submitted:.1f} s")
    created, took = (
        next(moment[0] for moment in moments if moment[kind] >= goal) for kind in (1, 2)
    )
    table.add_row("pods durable", f"{created:.1f} s")
    table.add_row("bindings durable", f"{took:.1f} s ({goal / took:,.0f} pods/s)")
    if not bare:
        table.add_row("all running, status durable", f"{moments[-1][0]:.1f} s")
    table.add_row("CPU time of the service", f"{cpu:.1f} s ({1e6 * cpu / goal:.1f} µs a pod)")
    for what, times in (("create", user.creates), ("list of 1,000 pods", user.lists)):
        p50, p99 = np.percentile(times, [50, 99]) * 1000
        table.add_row(f"meanwhile: {what}, p50 / p99", f"{p50:.0f} / {p99:.0f} ms ({len(times)})")
    table.add_row("overcommitted nodes (SQL)", f"{len(over)}")
    table.add_row("peak memory: service / PostgreSQL", f"{resident} / {postgres} MiB")
    Console().print(table)
    if curve is not None:
        rows = [",".join(map(str, moment)) for moment in moments]
        text = "\n".join(["seconds,created,bound,running", *rows]) + "\n"
        await asyncio.to_thread(curve.write_text, text)
    if over:
        raise SystemExit(f"overcommitted: {over[:5]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--controllers", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=1000)
    parser.add_argument("--curve", type=Path, help="write created and bound over time as CSV")
    parser.add_argument(
        "--bare", action="store_true", help="onto Nodes without hosts, until all pods are bound"
    )
    arguments = parser.parse_args()
    asyncio.run(main(**vars(arguments)))
