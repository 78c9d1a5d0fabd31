"""A Docker Engine that is none: containers in memory, faults at will, as many as you like.

Speaks as much of the Docker Engine API as the driver uses, on a unix socket. It follows the real
engine where the driver depends on it (names are unique, 304 for a second start, null for empty
lists, errors inside a 200); where it does not, tests/e2e has the last word.
"""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from plugins.docker.tests.fake_dialer import PROC, frame, keep_gateway, speak
from plugins.docker.tests.fake_images import UNNAMED, FakeImages, image_id, refusal
from plugins.docker.tests.fake_networks import FakeNetworks
from plugins.docker.tests.fake_volumes import FakeVolumes, has_label

ZERO_TIME = "0001-01-01T00:00:00Z"
NOW = "2026-01-02T03:04:05.123456789Z"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeContainer:
    """One container; `body` is what it was created from.

    Args:
        oom_late: whoever asks first is not told that memory was short.
    """

    id: str
    name: str
    body: dict[str, Any]
    status: str = "created"
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    oom_late: bool = False
    log: bytes = b""
    memory: int = 0

    @property
    def labels(self) -> dict[str, str]:
        return self.body.get("Labels") or {}


@dataclass
class FakeExec:
    """A command in a container."""

    container: str
    command: list[str]
    running: bool = False
    exit_code: int | None = None


