"""Podman behind its Docker-compatible API, as far as it is not like Docker. Experimental.

What is here was seen with Podman 4.3 on a real host (tests/e2e/test_podman.py).
"""

import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from scheduler.drivers import Finding
from scheduler.errors import EngineRejected
from scheduler.objects.json import JsonObject

from . import wire
from .containers import HEARD, Containers
from .engine import Engine
from .volumes import Making, Volumes

_EVENTS = {"died": "die", "remove": "destroy"}  # Podman's words for events → Docker's
_REGISTRIES = ("docker.io/library/", "docker.io/", "localhost/")
_SIZE = re.compile(r"\bsize=(\d+)")
_PAGE = 4096  # bytes
_REFUSALS = {
    "OCI runtime attempted to invoke a command that was not found": 127,
    "OCI permission denied": 126,
    "OCI runtime error": 128,
}
"""Parts of what a start is refused with → the exit code that Docker notes for it."""

_GONE = ("no such container", "has already been removed")
"""Parts of what is said, with a 500, when a container goes while it is being described."""

_LACKS = (
    "what is killed for its memory may not be called OOMKilled; measured memory includes file "
    "caches where cgroups are v1; that two DockerHosts are one engine is not noticed; adopted "
    "containers keep the engine's restart policy"
)


def examined(found: Iterable[Finding], info: wire.Info, api: str) -> tuple[Finding, ...]:
    """Return what was found, with what Podman is and lacks, and without what it does not need."""
    own = [
        Finding("Engine", True, f"Podman (experimental): {_LACKS}"),
        Finding("ApiVersion", True, f"Podman {info.server_version}, API {api}"),
        Finding("LiveRestore", True, "containers do not depend on Podman's service"),
    ]
    if info.driver == "overlay":  # which is overlay2 there
        own.append(Finding("Storage", True, "storage driver overlay"))
    checks = {each.check for each in own}
    return (*own, *(each for each in found if each.check not in checks))


def familiar(name: str) -> str:
    """Return an image's name as people write it; Podman completes short ones."""
    prefix = next((each for each in _REGISTRIES if name.startswith(each)), "")
    return name.removeprefix(prefix)


class PodmanContainers(Containers):
    """Containers of a Podman."""

    heard = (*HEARD, *_EVENTS)  # it says `die`, but finds by `died` only

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._refused: dict[str, tuple[int, str]] = {}

    async def create(self, name: str, body: JsonObject) -> str:
        """Create; who joins a network joins the host name that Docker has go with it."""
        host = body["HostConfig"]
        assert isinstance(host, dict)
        network = str(host.get("NetworkMode", ""))
        if network.startswith("container:"):
            body = {**body, "HostConfig": {**host, "UTSMode": network}}
        return await super().create(name, body)

    async def start(self, name: str) -> None:
        """Start, and remember why not: Podman leaves such a container as if it was just made."""
        try:
            await super().start(name)
        except EngineRejected as error:
            code = next((code for text, code in _REFUSALS.items() if text in str(error)), None)
            if code is not None:
                self._refused[name] = (code, str(error))
            raise

    async def _list(self, filters: Mapping[str, Sequence[str]]) -> list[wire.Summary]:
        """List; once more when one of them goes meanwhile, for which Podman lists none."""
        try:
            return await super()._list(filters)
        except EngineRejected as error:
            if not _gone(error):
                raise
            return await super()._list(filters)

    async def _inspect(self, name: str) -> wire.Container:
        try:
            found = await super()._inspect(name)
        except EngineRejected as error:
            if _gone(error):
                raise EngineRejected(str(error), 404) from error
            raise
        found.config.image = familiar(found.config.image)
        refused = self._refused.get(found.id)
        if refused is not None and found.state.status == "created":
            found.state.exit_code, found.state.error = refused
        return found

    async def kill(self, name: str, signal: str = "KILL") -> None:
        """Send a signal; not running is a 500 here."""
        try:
            await super().kill(name, signal)
        except EngineRejected as error:
            if "container state improper" not in str(error):
                raise

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove; what ended containers still join only ends, for Podman removes none that is."""
        try:
            await super().remove(name, force=force)
        except EngineRejected as error:
            if "has dependent containers" not in str(error):
                raise
            await self.kill(name)
            self.retired.add(name)
        else:
            self.retired.discard(name)
            self._refused.pop(name, None)

    async def events(self) -> AsyncGenerator[wire.Event | None]:
        """Stream events under Docker's names."""
        async with aclosing(super().events()) as events:
            async for event in events:
                if event is not None:
                    event.action = _EVENTS.get(event.action, event.action)
                yield event


class PodmanVolumes(Volumes):
    """Volumes of a Podman."""

    made_with_containers = False  # it makes them, but without labels and options

    async def create(self, making: Making) -> None:
        """Create; `size` of a tmpfs is a disk quota to Podman, so the kernel is told in pages."""
        options = making.options
        if options.get("type") == "tmpfs":
            options = {**options, "o": _SIZE.sub(_pages, options.get("o", ""))}
        await super().create(replace(making, options=options))


def _gone(error: EngineRejected) -> bool:
    return error.code == 500 and any(words in str(error) for words in _GONE)


def _pages(size: re.Match[str]) -> str:
    return f"nr_blocks={-(-int(size[1]) // _PAGE)}"
