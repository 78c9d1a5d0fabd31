"""The images of a simulated host: whatever is not withheld can be pulled."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from scheduler.errors import ImageUnavailable
from scheduler.images import Filesystem, LocalImage, PullProgress, RegistryCredentials

from .machine import Machine


class Images:
    """Implements scheduler.images.ImageStore.

    Args:
        call: takes the time of a call, in seconds, and fails when the host does not answer.
    """

    def __init__(self, machine: Machine, call: Callable[[float], Awaitable[None]]) -> None:
        self._machine = machine
        self._call = call

    async def find(self, name: str) -> LocalImage | None:
        """Return an image that has been pulled."""
        await self._call(0.0)
        machine = self._machine
        if name not in machine.loaded and not (name in machine.pulled and machine.has_image(name)):
            return None
        return LocalImage(f"simulated://{name}", (name,))

    async def pull(
        self,
        name: str,
        credentials: RegistryCredentials | None,
        progress: Callable[[PullProgress], None],
    ) -> None:
        """Have the image; withheld ones are refused."""
        await self._call(self._machine.shape.pull)
        if not self._machine.has_image(name):
            raise ImageUnavailable(f"image {name}: no such image to pull")
        self._machine.pulled.add(name)

    async def mark_pulled(self, image: LocalImage) -> None:
        """Everything here has been pulled."""

    async def list(self) -> Sequence[LocalImage]:
        """Return what has been pulled."""
        await self._call(0.0)
        used = self._machine.images_in_use()
        size = self._machine.image_size
        return tuple(
            LocalImage(f"simulated://{name}", (name,), size, name in used, pulled=True)
            for name in sorted(self._machine.pulled)
        )

    async def remove(self, image: LocalImage) -> None:
        """Forget an image."""
        await self._call(0.0)
        self._machine.pulled -= set(image.names)
        self._machine.loaded -= set(image.names)

    async def filesystem(self) -> Filesystem | None:
        """Return a disk that has nothing but images, pods, and what a test has put there."""
        await self._call(0.0)
        disk = self._machine.disk()
        return None if disk is None else Filesystem(disk.capacity, disk.available)

    @asynccontextmanager
    async def save(self, name: str) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Stream an image's name."""
        await self._call(0.0)

        async def parts() -> AsyncIterator[bytes]:
            yield name.encode()

        yield parts()

    async def load(self, archive: AsyncIterator[bytes]) -> None:
        """Have what was saved, though it is withheld from pulls."""
        name = b"".join([part async for part in archive]).decode()
        await self._call(0.0)
        self._machine.loaded.add(name)
        self._machine.pulled.add(name)
