"""Simulations as a service: scenarios read from the request, laid over the live cluster if asked.

Reads the store and writes nothing. The work is done in a thread, one Simulation at a time, so that
placement and the API go on meanwhile.
"""

import asyncio
from collections.abc import Mapping

from ..objects.json import JsonObject
from ..plugin_manager import PluginManager
from ..profile import Profile
from ..store.store import Store
from .live import RESOURCES, Absence, LiveCluster, read_absence
from .scenario import Scenario, read_scenario
from .simulation import Question, Simulation, read_question


class Simulator:
    """Answers Simulations.

    Args:
        profiles: by schedulerName.
    """

    def __init__(
        self, store: Store, plugins: PluginManager, profiles: Mapping[str, Profile]
    ) -> None:
        self._store = store
        self._plugins = plugins
        self._profiles = profiles
        self._turn = asyncio.Lock()

    async def simulate(self, _namespace: str, spec: JsonObject) -> JsonObject:
        """Return the status of a Simulation.

        Raises:
            BadRequest: the spec cannot be read, or asks what cannot be.
            Unavailable: the live cluster is asked for and the database does not answer.
        """
        question, absence = read_question(spec), read_absence(spec)
        async with self._turn:
            live = None if absence is None else await live_cluster(self._store, absence)
            return await asyncio.to_thread(self._simulate, question, spec, live)

    def _simulate(self, question: Question, spec: JsonObject, live: Scenario | None) -> JsonObject:
        scenario = read_scenario(spec, live)
        return Simulation(self._plugins, self._profiles, question, scenario).run()


async def live_cluster(store: Store, absence: Absence) -> Scenario:
    """Return the cluster as the store has it, each resource as of its own instant.

    Raises:
        Unavailable: the database does not answer.
    """
    cluster = LiveCluster(absence)
    for resource in RESOURCES:
        listing = await store.list(resource)
        cluster.scenario.revision = cluster.scenario.revision or listing.revision
        await asyncio.to_thread(cluster.add, resource, listing.objects)
    return cluster.scenario
