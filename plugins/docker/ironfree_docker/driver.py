"""The Docker driver: opens hosts by unix socket, TCP (with TLS or without) or SSH."""

import asyncio

from scheduler.drivers import Host, HostAddress

from .engine import Engine
from .host import DockerHost
from .ssh import sweep


class DockerDriver:
    """`spec.driver: docker` of a DockerHost."""

    def __init__(self) -> None:
        self._swept = False

    @property
    def name(self) -> str:
        """The word in DockerHost spec.driver."""
        return "docker"

    async def connect(self, address: HostAddress) -> Host:
        """Open a host and agree on an API version; DriverError saying what to mend."""
        if address.url.startswith("ssh://") and not self._swept:
            self._swept = True
            await asyncio.to_thread(sweep)
        return DockerHost(await Engine.open(address), address)
