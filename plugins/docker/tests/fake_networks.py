"""Networks of an engine that is none, and the program that serves that of pods."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aiohttp import web

from plugins.docker.tests.fake_dialer import frame
from plugins.docker.tests.fake_images import refusal


@dataclass
class FakeNetworks:
    """What the engine has of networks.

    Args:
        networks: bodies by name. inhabited: names of those with containers in them.
        told: whole lines that the program was told, by any feed.
        failures: what it says before it has done the next commit; complaints: behind it.
        from_pods: frames that a gateway says when it begins.
    """

    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    inhabited: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    feeds: list[asyncio.Transport] = field(default_factory=list)
    from_pods: list[bytes] = field(default_factory=list)
    gateways: list[asyncio.Transport] = field(default_factory=list)

    async def answer_network(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        found = self.networks.get(name)
        if found is None:
            return refusal(404, f"network {name} not found")
        there = {"c": {}} if name in self.inhabited else {}
        return web.json_response({"Id": name, **found, "Containers": there})

    async def answer_networks(self, request: web.Request) -> web.Response:
        (wanted,) = json.loads(request.query["filters"])["label"]
        found = [
            {"Id": name, **each} for name, each in self.networks.items() if wanted in each["Labels"]
        ]
        return web.json_response(found)

    async def answer_new_network(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["Name"] in self.networks:
            return refusal(409, f"network with name {body['Name']} already exists")
        self.networks[body["Name"]] = body
        return web.json_response({"Id": body["Name"], "Warning": ""}, status=201)

    async def answer_gone_network(self, request: web.Request) -> web.Response:
        if request.match_info["name"] in self.inhabited:
            return refusal(403, "network has active endpoints")
        if self.networks.pop(request.match_info["name"], None) is None:
            return refusal(404, "network not found")
        return web.Response(status=204)

    async def serve_network(self, request: web.Request) -> NoReturn:
        """Take in lines, and confirm commits."""
        assert request.transport is not None
        transport, incoming = request.transport, _Lines()
        request.protocol.set_parser(incoming)
        transport.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        self.feeds.append(transport)
        while True:
            line = await incoming.lines.get()
            if not line.endswith(" ."):
                continue
            self.told.append(line.removesuffix(" ."))
            if line.startswith("commit "):
                said = [*self.failures, f"done {line.split()[1]}", *self.complaints]
                transport.write(frame(1, "".join(f"{each}\n" for each in said).encode()))
                self.failures.clear()
                self.complaints.clear()


class _Lines:
    """What comes on a connection that is no longer HTTP, line by line."""

    def __init__(self) -> None:
        self._rest = b""
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.lines.put_nowait(line.decode())
        return False, b""

    def feed_eof(self) -> None:
        """The handler is cancelled then."""
