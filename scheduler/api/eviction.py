"""pods/{name}/eviction: a delete that asks the PodDisruptionBudgets first (policy/v1 Eviction)."""

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from ..errors import BadRequest, Cause, Conflict, Forbidden, StatusError
from ..objects import checking
from ..objects.disruption import (
    BY_EVICTION,
    RESOURCE,
    DisruptionBudget,
    allowed_condition,
    disruption_budget,
    encoded_status,
    targeted,
)
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

_MOST_DISRUPTED = 2000  # pods that a budget's status may name
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
            if not _is_free(pod) and taken != pod.meta.uid:
                budget = await self._budget(pod)
                if budget is not None and not _spares(budget, pod):
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
            status = _decremented(budget, pod.meta.name, now_seconds())
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
                    raise _still_processed(budget) from None
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


def _is_free(pod: Pod) -> bool:
    """Tell whether a pod disrupts nothing any more, or not yet."""
    return (
        pod.terminal
        or pod.status.phase in {"", "Pending"}
        or pod.meta.deletion_timestamp is not None
    )


def _spares(budget: DisruptionBudget, pod: Pod) -> bool:
    """Tell whether a pod that is not ready may go without using the budget up."""
    ready = pod.status.condition("Ready")
    if ready is not None and ready.status == "True":
        return False
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    status = budget.status
    return status.current_healthy >= status.desired_healthy > 0


def _decremented(budget: DisruptionBudget, name: str, now: datetime) -> bytes:
    """Return the budget's status with one disruption used up for a pod."""
    status = budget.status
    if status.observed_generation < budget.meta.generation:
        raise _still_processed(budget)
    if len(status.disrupted_pods) > _MOST_DISRUPTED:
        raise Forbidden(
            f'poddisruptionbudgets.policy "{budget.meta.name}" is forbidden: DisruptedPods map too '
            "big - too many evictions not confirmed by PDB controller",
            kind="poddisruptionbudgets",
            group="policy",
            name=budget.meta.name,
        )
    if status.disruptions_allowed <= 0:
        raise _forbidden(budget)
    status = replace(
        status,
        disruptions_allowed=status.disruptions_allowed - 1,
        disrupted_pods={**status.disrupted_pods, name: now},
    )
    return encoded_status(status, [allowed_condition(status, now)], budget.stored.status)


def _forbidden(budget: DisruptionBudget) -> TooManyRequests:
    status = budget.status
    failed = _failure(budget)
    message = (
        f"The disruption budget {budget.meta.name} does not allow evicting pods currently because "
        f"it failed sync: {failed}"
        if failed
        else f"The disruption budget {budget.meta.name} needs {status.desired_healthy} healthy "
        f"pods and has {status.current_healthy} currently"
    )
    return TooManyRequests(_FORBIDDEN, causes=_causes(message))


def _failure(budget: DisruptionBudget) -> str:
    conditions = budget.status.conditions
    return next((c.message for c in conditions if c.reason == "SyncFailed"), "")


def _still_processed(budget: DisruptionBudget) -> TooManyRequests:
    message = f"The disruption budget {budget.meta.name} is still being processed by the server."
    return TooManyRequests(_FORBIDDEN, causes=_causes(message), retry_after=10)


def _causes(message: str) -> tuple[Cause, ...]:
    return (Cause("", message, "DisruptionBudget"),)
