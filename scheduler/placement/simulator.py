"""Simulations as a service: scenarios read from the request, laid over the live cluster if asked.

Reads the store and writes nothing. The work is done in a thread, one Simulation at a time, so that
placement and the API go on meanwhile.
"""

import asyncio
from collections.abc import Mapping, Sequence

from ..objects.json import JsonObject
from ..objects.kind import Kind, KindRegistry
from ..objects.stored import StoredObject
from ..objects.wire import document
from ..plugin_manager import PluginManager
from ..profile import Profile
from ..store.store import Store
from .overlay import Overlay, read_overlay
from .simulation import simulate

_LIVE = {
    "nodes": "nodes",
    "pods": "pods",
    "namespaces": "namespaces",
    "services": "services",
    "replicationControllers": "replicationcontrollers",
    "podDisruptionBudgets": "poddisruptionbudgets.policy",
    "priorityClasses": "priorityclasses.scheduling.k8s.io",
}


class Simulator:
    """Answers Simulations.

    Args:
        profiles: by schedulerName.
    """

    def __init__(
        self,
        store: Store,
        registry: KindRegistry,
        plugins: PluginManager,
        profiles: Mapping[str, Profile],
    ) -> None:
        self._store = store
        self._registry = registry
        self._plugins = plugins
        self._profiles = profiles
        self._turn = asyncio.Lock()

    async def simulate(self, spec: JsonObject) -> JsonObject:
        """Return the status of a Simulation.

        Raises:
            BadRequest: the spec cannot be read, or asks what cannot be.
            Unavailable: the live cluster is asked for and the database does not answer.
        """
        async with self._turn:
            overlay = read_overlay(spec)
            if overlay is not None:
                spec = {**spec, **await self._laid_over(overlay, spec)}
            return await asyncio.to_thread(simulate, self._plugins, self._profiles, spec)

    async def _laid_over(self, overlay: Overlay, spec: JsonObject) -> JsonObject:
        present = {kind.resource for kind in self._registry.kinds}
        live: dict[str, list[JsonObject]] = {}
        for name, resource in _LIVE.items():
            if resource not in present:
                continue
            listing = await self._store.list(resource)
            kind = self._registry.by_resource(resource)
            live[name] = await asyncio.to_thread(_documents, listing.objects, kind)
        return await asyncio.to_thread(overlay.over, live, spec)


def _documents(objects: Sequence[StoredObject], kind: Kind) -> list[JsonObject]:
    return [document(stored, kind) for stored in objects]
