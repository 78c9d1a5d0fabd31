"""What the handlers work with: the store, the kinds, the hosts, and what the API itself keeps."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from ..access.tokens import Tokens
from ..drivers import HostDirectory
from ..meter import Meter
from ..objects.json import JsonObject
from ..objects.kind import KindRegistry
from ..objects.limit_range import RESOURCE as LIMITS
from ..objects.stored import StoredObject
from ..store.store import Store
from .authorization import Authorizer
from .configuration import ApiSettings
from .escalation import GUARDED, Escalation
from .further_rights import FurtherRights
from .limit_ranges import LimitRanges
from .pages import Pages
from .pod_admission import PodAdmission
from .pod_classes import PRIORITIES, RUNTIMES, PodClasses
from .repeated_lists import RepeatedLists
from .repeats import RepeatedSpecs
from .service_claims import ServiceClaims

Review = Callable[[StoredObject, str], AbstractAsyncContextManager[str]]
"""(pod, node) → why others' rules do not let it be bound there, "" if they do; bind it within."""

Answer = Callable[[str, JsonObject], Awaitable[JsonObject]]
"""(namespace, spec) → status, of a kind that is computed; raises StatusError."""


@dataclass(frozen=True)
class Consulted:
    """What other rooms say when the API asks.

    Args:
        answers: by resource, of the kinds that are computed beyond this room.
        review: of bindings that clients make.
    """

    answers: Mapping[str, Answer]
    review: Review


@dataclass(frozen=True)
class Backend:
    """Made once per application.

    Args:
        meter: measures what runs on hosts, and finds them.
        classes: the PriorityClasses and RuntimeClasses, always current.
        admission: judges pods by their namespace's Pod Security level.
        limits: the LimitRanges, always current.
        repeats: pod specs seen before, already defaulted and validated.
        pages: the rest of paged lists.
        lists: what was written of lists that may be asked for again.
        claims: hands out what Services hold.
        answers: by resource, of the kinds that are computed beyond this room.
        review: judges bindings that clients make.
        authorizer: knows who may do what; escalation: who may give which rights;
            further_rights: what objects take besides the right to write them.
        tokens: issues those of ServiceAccounts; None where none are known.
    """

    store: Store
    registry: KindRegistry
    meter: Meter
    settings: ApiSettings
    classes: PodClasses
    admission: PodAdmission
    limits: LimitRanges
    repeats: RepeatedSpecs
    pages: Pages
    lists: RepeatedLists
    claims: ServiceClaims
    answers: Mapping[str, Answer]
    review: Review
    authorizer: Authorizer
    escalation: Escalation
    further_rights: FurtherRights
    tokens: Tokens | None

    async def counts(self, resource: str, revision: int) -> None:
        """Wait until admission knows what was just written or removed, if it bears on others."""
        match resource:
            case "namespaces":
                await self.admission.reached(revision)
            case _ if resource == LIMITS:
                await self.limits.reached(revision)
            case _ if resource == PRIORITIES:
                await self.classes.priorities.reached(revision)
            case _ if resource == RUNTIMES:
                await self.classes.runtimes.reached(revision)
            case _ if resource in GUARDED:
                await self.authorizer.policy.reached(resource, revision)
            case _:
                pass

    @property
    def hosts(self) -> HostDirectory:
        """Finds the connection that pods are spoken with through."""
        return self.meter.hosts
