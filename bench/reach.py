"""`make bench-reach`: how many pods a second, singly and in bulk, with everything durable.

1. Single POSTs of 1 KB pods over 64 kept connections; each answer means committed.
2. Bulk: pods of 50 templates by NDJSON requests of 2,000, three at a time, onto 5,000 ready nodes
   without agents; the clock runs from the first byte sent to the last binding's commit.

The service, its PostgreSQL (fsync on) and this client share the machine.
"""

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from itertools import count

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.client import CHUNK, connect, create_all, lines, post, send
from bench.server import OVERCOMMITTED, Server, ask, running

PODS = "/api/v1/namespaces/default/pods"
LANES = 3  # bulk requests at a time
QUIET = 20.0


def node(number: int) -> dict[str, object]:
    """Return a ready node that no agent stands behind."""
    capacity = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": f"node-{number:05d}",
            "labels": {"topology.kubernetes.io/zone": f"zone-{number % 3}"},
        },
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Bench"}],
        },
    }


def pod(name: str, template: int, scheduler: str = "default-scheduler") -> dict[str, object]:
    """Return a pod of about 1 KB."""
    cpu, memory = 100 + 10 * (template % 10), 128 + 32 * (template // 10)
    container = {
        "name": "web",
        "image": f"registry.example/web:{template}",
        "env": [{"name": f"SETTING_{i}", "value": "x" * 40} for i in range(10)],
        "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "template": str(template)}},
        "spec": {"schedulerName": scheduler, "containers": [container]},
    }


async def single(server: Server, seconds: float, connections: int, scheduler: str) -> list[float]:
    """POST pods one by one over many connections; returns rate, p50 and p99 in ms."""
    numbers, delays = count(), list[float]()
    prefix = f"single-{time.time_ns()}"
    streams = [await connect(server.url) for _ in range(connections)]
    end = time.perf_counter() + seconds

    async def keep_posting(lane: int) -> None:
        while (begun := time.perf_counter()) < end:
            number = next(numbers)
            body = json.dumps(pod(f"{prefix}-{number}", number % 50, scheduler)).encode()
            code, answer = await post(streams[lane], PODS, body)
            if code != 201:
                raise SystemExit(f"HTTP {code}: {answer[:500].decode()}")
            delays.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(keep_posting(lane) for lane in range(connections)))
    rate = len(delays) / (time.perf_counter() - begun)
    for _, writer in streams:
        writer.close()
    p50, p99 = np.percentile(delays, [50, 99])
    return [rate, 1000 * p50, 1000 * p99]


async def in_bulk(server: Server, pods: int) -> dict[str, float]:
    """Submit pods in bulk and wait for the last binding; returns seconds by phase."""
    objects = [pod(f"bulk-{number}", number * 50 // pods) for number in range(pods)]
    bodies = [lines(objects[start : start + CHUNK]) for start in range(0, pods, CHUNK)]
    sent = datetime.now(UTC)
    begun = time.perf_counter()
    await send(server.url, PODS, bodies, LANES)
    durable = time.perf_counter() - begun
    query = "SELECT count(*), max(bound_at) FROM placements WHERE pod LIKE 'bulk-%'"
    last, moved = -1, time.perf_counter()
    while True:
        await asyncio.sleep(0.2)
        bound, at = (await ask(server, query))[0]
        if bound == pods:
            break
        if bound != last:
            last, moved = int(str(bound)), time.perf_counter()
        elif time.perf_counter() - moved > QUIET:
            raise SystemExit(f"only {bound} of {pods} pods were placed")
    assert isinstance(at, datetime)
    return {"durable": durable, "bound": (at - sent).total_seconds()}


async def main(nodes: int, pods: int, seconds: float) -> None:
    """Run both and print."""
    table = Table(title="reach", show_header=False)
    with running(IRONFREE_NODE_GRACE_SECONDS="3600") as server:
        rate, p50, p99 = await single(server, seconds, 64, "nobody")
        table.add_row("single POSTs, 64 connections", f"{rate:,.0f}/s")
        table.add_row("  answered, p50 / p99", f"{p50:.1f} / {p99:.1f} ms")
        rate, p50, p99 = await single(server, seconds, 1, "nobody")
        table.add_row("single POSTs, 1 connection", f"{rate:,.0f}/s")
        table.add_row("  answered, p50 / p99", f"{p50:.1f} / {p99:.1f} ms")
        await create_all(server.url, "/api/v1/nodes", [node(number) for number in range(nodes)])
        before = server.cpu_seconds()
        took = await in_bulk(server, pods)
        spent = (server.cpu_seconds() - before) / pods
        table.add_row(f"bulk, {pods:,} pods on {nodes:,} nodes", "")
        table.add_row("  submitted → durable", f"{pods / took['durable']:,.0f} pods/s")
        table.add_row(
            "  submitted → durable → placed → durable", f"{pods / took['bound']:,.0f} pods/s"
        )
        table.add_row("  CPU time of the service", f"{1e6 * spent:.0f} µs a pod")
        over = await ask(server, OVERCOMMITTED)
        table.add_row("  overcommitted nodes (SQL)", f"{len(over)}")
        rate, p50, p99 = await single(server, seconds, 64, "default-scheduler")
        table.add_row("single POSTs that are placed too, 64 connections", f"{rate:,.0f}/s")
        table.add_row("  answered, p50 / p99", f"{p50:.1f} / {p99:.1f} ms")
        resident, postgres = server.memory()
        table.add_row("peak memory: service / PostgreSQL", f"{resident} / {postgres} MiB")
    Console().print(table)
    if over:
        raise SystemExit(f"overcommitted: {over[:5]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=50000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of single POSTs")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.nodes, arguments.pods, arguments.seconds))
