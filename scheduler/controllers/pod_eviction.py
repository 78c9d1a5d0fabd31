"""Evicts pods as the API's eviction does: a delete that asks the PodDisruptionBudgets first."""

from msgspec.structs import replace

from ..errors import Conflict, NotFound
from ..objects.deletion import DeletionRequest
from ..objects.disruption import (
    BY_EVICTION,
    RESOURCE,
    DisruptionBudget,
    disruption_budget,
    targeted,
)
from ..objects.eviction import Refusal, disrupts, spares, still_processed, used_up
from ..objects.pod import Pod, pod_view
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Replace
from .clock import Clock
from .deletion_writes import deletion
from .fenced_store import FencedStore
from .informers import NAMESPACE, Informers

_RACES = 8
_MESSAGE = "Eviction API: evicting"


class PodEviction:
    """One for a controller."""

    def __init__(self, store: FencedStore, informers: Informers, clock: Clock) -> None:
        self._store = store
        self._budgets = informers.budgets
        self._clock = clock

    async def evict(self, pod: Pod) -> str:
        """Delete a pod if its budget lets it go; returns why not, "" where it is going."""
        allowed = False
        for _ in range(_RACES):
            stored = await self._store.get(ObjectKey("pods", pod.meta.namespace, pod.meta.name))
            if stored is None or stored.meta.uid != pod.meta.uid:
                return ""
            if not allowed:
                refusal = await self._ask(pod_view(stored))
                if refusal:
                    return refusal
                allowed = True
            try:
                await self._delete(stored)
            except Conflict:
                continue
            except NotFound:
                pass
            return ""
        return "it keeps changing"

    async def _ask(self, pod: Pod) -> str:
        """Use up one of its budget's allowed disruptions; returns why that cannot be."""
        if not disrupts(pod):
            return ""
        known = self._budgets.by_index(NAMESPACE, pod.meta.namespace)
        covering = [budget for budget in known if budget.covers(pod)]
        if len(covering) > 1:
            return "more than one PodDisruptionBudget covers it"
        return await self._use(covering[0], pod) if covering else ""

    async def _use(self, known: DisruptionBudget, pod: Pod) -> str:
        stored = await self._store.get(known.stored.key)
        if stored is None:
            return ""
        budget = disruption_budget(stored)
        if spares(budget, pod):
            return ""
        status = used_up(budget, pod.meta.name, self._clock.now())
        if isinstance(status, Refusal):
            return status.message
        try:
            await self._store.write(
                Replace(RESOURCE, stored.meta, stored.body, status, stored.revision)
            )
        except Conflict:
            return still_processed(budget).message
        return ""

    async def _delete(self, stored: StoredObject) -> None:
        write = deletion(stored, DeletionRequest(), self._clock.now())
        if write is None:
            return
        if isinstance(write, Replace) and stored.meta.deletion_timestamp is None:
            status = targeted(stored.status, BY_EVICTION, _MESSAGE, self._clock.now())
            write = replace(write, status=status)
        await self._store.write(write)
