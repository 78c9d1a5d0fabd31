"""How node agents keep up: simulated hosts and pods, from binding to Running in the store.

Run: python -m bench.nodes [hosts] [pods]. Prints seconds and rates; asserts nothing about time.
"""

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from ironfree_simulated import SimulatedDriver

from scheduler.informer import Informer
from scheduler.nodes.directory import NodeAgents
from scheduler.nodes.docker_host import RESOURCE
from scheduler.objects.node import node_view
from scheduler.objects.pod import pod_view
from scheduler.objects.stored import ObjectKey, intern_body
from scheduler.store.embedded import EmbeddedPostgres
from scheduler.store.migration import upgrade
from scheduler.store.operations import Bind, Create, Write
from scheduler.store.store import Store
from tests.store_values import create

SPEC = {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}
T = TypeVar("T")
IDLE = 20  # seconds over which the cost of doing nothing is measured


async def write(store: Store, operations: Sequence[Write]) -> None:
    for start in range(0, len(operations), 2000):
        for outcome in await store.write_many(operations[start : start + 2000]):
            if isinstance(outcome, Exception):
                raise outcome


async def reached(informer: Informer[T], count: int, test: Callable[[T], bool], what: str) -> None:
    begun, subscription = time.perf_counter(), informer.subscribe()
    done = set()
    while len(done) < count:
        for delta in await subscription.next():
            if delta.new is not None and test(delta.new):
                done.add(delta.key)
    took = time.perf_counter() - begun
    print(f"{what}: {count} in {took:.1f} s, {count / took:.0f}/s")


async def measure(store: Store, hosts: int, pods: int) -> None:
    for namespace in ("default", "kube-system", "kube-node-lease"):
        await store.write(create("namespaces", namespace))
    names = [f"h{number}" for number in range(hosts)]
    bodies = [
        msgspec.json.encode({"spec": {"driver": "simulated", "address": f"simulated://{name}"}})
        for name in names
    ]
    await write(store, [create(RESOURCE, n, body=b) for n, b in zip(names, bodies, strict=True)])
    nodes, seen = Informer(store, "nodes", node_view), Informer(store, "pods", pod_view)
    async with store.leadership("bench").hold() as epoch, asyncio.TaskGroup() as group:
        driver = SimulatedDriver()
        agents = NodeAgents(store, {"simulated": driver}, epoch)
        tasks = [group.create_task(t) for t in (nodes.run(), seen.run(), agents.run())]
        await reached(nodes, hosts, lambda n: bool(n.status.conditions), "hosts → nodes")
        body = intern_body(msgspec.json.encode(SPEC))
        made = [create("pods", f"p{number}", "default", body) for number in range(pods)]
        await write(store, made)
        snapshot = await store.revision()

        def bind(pod: Create, node: str) -> Bind:
            key = ObjectKey("pods", "default", pod.meta.name)
            return Bind(key, pod.meta.uid, node, snapshot, {"pods": 1}, epoch=epoch)

        running = group.create_task(
            reached(seen, pods, lambda p: p.status.phase == "Running", "bound → Running")
        )
        await write(store, [bind(op, names[i % hosts]) for i, op in enumerate(made)])
        await running
        used = time.process_time()
        await asyncio.sleep(IDLE)
        share = 100 * (time.process_time() - used) / IDLE
        print(f"idle: {share:.0f} % of one core for {hosts} hosts and {pods} pods")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"peak memory: {peak} MiB")
        for task in tasks:
            task.cancel()


async def main(directory: Path, hosts: int, pods: int) -> None:
    async with EmbeddedPostgres(directory / "data").run() as url:
        await upgrade(url)
        async with Store.open(url) as store:
            await measure(store, hosts, pods)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    with tempfile.TemporaryDirectory(prefix="ironfree-bench-") as temporary:
        Path(temporary).chmod(0o755)  # PostgreSQL runs as another user
        asyncio.run(main(Path(temporary), *(given + [2000, 20000][len(given) :])))
