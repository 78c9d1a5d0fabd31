"""What else bears on placement: namespaces' labels, what selects pods, budgets, PodGroups."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from ..informer import Informer
from ..objects import disruption, image_manifest, pod_group
from ..objects.disruption import disruption_budget
from ..objects.pod import View
from ..objects.pod_class import REPLICA_SETS, REPLICATION_CONTROLLERS, SERVICES, STATEFUL_SETS
from ..objects.replication import replication_view
from ..objects.selectors import Selector, from_map
from ..objects.stateful_set import stateful_set_view
from ..objects.stored import StoredObject
from ..store.store import Store
from .storage_table import RESOURCES as STORAGE


class _ServiceSpec(View, frozen=True):
    selector: dict[str, str] = {}


class _ServiceBody(msgspec.Struct):
    spec: _ServiceSpec = _ServiceSpec()


_service = msgspec.json.Decoder(_ServiceBody)


class Surroundings:
    """Follows namespaces, services, workloads that spread, budgets, PodGroups, storage, images."""

    def __init__(self, store: Store) -> None:
        self.namespaces = Informer(store, "namespaces", _labels)
        self.selecting = tuple(Informer(store, each, _VIEWS[each]) for each in SELECTING)
        self.budgets = Informer(store, disruption.RESOURCE, disruption_budget)
        self.groups = Informer(store, pod_group.RESOURCE, pod_group.pod_group)
        self.manifests = Informer(store, image_manifest.RESOURCE, image_manifest.image_manifest)
        self.storage = tuple(Informer(store, resource, _itself) for resource in STORAGE)
        self._all = (
            self.namespaces,
            *self.selecting,
            self.budgets,
            self.groups,
            self.manifests,
            *self.storage,
        )

    async def run(self) -> None:
        """Keep current, forever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.namespaces.run(), name="placement's namespaces")
            for resource, informer in zip(SELECTING, self.selecting, strict=True):
                group.create_task(informer.run(), name=f"placement's {resource}")
            group.create_task(self.budgets.run(), name="placement's budgets")
            group.create_task(self.groups.run(), name="placement's groups")
            group.create_task(self.manifests.run(), name="placement's image manifests")
            for resource, informer in zip(STORAGE, self.storage, strict=True):
                group.create_task(informer.run(), name=f"placement's {resource}")

    async def synced(self) -> None:
        """Wait until all have taken their first list."""
        for informer in self._all:
            await informer.synced()


def _itself(stored: StoredObject) -> StoredObject:
    return stored


def _labels(stored: StoredObject) -> dict[str, str]:
    return stored.meta.labels


def selector_of(resource: str, stored: StoredObject) -> Selector | None:
    """Return what a service or controller selects; None for nothing."""
    return _VIEWS[resource](stored)


def _selected(stored: StoredObject) -> Selector | None:
    labels = _service.decode(stored.body.json).spec.selector
    return from_map(labels) if labels else None


def _replicated(stored: StoredObject) -> Selector | None:
    selector = replication_view(stored).selector
    return None if selector.nothing else selector


def _stateful(stored: StoredObject) -> Selector | None:
    selector = stateful_set_view(stored).selector
    return None if selector.nothing else selector


_VIEWS: Mapping[str, Callable[[StoredObject], Selector | None]] = {
    SERVICES: _selected,
    REPLICATION_CONTROLLERS: _replicated,
    REPLICA_SETS: _replicated,
    STATEFUL_SETS: _stateful,
}
SELECTING = tuple(_VIEWS)
"""Resources whose objects select pods that are spread by a profile's default constraints."""
