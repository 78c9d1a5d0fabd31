"""Images of an engine that is none: pulled, built, pushed, saved, loaded, tagged and removed."""

import asyncio
import base64
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from ironfree_docker import pause

UNNAMED = "sha256:" + "0" * 64  # the image of every container


@dataclass
class FakeImages:
    """What the engine has and what registries give it.

    Args:
        pull_lines: what a pull says before its end; silent_pulls: it then says nothing more.
        digests: repository@digest of the image that every container has.
        marks: further tags of images, with the image's id.
        archive: what every image is saved as; loaded: what was loaded.
        platforms: what registries say of images, by whole name.
        builds: query, registries' logins and the archive's files of every build that began.
        build_lines: what a build says; silent_builds: it then says nothing more.
        image_config: of every image.
        accounts: who may pull, anybody when empty; logins: who has tried.
        hanging: released when something says nothing more, until stopping is set.
    """

    images: set[str] = field(default_factory=set)
    pullable: set[str] = field(default_factory=set)
    pull_lines: list[dict[str, Any]] = field(default_factory=list)
    silent_pulls: bool = False
    archive: bytes = b""
    loaded: list[bytes] = field(default_factory=list)
    platforms: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    builds: list[dict[str, Any]] = field(default_factory=list)
    build_lines: list[dict[str, Any]] = field(default_factory=list)
    silent_builds: bool = False
    digests: list[str] = field(default_factory=list)
    image_config: dict[str, Any] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    accounts: list[dict[str, str] | None] = field(default_factory=list)
    logins: list[dict[str, str] | None] = field(default_factory=list)
    hanging: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer_pull(self, request: web.Request) -> web.StreamResponse:
        tag = request.query["tag"]
        name = f"{request.query['fromImage']}{'@' if ':' in tag else ':'}{tag}"
        header = request.headers.get("X-Registry-Auth", "")
        self.logins.append(json.loads(base64.urlsafe_b64decode(header)) if header else None)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"status":"Pulling"}\r\n')
        for line in self.pull_lines:
            await response.write(json.dumps(line).encode() + b"\r\n")
        if self.silent_pulls:
            self.hanging.release()
            await self.stopping.wait()
        if name in self.pullable and self.logins[-1] in (self.accounts or [self.logins[-1]]):
            self.images.add(name)
            await response.write(b'{"status":"Done"}\r\n')
        else:
            message = f"manifest for {name} not found"
            line = {"errorDetail": {"message": message}, "error": message}
            await response.write(json.dumps(line).encode() + b"\r\n")
        return response

    async def answer_distribution(self, request: web.Request) -> web.Response:
        header = request.headers.get("X-Registry-Auth", "")
        self.logins.append(json.loads(base64.urlsafe_b64decode(header)) if header else None)
        name = request.match_info["name"]
        if name not in self.platforms or self.logins[-1] not in (self.accounts or [None]):
            return refusal(403, f"denied: {name}")
        descriptor = {"digest": "sha256:" + "e" * 64, "size": 7}
        return web.json_response({"Descriptor": descriptor, "Platforms": self.platforms[name]})

    async def answer_build(self, request: web.Request) -> web.StreamResponse:
        header = request.headers.get("X-Registry-Config", "")
        logins = json.loads(base64.urlsafe_b64decode(header)) if header else None
        with tarfile.open(fileobj=io.BytesIO(await request.read())) as archive:
            members = [each for each in archive.getmembers() if each.isfile()]
            files = {m.name: archive.extractfile(m).read() for m in members}
        self.builds.append({"query": dict(request.query), "logins": logins, "files": files})
        response = web.StreamResponse()
        await response.prepare(request)
        failed = False
        for line in self.build_lines:
            failed = failed or "error" in line
            await response.write(json.dumps(line).encode() + b"\r\n")
        if self.silent_builds:
            self.hanging.release()
            await self.stopping.wait()
        if not failed:
            self.images.add(request.query["t"])
            line = {"stream": f"Successfully tagged {request.query['t']}\n"}
            await response.write(json.dumps(line).encode() + b"\r\n")
        return response

    async def answer_push(self, request: web.Request) -> web.Response:
        self.logins.append(json.loads(base64.urlsafe_b64decode(request.headers["X-Registry-Auth"])))
        name = f"{request.match_info['name']}:{request.query['tag']}"
        lines: list[dict[str, Any]] = [{"status": "Preparing", "id": "a"}]
        if self.logins[-1] in (self.accounts or [self.logins[-1]]):
            digest = "sha256:" + "d" * 64
            lines.append({"aux": {"Tag": request.query["tag"], "Digest": digest, "Size": 7}})
        else:
            lines.append({"error": f"denied: {name}"})
        return web.Response(text="\r\n".join(map(json.dumps, lines)))

    async def answer_load(self, request: web.Request) -> web.Response:
        self.loaded.append(await request.read())
        self.images.add(pause.IMAGE)
        return web.Response(text='{"stream":"Loaded image: ironfree/pause:1\\n"}\r\n')

    async def answer_image(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.images and name != UNNAMED:
            return refusal(404, f"No such image: {name}")
        digests = self.digests if name == UNNAMED else []
        found = {"Id": image_id(name), "RepoTags": [name], "RepoDigests": digests, "Size": 7}
        return web.json_response(found | {"Config": self.image_config or None})

    async def answer_save(self, _: web.Request) -> web.Response:
        return web.Response(body=self.archive)

    async def answer_images(self, _: web.Request) -> web.Response:
        listed: dict[str, list[str]] = {image_id(name): [name] for name in self.images}
        for mark, image in self.marks.items():
            listed.setdefault(image, []).append(mark)
        return web.json_response(
            [{"Id": i, "RepoTags": tags, "Size": 7} for i, tags in listed.items()]
        )

    async def answer_tag(self, request: web.Request) -> web.Response:
        mark = f"{request.query['repo']}:{request.query['tag']}"
        self.marks[mark] = request.match_info["name"]
        return web.Response(status=201)

    async def answer_remove_image(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self.marks.pop(name, None) is None:
            if name not in self.images:
                return refusal(404, f"No such image: {name}")
            self.images.remove(name)
        return web.json_response([{"Untagged": name}])


def image_id(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def refusal(code: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=code)
