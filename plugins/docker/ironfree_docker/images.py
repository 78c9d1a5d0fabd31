"""The image endpoints of the Docker Engine API."""

from contextlib import aclosing
from urllib.parse import quote

from scheduler.errors import EngineRejected, ImageUnavailable

from . import wire
from .engine import Engine

_SILENCE = 300.0
"""Seconds without progress after which a pull is given up."""


class Images:
    """Images of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def inspect(self, name: str) -> str | None:
        """The id of an image, or None if it is absent."""
        image = await self.look(name)
        return image.id if image else None

    async def look(self, name: str) -> wire.Image | None:
        """What is known of an image, or None if it is absent."""
        try:
            return await self._engine.read(f"/images/{quote(name)}/json", wire.Image)
        except EngineRejected as error:
            if error.code == 404:
                return None
            if error.code == 400:
                raise ImageUnavailable(f"{name!r} is no name of an image: {error}") from error
            raise

    async def pull(self, name: str) -> None:
        """Pull; ImageUnavailable with the registry's words when it cannot be had."""
        repository, tag = split_reference(name)
        query = {"fromImage": repository, "tag": tag}
        try:
            await self._progress("/images/create", query)
        except EngineRejected as error:
            raise ImageUnavailable(f"cannot pull {name}: {error}") from error

    async def load(self, archive: bytes) -> None:
        """Load an archive as `docker save` writes it."""
        await self._progress("/images/load", {"quiet": "1"}, archive)

    async def _progress(self, path: str, query: dict[str, str], data: bytes | None = None) -> None:
        opened = self._engine.stream("POST", path, query=query, data=data, silence=_SILENCE)
        async with opened as chunks, aclosing(self._engine.lines(chunks, wire.Progress)) as lines:
            async for line in lines:
                if line.error:
                    raise EngineRejected(f"host {self._engine.name}: {line.error}", 500)


def split_reference(name: str) -> tuple[str, str]:
    """Repository and tag or digest; without either the tag is "latest", as everywhere.

    An empty tag would make the engine pull every tag there is.
    """
    repository, at, digest = name.partition("@")
    if at:
        return repository, digest
    head, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return head, tag
    return name, "latest"
