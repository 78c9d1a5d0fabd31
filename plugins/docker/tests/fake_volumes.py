"""Volumes of an engine that is none."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from plugins.docker.tests.fake_images import refusal


@dataclass
class FakeVolumes:
    """What the engine has of volumes.

    Args:
        volumes: bodies by name.
        written: bytes in containers' layers and in volumes, by name.
    """

    volumes: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)

    def make_volumes(self, container: dict[str, Any]) -> None:
        """Make what a new container mounts as its mounts say, unless it is there."""
        for each in (container.get("HostConfig") or {}).get("Mounts") or []:
            how = each.get("VolumeOptions") or {}
            if "DriverConfig" in how:
                name, options = each["Source"], how["DriverConfig"]["Options"]
                made = {"Name": name, "Labels": how["Labels"], "DriverOpts": options}
                self.volumes.setdefault(name, made)

    async def answer_volume(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.volumes:
            return refusal(404, "no such volume")
        labels, point = self.volumes[name]["Labels"], f"/var/lib/docker/volumes/{name}/_data"
        return web.json_response({"Name": name, "Labels": labels, "Mountpoint": point})

    async def answer_new_volume(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.volumes.setdefault(body["Name"], body)
        return web.json_response({"Name": body["Name"]}, status=201)

    async def answer_volumes(self, request: web.Request) -> web.Response:
        (wanted,) = json.loads(request.query["filters"])["label"]
        found = [
            {"Name": n, "Labels": v["Labels"] or None, "Options": v["DriverOpts"] or None}
            for n, v in self.volumes.items()
            if has_label(v["Labels"], wanted)
        ]
        return web.json_response({"Volumes": found or None, "Warnings": None})

    async def answer_usage(self, request: web.Request) -> web.Response:
        if request.query["type"] != "volume":
            return refusal(400, "only volumes are measured here")
        found = [
            {
                "Name": name,
                "UsageData": {"RefCount": 1, "Size": self.written.get(name, -1)},
            }
            for name in self.volumes
        ]
        return web.json_response({"LayersSize": 0, "Volumes": found or None})

    async def answer_gone_volume(self, request: web.Request) -> web.Response:
        if self.volumes.pop(request.match_info["name"], None) is None:
            return refusal(404, "no such volume")
        return web.Response(status=204)


def has_label(labels: dict[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)
