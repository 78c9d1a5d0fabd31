"""Which addresses there are."""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network

PREFIX = 24
"""Of a host's subnet: 253 pods."""
_API, _RESOLVER = 1, 10


@dataclass(frozen=True)
class NetworkSettings:
    """The network's addresses and names.

    Args:
        pods: the range that hosts' subnets are taken from.
        services: the range of Services' addresses; its first is the API's, its tenth the name
            server's (as kubeadm has it).
        port: TCP, where hosts reach each other.
        zone: names below it are the cluster's.
    """

    pods: str = "10.240.0.0/12"
    services: str = "10.96.0.0/16"
    port: int = 7447
    zone: str = "cluster.local"

    @cached_property
    def pod_range(self) -> IPv4Network:
        """The range of pods' addresses."""
        return IPv4Network(self.pods)

    @cached_property
    def service_range(self) -> IPv4Network:
        """The range of Services' addresses."""
        return IPv4Network(self.services)

    @property
    def resolver(self) -> str:
        """The address of the name server."""
        return str(self.service_range[_RESOLVER])

    @property
    def api(self) -> str:
        """The address where pods find the API."""
        return str(self.service_range[_API])

    @property
    def api_names(self) -> tuple[str, ...]:
        """Everything that pods know the API by."""
        name = "kubernetes.default"
        return ("kubernetes", name, f"{name}.svc", f"{name}.svc.{self.zone}", self.api)

    def ranges(self, subnet: str) -> tuple[str, ...]:
        """Return what is to lead to a host itself: every range but its own subnet."""
        others = self.pod_range.address_exclude(IPv4Network(subnet))
        return (self.services, *(str(each) for each in sorted(others)))
