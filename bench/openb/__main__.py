"""`make bench-openb`: every machine and task of the trace, from HTTP to running.

The nodes are DockerHosts with the driver "simulated"; the tasks are Pods, in order of arrival, by
bulk requests. Latency is from sending a pod's request to its binding's commit.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.client import bulk, connect, create_all
from bench.openb.trace import GPU_MILLI, gpu_milli, host, pod, read_nodes, read_pods
from bench.server import OVERCOMMITTED, Server, ask, running

PODS = "/api/v1/namespaces/default/pods"
HOSTS = "/apis/ironfree.dev/v1/dockerhosts"
QUIET = 5.0  # seconds without progress after which the rest counts as unplaceable


class Run:
    """One run of the trace against a service."""

    def __init__(self, server: Server, progress: Progress, variant: str, chunk: int) -> None:
        self.server = server
        self.progress = progress
        self.nodes = read_nodes()
        self.tasks = read_pods(variant)
        self.chunk = chunk
        self.seconds: dict[str, float] = {}
        self.sent: dict[str, datetime] = {}

    async def phase(self, name: str, work: Callable[[int], Awaitable[None]], total: int) -> None:
        """Run one phase under a progress bar and keep its time."""
        bar = self.progress.add_task(name, total=total)
        begun = time.perf_counter()
        await work(bar)
        self.seconds[name] = time.perf_counter() - begun

    async def hosts(self, bar: int) -> None:
        """Declare the machines and wait until all are Ready nodes."""
        await create_all(self.server.url, HOSTS, [host(node) for node in self.nodes])
        await self.until("SELECT count(*) FROM nodes WHERE ready", len(self.nodes), bar)

    async def submit(self, bar: int) -> None:
        """Send the tasks; every answer means that they are durable."""
        streams = await connect(self.server.url)
        for start in range(0, len(self.tasks), self.chunk):
            part = self.tasks[start : start + self.chunk]
            now = datetime.now(UTC)
            self.sent |= dict.fromkeys((task.name for task in part), now)
            code, answer = await bulk(streams, PODS, [pod(task) for task in part])
            if code >= 300 or b'"status":"Failure"' in answer:
                raise SystemExit(f"HTTP {code}: {answer[:600].decode()}")
            self.progress.update(bar, advance=len(part))
        streams[1].close()

    async def bound(self, bar: int) -> None:
        """Wait until every task that fits has a node."""
        await self.until("SELECT count(*) FROM placements", len(self.tasks), bar)

    async def runs(self, bar: int) -> None:
        """Wait until every bound task runs."""
        placed = int(str((await ask(self.server, "SELECT count(*) FROM placements"))[0][0]))
        self.progress.update(bar, total=placed)
        await self.until("SELECT count(*) FROM pods WHERE phase = 'Running'", placed, bar)

    async def until(self, query: str, wanted: int, bar: int) -> None:
        """Ask until the count is reached, or nothing has moved for a while."""
        last, moved = -1, time.perf_counter()
        while last < wanted and time.perf_counter() - moved < QUIET:
            await asyncio.sleep(0.1)
            count = int(str((await ask(self.server, query))[0][0]))
            if count != last:
                last, moved = count, time.perf_counter()
                self.progress.update(bar, completed=count)


async def main(variant: str, chunk: int) -> None:
    """Run and print."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        running() as server,
        Progress(*columns, TimeElapsedColumn(), refresh_per_second=4) as progress,
    ):
        run = Run(server, progress, variant, chunk)
        await run.phase("hosts ready", run.hosts, len(run.nodes))
        await run.phase("pods durable", run.submit, len(run.tasks))
        await run.phase("pods bound", run.bound, len(run.tasks))
        await run.phase("pods running", run.runs, len(run.tasks))
        progress.stop()
        await report(run)


async def report(run: Run) -> None:
    """Print what was placed, how fast, and whether any node has too much."""
    rows = await ask(run.server, "SELECT pod, bound_at FROM placements ORDER BY bound_at")
    bound_at = {str(name): at for name, at in rows if isinstance(at, datetime)}
    delays = [(at - run.sent[name]).total_seconds() for name, at in bound_at.items()]
    begun, ended = min(run.sent.values()), max(bound_at.values())
    used = await ask(
        run.server,
        "SELECT sum(cpu_milli), sum(memory_bytes),"
        f" sum((other_requests ->> '{GPU_MILLI}')::bigint) FROM placements WHERE holds_capacity",
    )
    cpu, memory, gpu = (int(str(value or 0)) for value in used[0])
    over = await ask(run.server, OVERCOMMITTED)
    resident, postgres = run.server.memory()
    span = (ended - begun).total_seconds()
    total_cpu = sum(node.cpu for node in run.nodes)
    total_memory = sum(node.memory for node in run.nodes) << 20
    p50, p99 = np.percentile(delays, [50, 99])
    table = Table(title="openb through the HTTP API", show_header=False)
    durable = len(run.tasks) / run.seconds["pods durable"]
    for name, value in (
        ("nodes", f"{len(run.nodes):,}"),
        ("pods placed", f"{len(bound_at):,} of {len(run.tasks):,}"),
        ("GPU allocated", f"{100 * gpu / gpu_milli(run.nodes):.2f} %"),
        ("CPU allocated", f"{100 * cpu / total_cpu:.2f} %"),
        ("memory allocated", f"{100 * memory / total_memory:.2f} %"),
        *((f"time: {name}", f"{seconds:.2f} s") for name, seconds in run.seconds.items()),
        ("submitted → durable", f"{durable:,.0f} pods/s"),
        ("submitted → durable → bound", f"{len(bound_at) / span:,.0f} pods/s"),
        ("latency to bound, p50 / p99", f"{1000 * p50:.0f} / {1000 * p99:.0f} ms"),
        ("peak memory: service", f"{resident} MiB"),
        ("peak memory: PostgreSQL", f"{postgres} MiB"),
        ("CPU time: service", f"{run.server.cpu_seconds():.1f} s"),
        ("overcommitted nodes (SQL)", f"{len(over)}"),
    ):
        table.add_row(name, value)
    Console().print(table)
    if over:
        raise SystemExit(f"overcommitted: {over[:5]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", choices=["default", "gpuspec33"], default="default")
    parser.add_argument("--chunk", type=int, default=500, help="pods per bulk request")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.variant, arguments.chunk))
