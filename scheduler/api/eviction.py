"""pods/{name}/eviction: a delete that asks the PodDisruptionBudgets first (policy/v1 Eviction)."""

from dataclasses import dataclass

from msgspec.structs import replace

from ..errors import BadRequest, Cause, Conflict, Forbidden, StatusError
from ..objects import checking
from ..objects.disruption import (
    BY_EVICTION,
    RESOURCE,
    DisruptionBudget,
    disruption_budget,
    targeted,
)
from ..objects.eviction import Refusal, disrupts, spares, still_processed, used_up
from ..objects.json import JsonObject
from ..objects.kinds.fields import child, text
from ..objects.meta import now_seconds
from ..objects.pod import Pod, pod_view
from ..objects.stored import StoredObject
from ..store.operations import Replace
from . import removal
from .backend import Backend
from .removal import Options, Remover
from .request import Call
from .status_errors import TooManyRequests
from .updating import RACES, Updater

_FORBIDDEN = "Cannot evict pod as it would violate the pod's disruption budget."


def checked_eviction(call: Call, given: JsonObject) -> Options:
    """Return the delete options of an Eviction.

    Raises:
        BadRequest: it is no Eviction, or is about another pod.
    """
    if text(given, "kind") not in {"", "Eviction"}:
        raise BadRequest(f"{text(given, 'kind')} cannot be handled as an Eviction")
    wrong = [p for p in checking.check("policy.v1.Eviction", given) if not p.unknown]
    if wrong:
        raise BadRequest(
            f'Eviction in version "v1" cannot be handled as an Eviction: {wrong[0].message}'
        )
    if text(child(given, "metadata"), "name") not in {"", call.name}:
        raise BadRequest("name in URL does not match name in Eviction object")
    return removal.options_of(child(given, "deleteOptions"), call.query)


@dataclass(frozen=True, slots=True)
class Evictor:
    """Evicts pods.

    A budget's number is taken down, and the pod noted in it, in one write that fails if the budget
    has changed since it was read; so of two evictions that race for the last one, one loses.
    """

    backend: Backend

    async def evict(self, call: Call, wanted: Options) -> None:
        """Delete a pod if its budget lets it go.

        Raises:
            TooManyRequests: not now. NotFound, Conflict: as deletion.
            StatusError: more than one budget covers the pod.
        """
        taken = ""  # uid of the pod that a budget has let go
        for attempt in range(RACES):
            current = await Updater(self.backend).current(call)
            removal.check_preconditions(call.kind, current, wanted)
            pod = pod_view(current)
            if disrupts(pod) and taken != pod.meta.uid:
                budget = await self._budget(pod)
                if budget is not None and not spares(budget, pod):
                    await self._take(budget, pod, dry_run=wanted.dry_run)
                    taken = pod.meta.uid
            try:
                return await self._delete(call, current, wanted)
            except Conflict:
                if wanted.resource_version or attempt == RACES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _budget(self, pod: Pod) -> DisruptionBudget | None:
        listing = await self.backend.store.list(RESOURCE, pod.meta.namespace)
        found = [b for b in map(disruption_budget, listing.objects) if b.covers(pod)]
        if len(found) > 1:
            raise StatusError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                "does not support."
            )
        return found[0] if found else None

    async def _take(self, budget: DisruptionBudget, pod: Pod, *, dry_run: bool) -> None:
        """Use up one of a budget's allowed disruptions (upstream's checkAndDecrement)."""
        key = budget.stored.key
        for attempt in range(RACES):
            status = used_up(budget, pod.meta.name, now_seconds())
            if isinstance(status, Refusal):
                raise _refused(budget, status)
            if dry_run:
                return
            stored = budget.stored
            try:
                await self.backend.store.write(
                    Replace(RESOURCE, stored.meta, stored.body, status, stored.revision)
                )
            except Conflict:
                fresh = await self.backend.store.get(key)
                if fresh is None:
                    return
                if attempt == RACES - 1:
                    raise _refused(budget, still_processed(budget)) from None
                budget = disruption_budget(fresh)
            else:
                return

    async def _delete(self, call: Call, current: StoredObject, wanted: Options) -> None:
        operation = removal.plan(call.kind, current, wanted.request)
        if isinstance(operation, Replace) and current.meta.deletion_timestamp is None:
            message = "Eviction API: evicting"
            status = targeted(current.status, BY_EVICTION, message, now_seconds())
            operation = replace(operation, status=status)
        await Remover(self.backend).apply(current, operation, dry_run=wanted.dry_run)


def _refused(budget: DisruptionBudget, refusal: Refusal) -> StatusError:
    if refusal.crowded:
        name = budget.meta.name
        return Forbidden(
            f'poddisruptionbudgets.policy "{name}" is forbidden: {refusal.message}',
            kind="poddisruptionbudgets",
            group="policy",
            name=name,
        )
    causes = (Cause("", refusal.message, "DisruptionBudget"),)
    return TooManyRequests(_FORBIDDEN, causes=causes, retry_after=refusal.retry_after)
