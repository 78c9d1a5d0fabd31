"""Descriptions of containers, asked for again only when something may have changed.

A host with thirty pods would otherwise be asked sixty questions at every look. What a container is
changes with an event, and a session that hears no events any more ends; so a description holds
until there is an event, the list shows another state, or it is old: engines drop events that a
client takes too slowly.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from . import wire
from .containers import Containers
from .ensure import ensure_started
from .together import together

_OLD = 300.0  # seconds; for running containers
_AT_ONCE = 4
_KILLED = 128 + 9
_LATE = 0.2  # seconds by which an engine may tell that memory was short after it told of the end
_BEGUN = frozenset({"create", "start"})


@dataclass(frozen=True, slots=True)
class _Known:
    found: wire.Container
    until: float


class Inspections:
    """Of one engine, for as long as its events are heard."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._known: dict[str, _Known] = {}
        self._heard: dict[str, int] = {}  # container → number of its last event
        self._listening = False
        self._room = asyncio.Semaphore(_AT_ONCE)
        self.heard_until = 0  # number of the last event; given to `keep`

    def listen(self, *, on: bool) -> None:
        """Take in that events are heard from now on, or no more."""
        self._listening = on
        self._known.clear()
        self._heard.clear()

    def heard(self, container_id: str, action: str) -> None:
        """Take in an event of a container."""
        known = self._known.get(container_id)
        if action in _BEGUN and (known is None or known.found.state.status == "running"):
            return  # whatever ended it since would have been heard before
        self._known.pop(container_id, None)
        if action == "destroy":
            self._heard.pop(container_id, None)
            return
        self.heard_until += 1
        self._heard[container_id] = self.heard_until

    async def look(self, listed: Sequence[wire.Summary]) -> list[wire.Container]:
        """Describe the containers that are listed, without those that are gone by now."""
        present = {each.id for each in listed}
        for gone in self._known.keys() - present:
            del self._known[gone]
        now = asyncio.get_running_loop().time()
        found = {each.id: self._recall(each, now) for each in listed}
        asked = (self._ask(each) for each in listed if found[each.id] is None)
        found.update({each.id: each for each in await together(*asked) if each is not None})
        return [each for each in found.values() if each is not None]

    def _recall(self, listed: wire.Summary, now: float) -> wire.Container | None:
        known = self._known.get(listed.id)
        if known is None or known.found.state.status != listed.state or now >= known.until:
            return None
        return known.found

    async def _ask(self, listed: wire.Summary) -> wire.Container | None:
        async with self._room:
            asked = self.heard_until
            found = await self._containers.inspect(listed.id)
        if found is not None and _was_killed(found.state):
            await asyncio.sleep(_LATE)
            found = await self._containers.inspect(listed.id)
        if found is not None and found.state.status == listed.state:
            self.keep(found, asked)
        return found

    async def started(self, container_id: str) -> wire.Container:
        """Start a container (`ensure_started`), and describe it."""
        asked = self.heard_until
        found = await ensure_started(self._containers, container_id)
        self.keep(found, asked)
        return found

    def keep(self, found: wire.Container, asked: int) -> None:
        """Remember a description, unless there was an event since it was asked for.

        Args:
            asked: `heard_until` before.
        """
        if self._heard.get(found.id, 0) > asked:
            return
        if found.state.status == "exited":  # nothing of it changes
            self._known[found.id] = _Known(found, float("inf"))
        elif found.state.status == "running" and self._listening:
            age = _OLD * random.uniform(0.5, 1)  # not all of a host at once
            self._known[found.id] = _Known(found, asyncio.get_running_loop().time() + age)


def _was_killed(state: wire.State) -> bool:
    """Tell whether it was killed, by whom the engine may not know yet."""
    return state.status == "exited" and state.exit_code == _KILLED and not state.oom_killed
