"""What there is of pods on a host: listed, and told of by events as hints to list again."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from scheduler.drivers import HostEvent, PodObservation
from scheduler.foreign import FOREIGN

from . import wire
from .containers import Containers
from .execs import Execs
from .foreign import Foreign
from .image_names import ImageNames
from .inspections import Inspections
from .labels import POD_UID, is_ours
from .observation import is_infra, observations


class Observer:
    """Of one host; those it is made with hear what it sees.

    Args:
        cluster: this installation's id.
    """

    def __init__(
        self,
        containers: Containers,
        cluster: str,
        inspections: Inspections,
        image_names: ImageNames,
        execs: Execs,
        foreign: Foreign,
    ) -> None:
        self._containers = containers
        self._cluster = cluster
        self._inspections = inspections
        self._image_names = image_names
        self._execs = execs
        self._foreign = foreign
        self._seen: list[wire.Container] = []
        self._observed: tuple[PodObservation, ...] = ()

    async def observe(self) -> tuple[PodObservation, ...]:
        """List every pod of this installation here."""
        retired = self._containers.retired
        ours = await self._containers.ours(self._cluster, POD_UID)
        listed = [each for each in ours if each.id not in retired]
        self._execs.forget({each.id for each in listed if each.state == "running"})
        found = await self._inspections.look(listed)
        if list(map(id, found)) != list(map(id, self._seen)):  # else nothing has changed
            await self._image_names.learn(each for each in found if not is_infra(each.labels))
            self._seen, self._observed = found, observations(found)
        return self._observed

    async def events(self) -> AsyncGenerator[HostEvent]:
        """Stream hints, until the engine ends its stream."""
        try:
            async with aclosing(self._containers.events()) as events:
                async for event in events:
                    if event is None:
                        self._inspections.listen(on=True)
                        yield HostEvent(pod_uid="", action="open")
                        continue
                    actor = event.actor
                    attributes = self._containers.labels_of(actor.id, actor.attributes or {})
                    if not is_ours(attributes, self._cluster):
                        self._foreign.heard(actor.id)
                        yield HostEvent(pod_uid="", action=FOREIGN)
                    elif POD_UID in attributes and not event.action.startswith("exec_"):
                        self._inspections.heard(actor.id, event.action)
                        yield HostEvent(pod_uid=attributes[POD_UID], action=event.action)
        finally:
            self._inspections.listen(on=False)
