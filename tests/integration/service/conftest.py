"""The whole service in processes of its own, and a PostgreSQL that a test may take away."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from scheduler.store.embedded import EmbeddedPostgres

PODS = "/api/v1/namespaces/default/pods"
_PATIENCE = 150  # seconds: also for a machine that is busy with much else


class Postgres:
    """A crash-safe server that can be gone for a while, with its URL kept."""

    def __init__(self, directory):
        self.server = EmbeddedPostgres(directory)
        self._running = contextlib.AsyncExitStack()
        self.url = ""

    async def start(self):
        self.url = await self._running.enter_async_context(self.server.run())

    async def crash(self):
        """What `pg_ctl stop -m immediate` does; nothing serves until `start`."""
        pid = int((self.server.cluster / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        await self._running.aclose()

    async def close(self):
        await self._running.aclose()


class Process:
    """One `ironfree serve`."""

    def __init__(self, directory, database_url, session, settings):
        self.directory, self.session = directory, session
        self.lines = []
        self.url = ""
        self._environment = {
            **os.environ,
            "HOME": str(directory),
            "IRONFREE_DATA_DIR": str(directory),
            "IRONFREE_HEARTBEAT_SECONDS": "1",
            "IRONFREE_NODE_GRACE_SECONDS": "6",
            "DATABASE_URL": database_url,
            **settings,
        }

    async def start(self):
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scheduler", "serve", "--port", "0"),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read(ready))
        async with asyncio.timeout(90):
            await ready.wait()
        assert self.url, self.output
        return self

    async def _read(self, ready):
        async for line in self._process.stdout:
            self.lines.append(line.decode())
            if line.startswith(b"Ironfree serves at "):
                self.url = line.split()[-1].decode()
                ready.set()
        ready.set()

    @property
    def pid(self):
        return self._process.pid

    @property
    def alive(self):
        return self._process.returncode is None

    @property
    def output(self):
        return "".join(self.lines[-60:])

    async def said(self, part):
        """Wait until a line of its output has `part`."""
        await self.eventually(lambda: any(part in line for line in self.lines), what=part)

    def send(self, number):
        self._process.send_signal(number)

    async def end(self, number=signal.SIGTERM):
        if self.alive:
            self.send(number)
            if number != signal.SIGKILL:
                self.send(signal.SIGCONT)
            await self._process.wait()
        await self._reading

    async def call(self, method, path, body=None, **params):
        """Return code, JSON and headers of a request."""
        async with self.session.request(
            method, self.url + path, json=body, params=params
        ) as response:
            text = await response.read()
            value = json.loads(text) if text[:1] == b"{" else text.decode()
            return SimpleNamespace(code=response.status, body=value, headers=response.headers)

    async def get(self, path, **params):
        answer = await self.call("GET", path, **params)
        assert answer.code == 200, answer.body
        return answer.body

    async def eventually(self, look, what="", seconds=_PATIENCE):
        """Wait until `look` (awaited where it can be) is true; return what it returned.

        For what only shows by asking another process.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    value = look()
                    value = await value if asyncio.iscoroutine(value) else value
                    if value:
                        return value
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {what}\n{self.output}") from None

    async def add_hosts(self, count):
        for number in range(count):
            made = await self.call(
                "POST",
                "/apis/ironfree.dev/v1/dockerhosts",
                {
                    "metadata": {"name": f"h{number}"},
                    "spec": {
                        "driver": "simulated",
                        "address": f"simulated://h{number}?cpu=8&memory=32Gi",
                    },
                },
            )
            assert made.code == 201, made.body

    async def ironfree(self, *words):
        """Run the command against it; return its exit code, what it printed, its complaints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scheduler", *words, "--server", self.url),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(self.directory)},
        )
        said, complaints = await process.communicate()
        return process.returncode, said.decode(), complaints.decode()

    async def add_ready_hosts(self, count):
        """Add hosts and wait until their Nodes are ready."""
        await self.add_hosts(count)

        async def ready():
            nodes = (await self.get("/api/v1/nodes"))["items"]
            conditions = [c for n in nodes for c in n["status"].get("conditions", ())]
            return sum(c["type"] == "Ready" and c["status"] == "True" for c in conditions) == count

        await self.eventually(ready, f"{count} nodes ready")

    async def add_controller(self, replicas):
        container = {"name": "c", "image": "x:1", "resources": {"requests": {"cpu": "10m"}}}
        made = await self.call(
            "POST",
            "/api/v1/namespaces/default/replicationcontrollers",
            {
                "metadata": {"name": "web"},
                "spec": {
                    "replicas": replicas,
                    "selector": {"app": "web"},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [container]},
                    },
                },
            },
        )
        assert made.code == 201, made.body

    async def scale(self, replicas):
        path = "/api/v1/namespaces/default/replicationcontrollers/web/scale"
        return await self.call(
            "PUT", path, {"metadata": {"name": "web"}, "spec": {"replicas": replicas}}
        )

    async def running(self, count):
        """Wait until exactly so many pods are there, all running; return them by uid."""

        async def look():
            answer = await self.call("GET", PODS)
            if answer.code != 200:
                return None
            pods = [p for p in answer.body["items"] if "deletionTimestamp" not in p["metadata"]]
            ready = sum(p["status"]["phase"] == "Running" for p in pods)
            return pods if len(pods) == count == ready else None

        pods = await self.eventually(look, f"{count} running pods")
        return {pod["metadata"]["uid"]: pod for pod in pods}


@pytest.fixture
async def postgres():
    directory = Path(tempfile.mkdtemp(prefix="ironfree-gone-"))
    os.chmod(directory, 0o755)
    server = Postgres(directory / "data")
    await server.start()
    yield server
    await server.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
async def processes(tmp_path):
    """Starts services on a database; all are ended."""
    started = []
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:

        async def start(database_url, **settings):
            """Start one; settings are variables of its environment."""
            directory = tmp_path / f"service-{len(started)}"
            directory.mkdir()
            process = Process(directory, database_url, session, settings)
            started.append(process)
            return await process.start()

        yield start
        for process in started:
            await process.end()
            print("".join(process.lines[-40:]))  # shown where the test failed
