"""Bindings that others make, judged by batch rules before they are written.

Where the profile has no batch rules nothing is done. Where it has, the whole cluster is read and
every rule is asked of all that runs and of the pod besides, one binding at a time in this process.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from ..errors import PluginError
from ..objects.pod import pod_view
from ..objects.pod_class import PodClass, pod_class
from ..objects.stored import StoredObject
from ..plugin_manager import GuardedBatchRule, Rules
from ..profile import DEFAULT_NAME
from ..store.store import Store
from .live import Absence
from .rebalance.floor import Floor
from .rebalance.movability import Scope
from .scenario import Scenario
from .simulator import live_cluster


class BindingReview:
    """Judges bindings.

    Args:
        rules: by schedulerName; the default profile's hold for pods of other schedulers.
    """

    def __init__(self, store: Store, rules: Mapping[str, Rules]) -> None:
        self._store = store
        self._rules = rules
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def review(self, stored: StoredObject, node: str) -> AsyncGenerator[str]:
        """Yield why a pod may not be bound to a node, "" if it may; bind it within.

        Raises:
            Unavailable: the database does not answer.
        """
        pod = pod_view(stored)
        rules = self._rules.get(pod.spec.scheduler_name) or self._rules[DEFAULT_NAME]
        if not rules.batch:
            yield ""
            return
        wanted = pod_class(pod)
        async with self._turn:
            cluster = await live_cluster(self._store, Absence())
            yield await asyncio.to_thread(objection, wanted, node, cluster, rules.batch)


def objection(
    wanted: PodClass, node: str, cluster: Scenario, batch: tuple[GuardedBatchRule, ...]
) -> str:
    """Return why batch rules do not let one pod more be on a node, "" if they do.

    One that fails does not: nothing is bound on a guess.
    """
    floor = Floor(cluster, (), Scope(), batch, (wanted,))
    row = floor.base.row_of.get(node)
    try:
        if floor.rulebook is None or row is None:
            return ""
        return floor.rulebook.come(wanted, row)
    except PluginError as error:
        return str(error)
