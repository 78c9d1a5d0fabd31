"""How fast the store is, alone: `python bench/store.py`. Prints; asserts nothing about time.

Embedded PostgreSQL with fsync on, one process. Creates are pods of about 1 KB whose body is
interned; binds go to 1,000 nodes; single writes come from many tasks at once and are coalesced.
"""

import argparse
import asyncio
import cProfile
import gc
import os
import pstats
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec

from scheduler.objects.meta import ObjectMeta, OwnerReference, now_seconds
from scheduler.objects.stored import Body, StoredObject, intern_body
from scheduler.store.embedded import EmbeddedPostgres
from scheduler.store.migration import upgrade
from scheduler.store.operations import Bind, Create, Replace
from scheduler.store.store import Store

STATUS = msgspec.json.encode(
    {"phase": "Pending", "qosClass": "Burstable", "conditions": [{"type": "PodScheduled"}]}
)


def pod_body(template: int) -> Body:
    container = {
        "name": "web",
        "image": f"registry.example/web:{template}",
        "env": [{"name": f"SETTING_{i}", "value": "x" * 30} for i in range(8)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    }
    spec = {"containers": [container], "restartPolicy": "Always", "schedulerName": "default"}
    return intern_body(msgspec.json.encode({"spec": spec}, order="sorted"))


def pods(count: int, templates: int) -> list[Create]:
    bodies = [pod_body(i) for i in range(templates)]
    owner = OwnerReference("v1", "ReplicationController", "web", str(uuid.uuid4()), True, True)
    now = now_seconds()
    return [
        Create(
            "pods",
            ObjectMeta(
                name=f"web-{i:07d}",
                namespace="default",
                uid=str(uuid.uuid4()),
                creation_timestamp=now,
                labels={"app": "web", "template": str(i % templates)},
                owner_references=(owner,),
            ),
            bodies[i % templates],
            STATUS,
        )
        for i in range(count)
    ]


def other(resource: str, name: str) -> Create:
    meta = ObjectMeta(name=name, uid=str(uuid.uuid4()), creation_timestamp=now_seconds())
    return Create(resource, meta, Body(b"{}"))


def report(what: str, count: int, seconds: float) -> None:
    print(f"{what:<44}{count:>9,} in {seconds:6.2f} s {count / seconds:>10,.0f}/s", flush=True)


def good(outcomes: Sequence[StoredObject | Exception]) -> list[StoredObject]:
    bad = [o for o in outcomes if isinstance(o, Exception)]
    assert not bad, bad[0]
    return [o for o in outcomes if isinstance(o, StoredObject)]


async def consume(store: Store, since: int, count: int, done: asyncio.Event) -> None:
    seen = 0
    async with aclosing(store.watch({"pods"}, since)) as watch:
        async for batch in watch:
            seen += len(batch.changes)
            if seen >= count:
                break
    done.set()


async def measure(store: Store, arguments: argparse.Namespace) -> None:
    await store.write(other("namespaces", "default"))
    nodes = good(await store.write_many([other("nodes", f"n{i}") for i in range(1000)]))
    creates = pods(arguments.pods, arguments.templates)
    done = asyncio.Event()
    watcher = asyncio.create_task(consume(store, await store.revision(), arguments.pods * 2, done))
    start = time.perf_counter()
    created = good(await store.write_many(creates))
    report("create pods, write_many", len(created), time.perf_counter() - start)

    snapshot = await store.revision()
    async with store.leadership("bench").hold() as epoch:
        requests = {"cpu": 100, "memory": 128 << 20, "pods": 1}
        binds = [
            Bind(o.key, o.meta.uid, nodes[i % 1000].meta.name, snapshot, requests, epoch=epoch)
            for i, o in enumerate(created)
        ]
        start = time.perf_counter()
        bound = good(await store.write_many(binds))
        report("bind pods, write_many", len(bound), time.perf_counter() - start)
    await done.wait()
    report("… until a watcher has seen it all", len(bound) * 2, time.perf_counter() - start)
    await watcher

    start = time.perf_counter()
    running = b'{"phase":"Running","qosClass":"Burstable","podIP":"10.1.2.3"}'
    good(
        await store.write_many(
            [Replace("pods", o.meta, o.body, running, o.revision) for o in bound[: len(bound) // 4]]
        )
    )
    report("replace status, write_many", len(bound) // 4, time.perf_counter() - start)

    start = time.perf_counter()
    listing = await store.list("pods")
    report("list", len(listing.objects), time.perf_counter() - start)
    start = time.perf_counter()
    for _ in range(200):
        await store.list("namespaces")
    report("list one object", 200, time.perf_counter() - start)
    start = time.perf_counter()
    for obj in created[:2000]:
        await store.get(obj.key)
    report("get, one at a time", 2000, time.perf_counter() - start)
    start = time.perf_counter()
    await asyncio.gather(*(store.get(obj.key) for obj in created[:4000]))
    report("get, 4,000 at once", 4000, time.perf_counter() - start)

    for clients in (1, 64):
        count = 500 if clients == 1 else 6000
        single = (
            msgspec.structs.replace(op.meta, name=f"s{clients}-{op.meta.name}")
            for op in pods(count, 10)
        )
        body = pod_body(0)
        single = iter([Create("pods", meta, body, STATUS) for meta in single])
        latencies: list[float] = []

        async def client(source: Iterator[Create], latencies: list[float]) -> None:
            for op in source:
                begin = time.perf_counter()
                await store.write(op)
                latencies.append(time.perf_counter() - begin)

        start = time.perf_counter()
        await asyncio.gather(*(client(single, latencies) for _ in range(clients)))
        report(f"single writes, {clients} at a time", count, time.perf_counter() - start)
        latencies.sort()
        print(
            f"    latency p50 {latencies[count // 2] * 1e3:.2f} ms, "
            f"p99 {latencies[count * 99 // 100] * 1e3:.2f} ms"
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--templates", type=int, default=100)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        async with EmbeddedPostgres(Path(directory) / "data").run() as url:
            await upgrade(url)
            async with Store.open(url) as store:
                gc.freeze()
                profile = cProfile.Profile()
                if arguments.profile:
                    profile.enable()
                await measure(store, arguments)
                profile.disable()
                if arguments.profile:
                    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    asyncio.run(main())
