"""What many Docker hosts cost one process: `make bench-hosts`.

Fake engines on unix sockets, all in one process beside the service, answer as the real one does
(list entries are padded to a real one's size). Pods are started on all of them; then, in the steady
state, the service's CPU, memory and requests; then containers die one after another, and the lag is
from a container's death until its successor is started on the engine. Service, PostgreSQL, engines
and this client share the machine.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import aiohttp
import numpy as np
from aiohttp import web
from rich.console import Console
from rich.table import Table

from bench.client import create_all
from bench.server import Server, running
from plugins.docker.tests.fake_engine import FakeContainer, FakeEngine

HOSTS = "/apis/ironfree.dev/v1/dockerhosts"
CONTROLLERS = "/api/v1/namespaces/default/replicationcontrollers"
_PADDING = "x" * 900  # ports, mounts, networks and command of a real list's entry
_EVERY = 0.05  # seconds between deaths


@dataclass
class Engine(FakeEngine):
    """A fake engine that says when a container's successor was started."""

    started: dict[str, asyncio.Future[float]] = field(default_factory=dict)

    async def _list(self, request: web.Request) -> web.Response:
        entries = [
            {"Id": c.id, "State": c.status, "Labels": c.labels, "Padding": _PADDING}
            for c in self.containers.values()
        ]
        return web.json_response(entries)

    async def _start(self, request: web.Request) -> web.Response:
        answer = await super()._start(request)
        found = self.find(request.match_info["name"])
        waiting = self.started.pop(found.labels["ironfree.dev/pod-uid"], None) if found else None
        if waiting is not None and not waiting.done():
            waiting.set_result(time.perf_counter())
        return answer

    def apps(self) -> list[FakeContainer]:
        """Return what runs but for sandboxes."""
        return [
            c
            for c in self.containers.values()
            if c.status == "running" and c.labels["ironfree.dev/container"] != "POD"
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

    async def ask(self, question: str, number: int = 0) -> list[float]:
        """Return the answer to a question (see `_answer`)."""
        self._pipe.send((question, number))
        return await asyncio.to_thread(self._pipe.recv)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


def _engines(pipe: Connection, folder: str, count: int) -> None:
    async def serve() -> None:
        engines = [Engine(id=f"id-{n}", name=f"h{n}", images={"web:1"}) for n in range(count)]
        urls = [await e.serve(Path(folder, f"{n}.sock")) for n, e in enumerate(engines)]
        pipe.send(urls)
        while True:
            question, number = await asyncio.to_thread(pipe.recv)
            pipe.send(await _answer(engines, question, number))

    asyncio.run(serve())


async def _answer(engines: list[Engine], question: str, number: int) -> list[float]:
    if question == "running":
        return [sum(len(engine.apps()) for engine in engines)]
    if question == "calls":
        return [sum(len(engine.calls) for engine in engines)]
    waiting: list[asyncio.Task[float]] = []  # "kill" so many, each for the first time
    every = [(engine, app) for engine in engines for app in engine.apps()]
    for engine, victim in random.sample(every, number):
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


def controller(pods: int) -> dict[str, object]:
    """Return a ReplicationController of small pods."""
    asked = {"cpu": "1m", "memory": "1Mi"}
    container = {"name": "web", "image": "web:1", "resources": {"requests": asked}}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": pods,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    }


async def reachable(session: aiohttp.ClientSession, wanted: int) -> None:
    """Wait until so many Nodes are there; agents register what they reach."""
    while True:
        async with session.get("/api/v1/nodes", params={"limit": "1"}) as answer:
            found = json.loads(await answer.read()) if answer.status == 200 else {}
        meta = found.get("metadata") or {}
        if len(found.get("items") or ()) + meta.get("remainingItemCount", 0) >= wanted:
            return
        await asyncio.sleep(1)


async def ready(session: aiohttp.ClientSession, path: str, wanted: int) -> None:
    """Wait until an object's status says that so many are ready."""
    while True:
        async with session.get(path) as answer:
            found = json.loads(await answer.read()) if answer.status == 200 else {}
        if (found.get("status") or {}).get("readyReplicas", 0) >= wanted:
            return
        await asyncio.sleep(1)


async def main(hosts: int, pods: int, seconds: float, deaths: int) -> None:
    """Run and print."""
    table = Table("", "", title=f"{hosts:,} hosts, {2 * pods:,} containers of {pods:,} pods")
    engines = Engines(hosts)
    try:
        with running() as server:
            await _measure(server, engines, table, (pods, seconds, deaths))
    finally:
        engines.stop()
    Console().print(table)


async def _measure(
    server: Server, engines: Engines, table: Table, wanted: tuple[int, float, int]
) -> None:
    pods, seconds, deaths = wanted
    hosts = len(engines.urls)
    begun = time.perf_counter()
    await create_all(server.url, HOSTS, [host(n, url) for n, url in enumerate(engines.urls)])
    async with aiohttp.ClientSession(server.url) as session:
        await reachable(session, hosts)
        table.add_row("until all hosts are ready", f"{time.perf_counter() - begun:.0f} s")
        begun = time.perf_counter()
        await create_all(server.url, CONTROLLERS, [controller(pods)])
        await ready(session, f"{CONTROLLERS}/web", pods)
        took = time.perf_counter() - begun
        table.add_row("from then until all pods are", f"{took:.0f} s, {pods / took:.0f} pods/s")
        table.add_row("CPU of both", f"{server.cpu_seconds():.0f} s")
        await asyncio.sleep(seconds / 4)
        calls, cpu = (await engines.ask("calls"))[0], server.cpu_seconds()
        await asyncio.sleep(seconds)
        called = (await engines.ask("calls"))[0] - calls
        used = server.cpu_seconds() - cpu
        table.add_row(
            f"steady state, {seconds:g} s: CPU", f"{100 * used / seconds:.0f} % of a core"
        )
        table.add_row("requests", f"{called / seconds / hosts:.2f} per host and second")
        lags = await engines.ask("kill", deaths)
        cells = " / ".join(f"{1000 * lag:.0f}" for lag in np.percentile(lags, [50, 99, 100]))
        table.add_row(
            f"lag, {deaths} deaths, {1 / _EVERY:g} per s: p50 / p99 / most", f"{cells} ms"
        )
        service, postgres = server.memory()
        table.add_row("peak memory", f"service {service:,} MiB, PostgreSQL {postgres:,} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=15_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--deaths", type=int, default=500)
    given = parser.parse_args()
    asyncio.run(main(given.hosts, given.pods, given.seconds, given.deaths))
