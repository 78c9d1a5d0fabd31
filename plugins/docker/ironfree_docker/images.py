"""The image endpoints of the Docker Engine API."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from urllib.parse import quote

import msgspec

from scheduler.errors import EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.images import (
    Filesystem,
    ImagePlatform,
    LocalImage,
    PullProgress,
    RegistryCredentials,
    RegistryManifest,
)
from scheduler.objects.json import JsonObject

from . import wire
from .engine import LIST, Engine
from .podman import familiar
from .pull_progress import Layers

SILENCE = 120.0
"""Seconds without a word after which a pull or a load is given up."""


_REGISTRY = 15.0  # seconds for its answer

OWN = "ironfree/"
_MARKS = f"{OWN}pulled-by-"


class Images:
    """Images of one engine; implements scheduler.images.ImageStore.

    What this installation has pulled carries a further tag here that says so, since an engine
    keeps no labels for images.

    Args:
        cluster: the installation's id.
        every: count all images as pulled by this installation.
        filesystem: looks at the engine's disk, None where that cannot be done.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: str,
        filesystem: Callable[[], Awaitable[Filesystem]] | None,
        *,
        every: bool = False,
    ) -> None:
        self._engine = engine
        self._mark = f"{_MARKS}{cluster.partition('-')[0] or 'any'}"
        self._filesystem = filesystem
        self._every = every

    async def find(self, name: str) -> LocalImage | None:
        """The image of that name, digest or id, or None if it is absent."""
        image = await self.look(name)
        if image is None:
            return None
        return LocalImage(image.id, _names(image), image.size)

    async def look(self, name: str) -> wire.Image | None:
        """What the engine tells of an image, or None if it is absent."""
        try:
            found = await self._engine.read(f"/images/{quote(name)}/json", wire.Image)
        except EngineRejected as error:
            if error.code == 404:
                return None
            raise
        self._name_familiarly(found)
        return found

    def _name_familiarly(self, image: wire.Image | wire.ImageSummary) -> None:
        if self._engine.version.podman:
            image.repo_tags = [*map(familiar, image.repo_tags or ())]
            image.repo_digests = [*map(familiar, image.repo_digests or ())]

    async def pull(
        self,
        name: str,
        credentials: RegistryCredentials | None = None,
        progress: Callable[[PullProgress], None] | None = None,
    ) -> None:
        """Pull; ImageUnavailable with the registry's words when it cannot be had."""
        repository, tag = split_reference(name)
        query = {"fromImage": repository, "tag": tag}
        headers = {} if credentials is None else {"X-Registry-Auth": login_header(credentials)}
        layers = Layers()

        def heard(line: wire.Progress) -> None:
            moved = layers.take(line)
            if moved is not None and progress is not None:
                progress(moved)

        try:
            await self.progress("/images/create", query, heard=heard, headers=headers)
        except EngineRejected as error:
            raise ImageUnavailable(f"cannot pull {name}: {error}") from error
        except HostUnreachable as error:
            if not isinstance(error.__cause__, TimeoutError):
                raise
            await self._engine.ping()  # or else it is the host that is silent
            raise ImageUnavailable(
                f"cannot pull {name}: nothing has come from its registry for {SILENCE:g} s"
            ) from error

    async def manifest(
        self, name: str, credentials: RegistryCredentials | None
    ) -> RegistryManifest:
        """What a registry says of an image; ImageUnavailable with its words when it says no."""
        headers = {} if credentials is None else {"X-Registry-Auth": login_header(credentials)}
        path = f"/distribution/{quote(name)}/json"
        opened = self._engine.stream("GET", path, headers=headers, silence=_REGISTRY)
        try:
            async with (
                opened as chunks,
                aclosing(self._engine.lines(chunks, wire.Distribution)) as lines,
            ):
                async for found in lines:  # one, for it is an object
                    platforms = (
                        ImagePlatform(each.os, each.architecture, each.variant)
                        for each in found.platforms or ()
                    )
                    return RegistryManifest(found.descriptor.digest, tuple(platforms))
        except EngineRejected as error:
            raise ImageUnavailable(f"cannot ask for {name}: {error}") from error
        return RegistryManifest("")

    async def mark_pulled(self, image: LocalImage) -> None:
        """Give an image the tag that says who has pulled it."""
        tag = image.id.partition(":")[2][:32]
        path = f"/images/{quote(image.id)}/tag"
        await self._engine.change("POST", path, query={"repo": self._mark, "tag": tag})

    async def list(self) -> tuple[LocalImage, ...]:
        """Every image that has a name, and whether containers, running or not, are made of it."""
        listed = await self._engine.read("/images/json", list[wire.ImageSummary], within=LIST)
        query = {"all": "1"}
        uses = await self._engine.read(
            "/containers/json", list[wire.ImageUse], query=query, within=LIST
        )
        used = {use.image_id for use in uses}
        for image in listed:
            self._name_familiarly(image)
        return tuple(self._listed(image, used) for image in listed)

    def _listed(self, image: wire.ImageSummary, used: set[str]) -> LocalImage:
        names, tags = _names(image), image.repo_tags or ()
        ours = self._every or any(tag.startswith(f"{self._mark}:") for tag in tags)
        apart = not any(name.startswith(OWN) for name in names)
        return LocalImage(image.id, names, image.size, image.id in used, ours and apart)

    async def remove(self, image: LocalImage) -> None:
        """Remove an image by its names, its mark last: with the last name it goes."""
        mark = f"{self._mark}:{image.id.partition(':')[2][:32]}"
        for name in (*image.names, mark, image.id):
            try:
                await self._engine.change("DELETE", f"/images/{quote(name)}")
            except EngineRejected as error:
                if error.code != 404:
                    raise

    async def filesystem(self) -> Filesystem | None:
        """Where the engine keeps images."""
        return None if self._filesystem is None else await self._filesystem()

    def save(self, name: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream an archive of an image as `docker save` writes it."""
        return self._engine.stream("GET", f"/images/{quote(name)}/get", silence=SILENCE)

    async def load(self, archive: bytes | AsyncIterator[bytes]) -> None:
        """Load an archive as `docker save` writes it."""
        await self.progress("/images/load", {"quiet": "1"}, data=archive)

    async def progress(
        self,
        path: str,
        query: dict[str, str],
        *,
        data: bytes | AsyncIterator[bytes] | None = None,
        heard: Callable[[wire.Progress], None] | None = None,
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
    ) -> None:
        """POST what answers with lines of progress, to their end; EngineRejected by an error.

        Args:
            patient: it may be silent for as long as it likes.
        """
        silence = None if patient else SILENCE
        opened = self._engine.stream(
            "POST", path, query=query, data=data, headers=headers, silence=silence
        )
        async with opened as chunks, aclosing(self._engine.lines(chunks, wire.Progress)) as lines:
            async for line in lines:
                if line.error:
                    raise EngineRejected(f"host {self._engine.name}: {line.error}", 500)
                if heard is not None:
                    heard(line)


def _names(image: wire.Image | wire.ImageSummary) -> tuple[str, ...]:
    """Tags and digests, without marks and what stands for none."""
    names = (*(image.repo_tags or ()), *(image.repo_digests or ()))
    return tuple(name for name in names if not name.startswith(("<none>", _MARKS)))


def login_header(credentials: RegistryCredentials) -> str:
    """X-Registry-Auth: JSON in URL-safe base64."""
    return encoded_header(login(credentials))


def login(credentials: RegistryCredentials) -> JsonObject:
    """AuthConfig of the engine's API."""
    if credentials.identity_token:
        content: JsonObject = {"identitytoken": credentials.identity_token}
    else:
        content = {"username": credentials.username, "password": credentials.password}
    return {**content, "serveraddress": credentials.server}


def encoded_header(content: JsonObject) -> str:
    """JSON in URL-safe base64, as headers have it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).decode()


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
