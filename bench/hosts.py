"""What many Docker hosts cost one process: `make bench-hosts`.

Fake engines on unix sockets, all in one process beside the service, answer as the real one does
(list entries are padded to a real one's size). Pods are started on all of them, while somebody
uses the API; then, in the steady state, the service's CPU, memory and requests; then containers
die one after another, and the lag is from a container's death until its successor is started on
the engine. Service, PostgreSQL, engines and this client share the machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import numpy as np
from aiohttp import web
from rich.console import Console
from rich.table import Table

from bench.client import connect, create_all, get, post
from bench.server import Server, ask, cpu_seconds, running
from plugins.docker.tests.fake_engine import FakeContainer, FakeEngine

HOSTS = "/apis/ironfree.dev/v1/dockerhosts"
CONTROLLERS = "/api/v1/namespaces/default/replicationcontrollers"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
READY = "SELECT count(*) FROM nodes WHERE ready"
RUNNING = """
SELECT count(*) FROM objects WHERE resource = 'pods'
   AND status @> '{"conditions": [{"type": "Ready", "status": "True"}]}'
"""
_PADDING = "x" * 900  # ports, mounts, networks and command of a real list's entry
_EVERY = 0.05  # seconds between deaths
_QUIET = 180.0  # seconds without progress after which it is stuck

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Engine(FakeEngine):
    """A fake engine that says when a container's successor was started, and only counts calls."""

    started: dict[str, asyncio.Future[float]] = field(default_factory=dict)
    ids: dict[str, FakeContainer] = field(default_factory=dict)

    def find(self, name: str) -> FakeContainer | None:
        """By name or id."""
        return self.containers.get(name) or self.ids.get(name)

    async def _create(self, request: web.Request) -> web.Response:
        answer = await super()._create(request)
        made = self.containers.get(request.query["name"])
        if made is not None:
            self.ids[made.id] = made
        return answer

    async def _remove(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        answer = await super()._remove(request)
        if found is not None and answer.status == 204:
            self.ids.pop(found.id, None)
        return answer

    async def _list(self, request: web.Request) -> web.Response:
        wanted = json.loads(request.query.get("filters", "{}")).get("label", [])
        entries = [
            {"Id": c.id, "State": c.status, "Labels": c.labels, "ImageID": "", "Padding": _PADDING}
            for c in self.containers.values()
            if all(_carries(c.labels, *each.split("=", 1)) for each in wanted)
        ]
        return web.json_response(entries)

    async def _start(self, request: web.Request) -> web.Response:
        answer = await super()._start(request)
        found = self.find(request.match_info["name"])
        uid = found.labels.get("ironfree.dev/pod-uid", "") if found else ""
        waiting = self.started.pop(uid, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(time.perf_counter())
        return answer

    def apps(self) -> list[FakeContainer]:
        """Return what runs but for sandboxes."""
        return [
            c
            for c in self.containers.values()
            if c.status == "running" and c.labels.get("ironfree.dev/container", "POD") != "POD"
        ]

    async def kill(self, victim: FakeContainer) -> float:
        """Let a container die; returns the seconds until its successor was started."""
        begun = time.perf_counter()
        waiting = asyncio.get_running_loop().create_future()
        self.started[victim.labels["ironfree.dev/pod-uid"]] = waiting
        victim.status, victim.exit_code = "exited", 1
        self.emit("die", victim)
        async with asyncio.timeout(120):
            return await waiting - begun


def _carries(labels: dict[str, str], key: str, value: str | None = None) -> bool:
    return key in labels and value in {None, labels[key]}


class Engines:
    """All engines, in a process of their own; answers questions over a pipe."""

    def __init__(self, count: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ironfree-engines-"))
        self._pipe, far = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        arguments = (far, str(self.folder), count)
        self._process = context.Process(target=_engines, args=arguments, daemon=True)
        self._process.start()
        self.urls = cast(list[str], self._pipe.recv())

    async def calls(self) -> Counter[str]:
        """Return how often the engines were called so far, by what was wanted."""
        return cast(Counter[str], await self._ask("calls", 0))

    async def kill(self, number: int) -> list[float]:
        """Let so many containers die; returns the seconds until each had a successor."""
        return cast(list[float], await self._ask("kill", number))

    async def _ask(self, question: str, number: int) -> object:
        self._pipe.send((question, number))
        return await asyncio.to_thread(self._pipe.recv)

    def cpu_seconds(self) -> float:
        """Return the CPU time that the engines have used."""
        return cpu_seconds(self._process.pid or 0)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()
        shutil.rmtree(self.folder, ignore_errors=True)


def _engines(pipe: Connection, folder: str, count: int) -> None:
    async def serve() -> None:
        engines = [Engine(id=f"id-{n}", name=f"h{n}", images={"web:1"}) for n in range(count)]
        urls = [await e.serve(Path(folder, f"{n}.sock")) for n, e in enumerate(engines)]
        pipe.send(urls)
        while True:
            question, number = await asyncio.to_thread(pipe.recv)
            pipe.send(await _answer(engines, question, number))

    asyncio.run(serve())


async def _answer(engines: list[Engine], question: str, number: int) -> Counter[str] | list[float]:
    if question == "calls":
        return Counter(call for engine in engines for call in engine.calls)
    waiting: list[asyncio.Task[float]] = []  # "kill" so many, each for the first time
    every = [(engine, app) for engine in engines for app in engine.apps()]
    for engine, victim in random.sample(every, min(number, len(every))):
        waiting.append(asyncio.create_task(engine.kill(victim)))
        await asyncio.sleep(_EVERY)
    return await asyncio.gather(*waiting)


def host(number: int, url: str) -> dict[str, object]:
    """Return a DockerHost."""
    return {
        "apiVersion": "ironfree.dev/v1",
        "kind": "DockerHost",
        "metadata": {"name": f"h{number}"},
        "spec": {"address": url},
    }


def controller(number: int, pods: int) -> dict[str, object]:
    """Return a ReplicationController of small pods."""
    asked = {"cpu": "1m", "memory": "1Mi"}
    container = {"name": "web", "image": "web:1", "resources": {"requests": asked}}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": f"web-{number}"},
        "spec": {
            "replicas": pods,
            "template": {"metadata": {"labels": {"app": f"web-{number}"}}, "spec": spec},
        },
    }


class User:
    """Somebody who uses the API meanwhile: makes a ConfigMap and reads it, ten times a second."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.creates: list[float] = []
        self.gets: list[float] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        streams = await connect(self._url)
        number = 0
        try:
            while True:
                number += 1
                await self._use(streams, f"mine-{number}")
                await asyncio.sleep(0.1)
        finally:
            streams[1].close()

    async def _use(self, streams: Streams, name: str) -> None:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        begun = time.perf_counter()
        code, answer = await post(streams, CONFIG_MAPS, json.dumps(made).encode())
        middle = time.perf_counter()
        if code == 201:
            code, answer = await get(streams, f"{CONFIG_MAPS}/{name}")
        self.creates.append(middle - begun)
        self.gets.append(time.perf_counter() - middle)
        if code >= 300:
            raise SystemExit(f"HTTP {code}: {answer[:300].decode()}")


async def reaches(server: Server, query: str, wanted: int, what: str) -> None:
    """Wait until a count in the database is as large, and show how it grows."""
    console = Console(stderr=True)
    before, moved, shown = -1, time.perf_counter(), 0.0
    while True:
        ((found,),) = await ask(server, query)
        count, now = cast(int, found), time.perf_counter()
        if count != before:
            before, moved = count, now
        if now - shown > 10:
            shown = now
            console.print(f"{count:,} of {wanted:,} {what}", highlight=False)
        if count >= wanted:
            return
        if now - moved > _QUIET:
            raise SystemExit(f"stuck at {count} of {wanted} {what}")
        await asyncio.sleep(1)


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    pods: int
    controllers: int
    seconds: float
    deaths: int


async def main(hosts: int, plan: Plan) -> None:
    """Run and print."""
    title = f"{hosts:,} hosts, {2 * plan.pods:,} containers of {plan.pods:,} pods"
    table = Table("", "", title=title)
    engines = Engines(hosts)
    try:
        with running() as server:
            await _measure(server, engines, table, plan)
    finally:
        engines.stop()
        Console().print(table)


async def _measure(server: Server, engines: Engines, table: Table, plan: Plan) -> None:
    hosts, begun = len(engines.urls), time.perf_counter()
    await create_all(server.url, HOSTS, [host(n, url) for n, url in enumerate(engines.urls)])
    await reaches(server, READY, hosts, "hosts ready")
    table.add_row("until all hosts are ready", f"{time.perf_counter() - begun:.0f} s")
    await _start(server, engines, table, plan)
    await asyncio.sleep(plan.seconds / 4)
    calls, cpu, theirs = await engines.calls(), server.cpu_seconds(), engines.cpu_seconds()
    await asyncio.sleep(plan.seconds)
    cpu, theirs = server.cpu_seconds() - cpu, engines.cpu_seconds() - theirs
    made = await engines.calls() - calls
    used = f"{cpu / plan.seconds:.2f} of a core (the engines: {theirs / plan.seconds:.2f})"
    table.add_row(f"steady state, {plan.seconds:g} s: CPU of the service", used)
    rate = made.total() / plan.seconds / hosts
    kinds = ", ".join(f"{kind} {100 * n / made.total():.0f} %" for kind, n in made.most_common(5))
    table.add_row("requests", f"{rate:.2f} per host and second: {kinds}")
    cpu = server.cpu_seconds()
    lags = await engines.kill(plan.deaths)
    cells = " / ".join(f"{1000 * lag:.0f}" for lag in np.percentile(lags, [50, 99, 100]))
    what = f"lag, {len(lags)} deaths, {1 / _EVERY:g} per s: p50 / p99 / most"
    table.add_row(what, f"{cells} ms, {1000 * (server.cpu_seconds() - cpu) / len(lags):.0f} ms CPU")
    service, postgres = server.memory()
    table.add_row("peak memory", f"service {service:,} MiB, PostgreSQL {postgres:,} MiB")


async def _start(server: Server, engines: Engines, table: Table, plan: Plan) -> None:
    """Have the pods started, and tell how that went."""
    begun, cpu, theirs = time.perf_counter(), server.cpu_seconds(), engines.cpu_seconds()
    calls = await engines.calls()
    share, more = divmod(plan.pods, plan.controllers)
    wanted = [controller(n, share + (n < more)) for n in range(plan.controllers)]
    user = User(server.url)
    using = asyncio.create_task(user.run())
    await create_all(server.url, CONTROLLERS, wanted)
    await reaches(server, RUNNING, plan.pods, "pods ready")
    took, cpu = time.perf_counter() - begun, server.cpu_seconds() - cpu
    theirs = engines.cpu_seconds() - theirs
    using.cancel()
    await asyncio.wait({using})
    table.add_row("from then until all pods are", f"{took:.0f} s, {plan.pods / took:.0f} pods/s")
    table.add_row("CPU of the service, the engines", f"{cpu:.0f} s, {theirs:.0f} s")
    made = await engines.calls() - calls
    kinds = ", ".join(f"{kind} {n / plan.pods:.1f}" for kind, n in made.most_common(9))
    table.add_row("requests per pod, all told", f"{made.total() / plan.pods:.1f}: {kinds}")
    for what, times in (("create", user.creates), ("get", user.gets)):
        cells = " / ".join(f"{1000 * t:.0f}" for t in np.percentile(times, [50, 99, 100]))
        table.add_row(f"meanwhile: a user's {what}, p50 / p99 / most", f"{cells} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=15_000)
    parser.add_argument("--controllers", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--deaths", type=int, default=500)
    given = parser.parse_args()
    plan = Plan(given.pods, given.controllers, given.seconds, given.deaths)
    asyncio.run(main(given.hosts, plan))
