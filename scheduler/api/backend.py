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


class Explainer(Protocol):
    """Answers Explanations."""

    async def explain(self, namespace: str, spec: JsonObject) -> JsonObject:
        """Return the status.

        Raises:
            BadRequest: the spec cannot be read. NotFound: nothing is known of the pod.
        """
        ...


@dataclass(frozen=True)
class Answerers:
    """Who answers the kinds that are not stored."""

    simulator: Simulator
    explainer: Explainer


@dataclass(frozen=True)
class Backend:
    """Made once per application.

    Args:
        priorities: the PriorityClasses, always current.
        repeats: pod specs seen before, already defaulted and validated.
        pages: the rest of paged lists.
        addresses: hands out cluster IPs.
        answerers: of kinds that are not stored.
    """

    store: Store
    registry: KindRegistry
    hosts: HostDirectory
    settings: ApiSettings
    priorities: Priorities
    repeats: RepeatedSpecs
    pages: Pages
    addresses: ServiceAddresses
    answerers: Answerers
