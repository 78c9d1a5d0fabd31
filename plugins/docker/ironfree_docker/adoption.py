"""Containers that ran before Ironfree came and become pods: what they are, and whose they are."""

import logging
from collections.abc import Mapping, Sequence

from scheduler.errors import EngineRejected
from scheduler.foreign import Adopted, ForeignDescription

from .containers import Containers
from .descriptions import PROJECT, description
from .foreign import Ids
from .labels import adopted_labels
from .together import together
from .usage import Usage

_log = logging.getLogger(__name__)


class Adoption:
    """Of one engine, for one installation."""

    def __init__(self, containers: Containers, usage: Usage, cluster: str) -> None:
        self._containers = containers
        self._usage = usage
        self._cluster = cluster

    async def describe(
        self, containers: Sequence[str], project: str, offered: Ids
    ) -> tuple[ForeignDescription, ...]:
        """Describe containers by name or id, and those of a Compose project.

        Args:
            offered: resource → ids of the devices that pods may be given.
        """
        ids = [*containers]
        if project:
            ids += [each.id for each in await self._containers.list(f"{PROJECT}={project}")]
        found = await together(*(self._containers.foreign(each) for each in ids))
        there = {each.id: each for each in found if each is not None}
        used = await self._usage.of(tuple(there))
        return tuple(
            description(
                each,
                offered,
                self._containers.labels_of(each.id, each.config.labels or {}),
                used[each.id].memory_bytes if each.id in used else 0,
            )
            for each in there.values()
        )

    async def adopt(self, adopted: Mapping[str, Adopted]) -> None:
        """Treat these containers as attempts of pods, and no others."""
        before = self._containers.adopted
        self._containers.adopted = {
            name: before.get(name) or adopted_labels(name, each, self._cluster)
            for name, each in adopted.items()
        }
        for name in self._containers.adopted.keys() - before.keys():
            found = await self._containers.foreign(name)
            policy = found.host_config.restart_policy if found else None
            if policy is None or policy.name in {"", "no"}:
                continue
            try:
                await self._containers.restart_no_more(name)
            except EngineRejected as error:
                _log.warning("%s: the engine will restart it, too: %s", name[:12], error)
