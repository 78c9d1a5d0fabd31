"""What the handlers work with: the store, the kinds, the hosts, and what the API itself keeps."""

from dataclasses import dataclass
from typing import Protocol

from ..drivers import HostDirectory
from ..objects.json import JsonObject
from ..objects.kind import KindRegistry
from ..store.store import Store
from .addresses import ServiceAddresses
from .configuration import ApiSettings
from .pages import Pages
from .priorities import Priorities
from .repeats import RepeatedSpecs


class Simulator(Protocol):
    """Answers Simulations."""

    async def simulate(self, spec: JsonObject) -> JsonObject:
        """Return the status.

        Raises:
            BadRequest: the spec cannot be read, or asks what cannot be.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """Made once per application.

    Args:
        priorities: the PriorityClasses, always current.
        repeats: pod specs seen before, already defaulted and validated.
        pages: the rest of paged lists.
        addresses: hands out cluster IPs.
        simulator: answers what would happen.
    """

    store: Store
    registry: KindRegistry
    hosts: HostDirectory
    settings: ApiSettings
    priorities: Priorities
    repeats: RepeatedSpecs
    pages: Pages
    addresses: ServiceAddresses
    simulator: Simulator
