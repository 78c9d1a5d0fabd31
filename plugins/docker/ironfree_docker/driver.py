"""The Docker driver: opens hosts by unix socket, TCP (with TLS or without) or SSH."""

from scheduler.drivers import Host, HostAddress

from .engine import Engine
from .host import DockerHost


class DockerDriver:
    """`spec.driver: docker` of a DockerHost."""

    @property
    def name(self) -> str:
        """The word in DockerHost spec.driver."""
        return "docker"

    async def connect(self, address: HostAddress) -> Host:
        """Open a host and agree on an API version; DriverError saying what to mend."""
        return DockerHost(await Engine.open(address), address)