@dataclass
class FakeEngine(FakeImages, FakeNetworks, FakeVolumes):
    """The engine and its faults, by action ("create", "start", "inspect", "list", …).

    Args:
        api, min_api: versions offered.
        root: the directory that it keeps everything in.
        reject: answers an action with (code, message) and does nothing.
        lose: does the action, then breaks the connection; once per entry.
        hang: does the action, then says nothing until the engine stops; once per entry.
        garbage: answers an action with these bytes.
        start_fails: by image, the error that a start leaves in the container's state.
        programs: by first word of a command, its exit code and output; others exit with 0. Exit
            code -1 runs for ever.
        starting: first words of commands that the engine has not started yet.
        archives: what was written where, by path in the container.
        links: symbolic links in containers, by path.
        contents: of files in containers, by path.
        directories: of containers, by path, and their modes as Go has them.
        cdi: names of devices it has found.
        disk: block size, blocks, free blocks, those free for all; inodes, and free ones.
        files: of its host, as the dialer finds them.
        commits: query and body of every commit.
    """

    api: str = "1.41"
    min_api: str = "1.12"
    architecture: str = "amd64"
    id: str = "F4K3"
    name: str = "fake"
    live_restore: bool = False
    root: str = ""
    reject: dict[str, tuple[int, str]] = field(default_factory=dict)
    lose: Counter[str] = field(default_factory=Counter)
    hang: Counter[str] = field(default_factory=Counter)
    garbage: dict[str, bytes] = field(default_factory=dict)
    start_fails: dict[str, str] = field(default_factory=dict)
    disk: tuple[int, int, int, int, int, int] = (4096, 1000, 400, 300, 0, 0)
    files: dict[bytes, bytes] = field(default_factory=lambda: dict(PROC))
    commits: list[dict[str, Any]] = field(default_factory=list)

    containers: dict[str, FakeContainer] = field(default_factory=dict)
    execs: dict[str, FakeExec] = field(default_factory=dict)
    programs: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    starting: set[str] = field(default_factory=set)
    archives: list[tuple[str, dict[str, tarfile.TarInfo]]] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    directories: dict[str, int] = field(default_factory=dict)
    cdi: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    busiest: Counter[str] = field(default_factory=Counter)
    events: "list[asyncio.Queue[bytes | None]]" = field(default_factory=list)
    _under_way: Counter[str] = field(default_factory=Counter)
    _runner: web.AppRunner | None = None
    _created: int = 0

    async def serve(self, socket: Path) -> str:
        """Listen on a unix socket; returns the URL."""
        application = web.Application(client_max_size=64 << 20)
        for method, path, handler, action in self._routes():
            application.router.add_route(method, path, self._faulty(handler, action))
            versioned = r"/{version:v\d+\.\d+}" + path
            application.router.add_route(method, versioned, self._faulty(handler, action))
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(socket)).start()
        return f"unix://{socket}"

    async def stop(self) -> None:
        """Break every connection."""
        self.stopping.set()
        for queue in self.events:
            queue.put_nowait(None)
        if self._runner is not None:
            await self._runner.cleanup()

    def emit(self, action: str, container: FakeContainer) -> None:
        """Send an event to every listener."""
        actor = {"ID": container.id, "Attributes": container.labels | {"name": container.name}}
        line = json.dumps({"Type": "container", "Action": action, "Actor": actor}).encode()
        for queue in self.events:
            queue.put_nowait(line + b"\n")

    def find(self, name: str) -> FakeContainer | None:
        """By name, id or prefix of an id."""
        if name in self.containers:
            return self.containers[name]
        matches = [c for c in self.containers.values() if c.id.startswith(name)]
        return matches[0] if matches else None

    def add(self, name: str, **body: Any) -> FakeContainer:
        """Have a container running that somebody else has started."""
        self._created += 1
        identifier = hashlib.sha256(f"{self._created}".encode()).hexdigest()
        made = FakeContainer(identifier, name, {"Image": "theirs:v1", **body}, "running")
        self.containers[name] = made
        self.emit("start", made)
        return made

    # ---------------------------------------------------------------------------------------

    def _routes(self) -> list[tuple[str, str, Handler, str]]:
        return [
            ("GET", "/_ping", self._ping, "ping"),
            ("GET", "/version", self._version, "version"),
            ("GET", "/info", self._info, "info"),
            ("GET", "/events", self._events, "events"),
            ("GET", "/containers/json", self._list, "list"),
            ("POST", "/containers/create", self._create, "create"),
            ("GET", "/containers/{name}/json", self._inspect, "inspect"),
            ("GET", "/containers/{name}/stats", self._stats, "stats"),
            ("POST", "/containers/{name}/update", self._update, "update"),
            ("POST", "/containers/{name}/start", self._start, "start"),
            ("POST", "/containers/{name}/stop", self._stop, "stop"),
            ("POST", "/containers/{name}/kill", self._stop, "kill"),
            ("POST", "/containers/{name}/wait", self._wait, "wait"),
            ("GET", "/containers/{name}/logs", self._logs, "logs"),
            ("DELETE", "/containers/{name}", self._remove, "remove"),
            ("POST", "/containers/{name}/exec", self._create_exec, "exec"),
            ("POST", "/exec/{name}/start", self._start_exec, "exec-start"),
            ("GET", "/exec/{name}/json", self._inspect_exec, "exec-inspect"),
            ("POST", "/containers/{name}/attach", self._attach, "attach"),
            ("PUT", "/containers/{name}/archive", self._put_archive, "archive"),
            ("HEAD", "/containers/{name}/archive", self._stat_archive, "stat"),
            ("GET", "/containers/{name}/archive", self._get_archive, "get-archive"),
            ("GET", "/volumes/{name}", self.answer_volume, "inspect-volume"),
            ("GET", "/distribution/{name:.+}/json", self.answer_distribution, "distribution"),
            ("POST", "/build", self.answer_build, "build"),
            ("POST", "/commit", self._commit, "commit"),
            ("POST", "/images/{name:.+}/push", self.answer_push, "push"),
            ("POST", "/images/create", self.answer_pull, "pull"),
            ("POST", "/images/load", self.answer_load, "load"),
            ("GET", "/images/{name:.+}/json", self.answer_image, "image"),
            ("GET", "/images/json", self.answer_images, "images"),
            ("GET", "/images/{name:.+}/get", self.answer_save, "save"),
            ("POST", "/images/{name:.+}/tag", self.answer_tag, "tag"),
            ("DELETE", "/images/{name:.+}", self.answer_remove_image, "remove-image"),
            ("POST", "/volumes/create", self.answer_new_volume, "volume"),
            ("GET", "/volumes", self.answer_volumes, "volumes"),
            ("DELETE", "/volumes/{name}", self.answer_gone_volume, "remove-volume"),
            ("GET", "/system/df", self.answer_usage, "df"),
            ("GET", "/networks", self.answer_networks, "networks"),
            ("GET", "/networks/{name}", self.answer_network, "network"),
            ("POST", "/networks/create", self.answer_new_network, "new-network"),
            ("DELETE", "/networks/{name}", self.answer_gone_network, "gone-network"),
        ]

    def _faulty(self, handler: Handler, action: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.calls.append(action)
            self._under_way[action] += 1
            self.busiest[action] = max(self.busiest[action], self._under_way[action])
            try:
                return await self._answer(request, handler, action)
            finally:
                self._under_way[action] -= 1

        return handle

    async def _answer(
        self, request: web.Request, handler: Handler, action: str
    ) -> web.StreamResponse:
        version = request.match_info.get("version")
        if version and not _number(self.min_api) <= _number(version[1:]) <= _number(self.api):
            return refusal(400, f"client version {version} is out of range")
        if action in self.reject:
            return refusal(*self.reject[action])
        if action in self.garbage:
            return web.Response(body=self.garbage[action], content_type="application/json")
        response = await handler(request)
        if self.lose[action]:
            self.lose[action] -= 1
            assert request.transport is not None
            request.transport.abort()
        if self.hang[action]:
            self.hang[action] -= 1
            self.hanging.release()
            await self.stopping.wait()
        return response

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _version(self, _: web.Request) -> web.Response:
        versions = {"Version": "20.10.24", "ApiVersion": self.api, "MinAPIVersion": self.min_api}
        return web.json_response(versions | {"Os": "linux", "Arch": self.architecture})

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "ID": self.id,
                "Name": self.name,
                "NCPU": 4,
                "MemTotal": 8 << 30,
                "ServerVersion": "20.10.24",
                "DockerRootDir": self.root,
                "LiveRestoreEnabled": self.live_restore,
                "Warnings": None,
                "DiscoveredDevices": [{"Source": "cdi", "ID": each} for each in self.cdi] or None,
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.events.append(queue)
        while (line := await queue.get()) is not None:
            await response.write(line)
        return response

    async def _list(self, request: web.Request) -> web.Response:
        filters = json.loads(request.query.get("filters", "{}"))
        wanted, ids = filters.get("label", []), filters.get("id")
        found = [
            c
            for c in self.containers.values()
            if all(has_label(c.labels, w) for w in wanted) and (ids is None or c.id in ids)
        ]
        return web.json_response(
            [
                {
                    "Id": c.id,
                    "State": c.status,
                    "Labels": c.labels or None,
                    "Names": [f"/{c.name}"],
                    "ImageID": image_id(c.body["Image"]),
                    **({"SizeRw": self.written.get(c.name, 0)} if "size" in request.query else {}),
                }
                for c in found
            ]
        )

    async def _create(self, request: web.Request) -> web.Response:
        name, body = request.query["name"], await request.json()
        if name in self.containers:
            taken = self.containers[name].id
            return refusal(409, f'Conflict. The name "/{name}" is in use by container "{taken}".')
        if body["Image"] not in self.images:
            return refusal(404, f"No such image: {body['Image']}")
        self._created += 1
        identifier = hashlib.sha256(f"{self._created}".encode()).hexdigest()
        self.containers[name] = FakeContainer(identifier, name, body)
        self.make_volumes(body)
        return web.json_response({"Id": identifier, "Warnings": None}, status=201)

    async def _inspect(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        late, found.oom_late = found.oom_late, False
        state = {
            "Status": found.status,
            "ExitCode": found.exit_code,
            "OOMKilled": found.oom_killed and not late,
            "Error": found.error,
            "StartedAt": ZERO_TIME if found.status == "created" else NOW,
            "FinishedAt": NOW if found.status == "exited" else ZERO_TIME,
        }
        config = {key: value for key, value in found.body.items() if key != "HostConfig"}
        config |= {"Labels": found.labels or None, "Tty": found.body.get("Tty", False)}
        limits = found.body.get("HostConfig", {})
        networks = {
            "Networks": {"bridge": {"IPAddress": "172.17.0.2"}},
            "Ports": limits.get("PortBindings") or {},
        }
        return web.json_response(
            {
                "Id": found.id,
                "Name": f"/{found.name}",
                "Created": NOW,
                "Image": UNNAMED,
                "State": state,
                "Config": config,
                "HostConfig": limits,
                "Mounts": found.body.get("Mounts", []) or _mounted(limits),
                "NetworkSettings": networks,
            }
        )

    async def _stats(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        memory = {"usage": found.memory + 512, "stats": {"inactive_file": 512}}
        stats = {"read": NOW, "memory_stats": memory, "pids_stats": {"current": 3}}
        return web.json_response(stats)

    async def _update(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        found.body.setdefault("HostConfig", {}).update(await request.json())
        self.emit("update", found)
        return web.json_response({"Warnings": None})

    async def _start(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        if found.status == "running":
            return web.Response(status=304)
        if error := self.start_fails.get(found.body["Image"]):
            found.error, found.exit_code = error, 127
            return refusal(400, error)
        found.status = "running"
        self.emit("start", found)
        return web.Response(status=204)

    async def _stop(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        if found.status != "running":
            return web.Response(status=304)
        found.status, found.exit_code = "exited", 143
        self.emit("die", found)
        return web.Response(status=204)

    async def _wait(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        return web.json_response({"StatusCode": found.exit_code if found else 0})

    async def _logs(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        return web.Response(body=found.log)

    async def _remove(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        if found.status == "running" and request.query.get("force") != "1":
            return refusal(409, "You cannot remove a running container")
        del self.containers[found.name]
        return web.Response(status=204)

    async def _create_exec(self, request: web.Request) -> web.Response:
        found = self.find(request.match_info["name"])
        if found is None:
            return refusal(404, "No such container")
        if found.status != "running":
            return refusal(409, f"Container {found.id} is not running")
        identifier = f"exec{len(self.execs)}"
        self.execs[identifier] = FakeExec(found.id, (await request.json())["Cmd"])
        return web.json_response({"Id": identifier}, status=201)

    async def _start_exec(self, request: web.Request) -> web.StreamResponse:
        found = self.execs[request.match_info["name"]]
        code, output = self.programs.get(found.command[0], (0, b""))
        found.running = True
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.docker.raw-stream"})
        await response.prepare(request)
        if output:
            await response.write(frame(1, output))
        if code < 0:
            await self.stopping.wait()
        found.running, found.exit_code = False, code
        if found.command[1:2] == ["swap"] and code == 0:
            self.links[f"{found.command[2]}/..data"] = f"{found.command[2]}/{found.command[3]}"
        await response.write_eof()
        return response

    async def _inspect_exec(self, request: web.Request) -> web.Response:
        found = self.execs[request.match_info["name"]]
        started = found.running and found.command[0] not in self.starting
        state = {"Running": found.running, "ExitCode": found.exit_code}
        return web.json_response(state | {"Pid": 4711 if started else 0})

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        found = self.find(request.match_info["name"])
        entrypoint = (found.body.get("Entrypoint") or ()) if found is not None else ()
        if "network" in entrypoint:
            return await self.serve_network(request)
        if "gateway" in entrypoint:
            return await keep_gateway(request, 7445, self.from_pods, self.gateways)
        return await speak(request, self.disk, self.files)

    async def _put_archive(self, request: web.Request) -> web.Response:
        with tarfile.open(fileobj=io.BytesIO(await request.read())) as archive:
            found = {member.name: member for member in archive.getmembers()}
            for name, member in found.items():
                path = f"{request.query['path']}/{name}"
                if member.issym():
                    self.links[path] = member.linkname
                elif (file := archive.extractfile(member)) is not None:
                    self.contents[path] = file.read()
        self.archives.append((request.query["path"], found))
        return web.Response()

    async def _stat_archive(self, request: web.Request) -> web.Response:
        path = request.query["path"]
        if path not in self.links and path not in self.directories:
            return refusal(404, "Could not find the file")
        said = {"linkTarget": self.links.get(path, ""), "mode": self.directories.get(path, 0)}
        stat = base64.b64encode(json.dumps(said).encode()).decode()
        return web.Response(headers={"X-Docker-Container-Path-Stat": stat})

    async def _get_archive(self, request: web.Request) -> web.Response:
        path = request.query["path"]
        if path not in self.contents and path not in self.links:
            return refusal(404, f"Could not find the file {path} in container")
        buffer, member = io.BytesIO(), tarfile.TarInfo(path.rpartition("/")[2])
        content = self.contents.get(path, b"")
        member.size, member.linkname = len(content), self.links.get(path, "")
        member.type = tarfile.SYMTYPE if path in self.links else tarfile.REGTYPE
        member.mtime = 0.5  # so that its archive begins with another header
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(member, io.BytesIO(content))
        body = buffer.getvalue()
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
        return web.Response(body=body)

    async def _commit(self, request: web.Request) -> web.Response:
        if self.find(request.query["container"]) is None:
            return refusal(404, "No such container")
        self.commits.append({"query": dict(request.query), "body": await request.json()})
        self.images.add(f"{request.query['repo']}:{request.query['tag']}")
        return web.json_response({"Id": "sha256:" + "1" * 64}, status=201)


def _mounted(limits: dict[str, Any]) -> list[dict[str, str]]:
    binds = [each.split(":") for each in limits.get("Binds") or []]
    return [
        {
            "Type": each["Type"],
            "Name" if each["Type"] == "volume" else "Source": each["Source"],
            "Destination": each["Target"],
        }
        for each in limits.get("Mounts", [])
    ] + [{"Type": "bind", "Source": each[0], "Destination": each[1]} for each in binds]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
