"""What 10,000 pods that cannot be placed cost the others: `make bench-crowd`.

Each of them is a class of its own, on 5,000 nodes without agents. Meanwhile small pods come one at
a time: how long their creation takes, and from there until the watch tells that they are bound. At
first on an idle cluster, then beside the parked crowd, then while a new node wakes all of it in
vain. Service, PostgreSQL (fsync on) and client share the machine.
"""

import argparse
import asyncio
import json
import time
from itertools import count

import aiohttp
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from bench.client import create_all
from bench.reach import node
from bench.server import running

PODS = "/api/v1/namespaces/default/pods"
PROBES = "probe"
GRACE = {"IRONFREE_NODE_GRACE_SECONDS": "900"}  # nobody sends heartbeats
SETTLING = 10.0  # seconds in which Events of the crowd are written

Delays = list[tuple[float, float]]


def pod(name: str, cpu: int, **labels: str) -> dict[str, object]:
    """Return a pod that asks for so many millicores."""
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": f"{cpu}m"}}}
    meta = {"name": name, "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [container]},
    }


class Probe:
    """Creates small pods and sees when they are bound."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._numbers = count()
        self._bound: dict[str, asyncio.Future[float]] = {}

    async def watch(self) -> None:
        """Follow the probes until cancelled."""
        async with self._session.get(PODS, params={"limit": "1"}) as answer:
            since = (await answer.json())["metadata"]["resourceVersion"]
        wanted = {"watch": "1", "resourceVersion": since, "labelSelector": PROBES}
        async with self._session.get(PODS, params=wanted) as stream:
            async for line in stream.content:
                found = json.loads(line)["object"]
                waiting = self._bound.get(found["metadata"]["name"])
                if found["spec"].get("nodeName") and waiting and not waiting.done():
                    waiting.set_result(time.perf_counter())

    async def place(self) -> tuple[float, float]:
        """Return the milliseconds of creating one, and from there to the news of its binding."""
        name = f"{PROBES}-{next(self._numbers)}"
        bound = self._bound[name] = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        async with self._session.post(PODS, json=pod(name, 100, **{PROBES: ""})) as answer:
            if answer.status != 201:
                raise SystemExit(await answer.text())
        created = time.perf_counter()
        async with asyncio.timeout(60):
            return 1000 * (created - begun), 1000 * (await bound - created)

    async def number(self, name: str, **labels: str) -> float:
        """Return a sample of /metrics, 0 if there is none."""
        async with self._session.get("/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def reaches(self, wanted: float, name: str, **labels: str) -> None:
        """Wait until a sample is as large as that."""
        while await self.number(name, **labels) < wanted:
            pass


async def main(nodes: int, crowd: int, probes: int) -> None:
    """Run and print."""
    table = Table("", "created", "bound", title=f"p50 / p99 / most, in ms, {crowd:,} unplaceable")
    with running(**GRACE) as server:
        await create_all(server.url, "/api/v1/nodes", [node(number) for number in range(nodes)])
        async with aiohttp.ClientSession(server.url) as session:
            probe = Probe(session)
            watching = asyncio.create_task(probe.watch())
            await probe.number("scheduler_pending_pods")
            _tell(table, "idle", [await probe.place() for _ in range(probes)])
            await create_all(server.url, PODS, [pod(f"h{n}", 40_000 + n) for n in range(crowd)])
            await probe.reaches(crowd, "scheduler_pending_pods", queue="unschedulable")
            await asyncio.sleep(SETTLING)
            tried = await probe.number("scheduler_schedule_attempts_total", result="unschedulable")
            _tell(table, "beside the crowd", [await probe.place() for _ in range(probes)])
            await create_all(server.url, "/api/v1/nodes", [node(nodes)])
            delays: Delays = []
            again = tried
            while again < tried + crowd:
                delays += [await probe.place() for _ in range(10)]
                again = await probe.number(
                    "scheduler_schedule_attempts_total", result="unschedulable"
                )
            _tell(table, "while it wakes", delays)
            watching.cancel()
    Console().print(table)


def _tell(table: Table, what: str, delays: Delays) -> None:
    cells = [
        " / ".join(f"{v:.1f}" for v in np.percentile(d, [50, 99, 100]))
        for d in zip(*delays, strict=True)
    ]
    table.add_row(f"{what} ({len(delays)} pods)", *cells)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--crowd", type=int, default=10_000)
    parser.add_argument("--probes", type=int, default=200)
    given = parser.parse_args()
    asyncio.run(main(given.nodes, given.crowd, given.probes))
