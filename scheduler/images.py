"""The images of a host, as a driver offers them.

The shape follows the Kubernetes CRI (ImageService). As everywhere, a driver decides nothing: which
credentials to try, how many pulls at once and what to remove is the caller's to say. Every
coroutine raises DriverError only: HostUnreachable when the outcome is unknown, ImageUnavailable
when an image cannot be had, EngineRejected for whatever else the engine refuses.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


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
    """A disk; without a known capacity it is full.

    Args:
        capacity, available: bytes, to containers.
        inodes, inodes_free: files that it can have and still can; 0 where that is not fixed.
    """

    capacity: int
    available: int
    inodes: int = 0
    inodes_free: int = 0


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


@dataclass(frozen=True, slots=True)
class ImagePlatform:
    """What a variant of an image is made for; GOOS and GOARCH spelling."""

    os: str
    architecture: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class RegistryManifest:
    """What a registry says of an image: the digest of all of it, and its variants."""

    digest: str
    platforms: tuple[ImagePlatform, ...] = ()


@runtime_checkable
class ManifestReader(Protocol):
    """What an ImageStore may offer besides: to ask registries without pulling."""

    async def manifest(
        self, name: str, credentials: RegistryCredentials | None
    ) -> RegistryManifest:
        """Return what the registry of an image says of it.

        Raises:
            ImageUnavailable: with the registry's words.
        """
        ...


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What is built of a context.

    Args:
        name: repository and tag that the image gets.
        dockerfile: its path in the context.
        arguments: values of ARGs; the image's history may show them.
        target: the stage to end with, "" for the last.
        credentials: for the images it begins with.
    """

    name: str
    dockerfile: str = "Dockerfile"
    arguments: tuple[tuple[str, str], ...] = ()
    target: str = ""
    credentials: tuple[RegistryCredentials, ...] = ()


@runtime_checkable
class ImageBuilder(ImageStore, Protocol):
    """What an ImageStore may offer besides: to make images, and to send them to registries."""

    async def build(
        self, order: BuildOrder, context: AsyncIterator[bytes], said: Callable[[str], None]
    ) -> None:
        """Build an image. Cancelling it makes the engine give up.

        Args:
            context: a tar archive, which may be compressed with gzip.
            said: is told every line of the build's log.
        """
        ...

    async def commit(
        self, pod_uid: str, container_id: str, name: str, *, pause: bool, within: float
    ) -> None:
        """Make an image of a container of a pod as it is now.

        The image has none of the container's command, labels and variables that were not its
        image's own: they are the pod's, and may be secret.

        Args:
            pause: the container's processes, as long as its files are read.
            within: seconds that it may take.
        """
        ...

    async def push(self, name: str, credentials: RegistryCredentials | None) -> str:
        """Send an image to the registry in its name; returns its digest there.

        Raises:
            ImageUnavailable: with the registry's words.
        """
        ...
