"""The image that infra containers and the tools run from: had on the host when it is needed."""

import asyncio

from scheduler.errors import DriverError

from . import pause
from .images import Images

_FALLBACK = "registry.k8s.io/pause:3.10"


class InfraImage:
    """Of one host.

    Args:
        host: its name, for messages.
        architecture: GOARCH of its processor.
        images: of the host.
        chosen: the image that infra containers run from by somebody's choice, "" for ours.
    """

    def __init__(self, host: str, architecture: str, images: Images, chosen: str) -> None:
        self._host = host
        self._architecture = architecture
        self._images = images
        self._chosen = chosen
        self._having = asyncio.Lock()
        self.has_messages = not chosen and has_tools(architecture)
        """Whether infra containers run from an image with files for termination messages."""

    async def have(self) -> str:
        """Have the image of infra containers, and return its name."""
        async with self._having:
            if self._chosen:
                await self._have(self._chosen)
                return self._chosen
            if not await self._have_own():
                await self._have(_FALLBACK)
                return _FALLBACK
            return pause.IMAGE

    async def have_tools(self) -> str:
        """Have the image with the tools, and return its name.

        Raises:
            DriverError: there are none for this processor.
        """
        async with self._having:
            if await self._have_own():
                return pause.IMAGE
        raise DriverError(
            f"host {self._host}: there is no program to reach its pods with for its "
            f"processor ({self._architecture}); use exec probes"
        )

    async def _have(self, image: str) -> None:
        if await self._images.find(image) is None:
            await self._images.pull(image)

    async def _have_own(self) -> bool:
        """Have the image that is made here; False when there is none for this processor."""
        if not has_tools(self._architecture):
            return False
        if await self._images.find(pause.IMAGE) is None:
            archive = pause.archive(self._architecture)
            assert archive is not None
            await self._images.load(archive)
        return True


def has_tools(architecture: str) -> bool:
    """Return whether the image can be made here for this processor."""
    return pause.program(architecture) is not None
