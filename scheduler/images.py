"""The images of a host, as a driver offers them.

The shape follows the Kubernetes CRI (ImageService). As everywhere, a driver decides nothing: which
credentials to try, how many pulls at once and what to remove is the caller's to say. Every
coroutine raises DriverError only: HostUnreachable when the outcome is unknown, ImageUnavailable
when an image cannot be had, EngineRejected for whatever else the engine refuses.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RegistryCredentials:
    """How to show a registry who one is; never printed.

    Args:
        server: as its configuration spells it.
        identity_token: of OAuth2, instead of a password.
    """

    server: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image that a host has.

    Args:
        id: the engine's, the same on every host for the same image.
        names: tags and digests it goes by here.
        size: bytes on disk.
        in_use: a container is made of it; only listings tell.
        pulled: this installation fetched it, so it may remove it; only listings tell.
    """

    id: str
    names: tuple[str, ...] = ()
    size: int = 0
    in_use: bool = False
    pulled: bool = False


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Args: capacity, available (to containers): bytes."""

    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is.

    Args:
        layers, layers_done: known so far; those that the host had already are done.
        bytes, bytes_done: of the layers whose size is known.
    """

    layers: int = 0
    layers_done: int = 0
    bytes: int = 0
    bytes_done: int = 0


class ImageStore(Protocol):
    """The images of one host. Safe for concurrent use."""

    async def find(self, name: str) -> LocalImage | None:
        """Return what a name, digest or id stands for on the host, None for nothing."""
        ...

    async def pull(
        self,
        name: str,
        credentials: RegistryCredentials | None,
        progress: Callable[[PullProgress], None],
    ) -> None:
        """Have the engine fetch an image from its registry.

        Cancelling it makes the engine give up.

        Args:
            progress: is told whenever something has moved.

        Raises:
            ImageUnavailable: with the registry's words, or that it fell silent.
        """
        ...

    async def mark_pulled(self, image: LocalImage) -> None:
        """Keep in mind on the host that this installation fetched an image."""
        ...

    async def list(self) -> Sequence[LocalImage]:
        """Return every image of the host."""
        ...

    async def remove(self, image: LocalImage) -> None:
        """Remove an image by all its names; EngineRejected when it is in use. Gone is fine."""
        ...

    async def filesystem(self) -> Filesystem | None:
        """Return where images and containers are kept, None where it cannot be told."""
        ...

    def save(self, name: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream an image as an archive that `load` of any host of the same driver takes."""
        ...

    async def load(self, archive: AsyncIterator[bytes]) -> None:
        """Have the image of an archive on the host, by the tag it was saved as."""
        ...
