"""Descriptions of containers, asked for again only when something may have changed.

A host with thirty pods would otherwise be asked sixty questions at every look. What a container is
changes with an event, and a session that hears no events any more ends; so a description holds
until there is an event, the list shows another state, or it is old: engines drop events that a
client takes too slowly.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass

from . import wire
from .containers import Containers

_OLD = 300.0  # seconds; for running containers


@dataclass(frozen=True, slots=True)
class _Known:
    found: wire.Container
    until: float


class Inspections:
    """Of one engine, for as long as its events are heard."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._known: dict[str, _Known] = {}
        self._events = 0
        self._listening = False

    def listen(self, *, on: bool) -> None:
        """Take in that events are heard from now on, or no more."""
        self._listening = on
        self._known.clear()

    def heard(self, container_id: str) -> None:
        """Take in an event of a container."""
        self._events += 1
        self._known.pop(container_id, None)

    def keep(self, present: Iterable[str]) -> None:
        """Forget all others."""
        for gone in self._known.keys() - set(present):
            del self._known[gone]

    async def look(self, listed: wire.Summary) -> wire.Container | None:
        """Describe a container that is listed; None when it is gone."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(listed.id)
        if known is not None and known.found.state.status == listed.state and now < known.until:
            return known.found
        events = self._events
        found = await self._containers.inspect(listed.id)
        if found is not None and events == self._events and found.state.status == listed.state:
            if listed.state == "exited":  # nothing of it changes
                self._known[listed.id] = _Known(found, float("inf"))
            elif listed.state == "running" and self._listening:
                age = _OLD * random.uniform(0.5, 1)  # not all of a host at once
                self._known[listed.id] = _Known(found, now + age)
        return found
