"""Images that are made on an engine: built by its classic builder, committed, pushed.

The classic builder is in every engine, needs nothing but one request, and ends with it. (BuildKit
would need a session of its own protocol over gRPC.)
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from secrets import token_hex
from urllib.parse import quote

import msgspec

from scheduler.errors import EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.images import BuildOrder, Filesystem, RegistryCredentials
from scheduler.objects.json import Json, JsonObject

from . import wire
from .containers import Containers
from .engine import Engine
from .image_archive import RootFile, tar_archive
from .images import OWN, Images, encoded_header, login, login_header, split_reference
from .labels import CLUSTER, COMMITTED, POD_UID

_LONGEST = 4096  # characters of a line that are kept until it ends
_NOBODY = "none"  # an installation that no container is of
_RAW = f"{OWN}commit"
_PULLED = frozenset({"Pull complete", "Already exists", "Pushed", "Layer already exists"})


class BuildingImages(Images):
    """Images of one engine; implements scheduler.images.ImageBuilder besides."""

    def __init__(
        self,
        engine: Engine,
        containers: Containers,
        cluster: str,
        filesystem: Callable[[], Awaitable[Filesystem]] | None,
        *,
        every: bool = False,
    ) -> None:
        super().__init__(engine, cluster, filesystem, every=every)
        self._containers = containers
        self._cluster = cluster

    async def build(
        self, order: BuildOrder, context: AsyncIterator[bytes], said: Callable[[str], None]
    ) -> None:
        """Build; EngineRejected with the builder's words when it cannot be done."""
        query = {"t": order.name, "dockerfile": order.dockerfile, "rm": "1", "forcerm": "1"}
        if order.arguments:
            query["buildargs"] = msgspec.json.encode(dict(order.arguments)).decode()
        if order.target:
            query["target"] = order.target
        headers: dict[str, str] = {}
        if order.credentials:  # the first of several for one registry, as in a config.json
            known: dict[str, Json] = {}
            for each in order.credentials:
                known.setdefault(each.server, login(each))
            headers["X-Registry-Config"] = encoded_header(known)
        text = _Text(said)
        # a step may be silent for as long as it takes; who calls bounds the whole
        await self.progress(
            "/build", query, data=context, heard=text.take, headers=headers, patient=True
        )
        text.end()

    async def commit(
        self, pod_uid: str, container_id: str, name: str, *, pause: bool, within: float
    ) -> None:
        """Commit; EngineRejected 404 when the container is not that pod's."""
        found = await self._containers.of(self._cluster, container_id)
        if found.labels.get(POD_UID) != pod_uid:
            raise EngineRejected(
                f"host {self._engine.name}: container {container_id[:64]} is another pod's", 404
            )
        image = await self.look(found.image)
        config = image.config if image and image.config else wire.ImageConfig()
        labels: JsonObject = {**_undone(found.labels, config.labels or {})}
        if self._cluster:
            labels[CLUSTER] = _NOBODY
        env = _undone(_variables(found.config.env), _variables(config.env))
        body: JsonObject = {
            "Labels": labels,
            "Env": [f"{key}={env[key]}" for key in env],
            "Entrypoint": [*(config.entrypoint or ())],  # an empty one is not filled in
            "Cmd": [*(config.cmd or ())],
        }
        raw = f"{_RAW}:{token_hex(16)}" if env else name  # two commits may be under way
        repository, tag = split_reference(raw)
        query = {"container": found.id, "repo": repository, "tag": tag, "pause": str(int(pause))}
        await self._engine.change("POST", "/commit", query=query, body=body, within=within)
        if raw != name:
            await self._cover(raw, name)

    async def _cover(self, raw: str, name: str) -> None:
        """Make an image of one whose record has variables that it must not have.

        Engines keep the container's whole configuration beside that of an image that they commit;
        an image that begins with it has its own. The former stays on the host without a name, but
        is neither pushed nor saved.
        """
        dockerfile = f'FROM {raw}\nLABEL {COMMITTED}=""\n'.encode()
        archive = tar_archive({"Dockerfile": RootFile(dockerfile)})
        try:
            await self.build(BuildOrder(name), _once(archive), lambda _: None)
        finally:
            try:
                await self._engine.change("DELETE", f"/images/{quote(raw)}")
            except EngineRejected as error:
                if error.code != 404:
                    raise

    async def push(self, name: str, credentials: RegistryCredentials | None) -> str:
        """Push; ImageUnavailable with the registry's words when it will not have it."""
        repository, tag = split_reference(name)
        login_as = credentials or RegistryCredentials("")
        digest = [""]

        def heard(line: wire.Progress) -> None:
            if line.aux is not None and line.aux.digest:
                digest[0] = line.aux.digest

        try:
            await self.progress(
                f"/images/{repository}/push",
                {"tag": tag},
                heard=heard,
                headers={"X-Registry-Auth": login_header(login_as)},  # the engine insists on one
            )
        except EngineRejected as error:
            raise ImageUnavailable(f"cannot push {name}: {error}") from error
        except HostUnreachable as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            await self._engine.ping()  # or else it is the host that is silent
            raise ImageUnavailable(f"cannot push {name}: its registry has fallen silent") from error
        return digest[0]


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


class _Text:
    """Lines of a log, which the builder writes in pieces."""

    def __init__(self, said: Callable[[str], None]) -> None:
        self._said = said
        self._rest = ""

    def take(self, line: wire.Progress) -> None:
        if line.status and (not line.id or line.status in _PULLED):
            self._said(f"{line.id}: {line.status}" if line.id else line.status)
        *whole, self._rest = (self._rest + line.stream).split("\n")
        for each in whole:
            self._said(each)
        if len(self._rest) > _LONGEST:
            self.end()
            self._rest = ""

    def end(self) -> None:
        if self._rest:
            self._said(self._rest)


def _variables(env: list[str] | None) -> dict[str, str]:
    return {key: value for key, _, value in (each.partition("=") for each in env or ())}


def _undone(here: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """What takes back what a container has otherwise than its image; names cannot be removed."""
    return {key: before.get(key, "") for key in here if here[key] != before.get(key)}
