"""Typed view of PodDisruptionBudgets, and the condition of pods that are made to go."""

from datetime import datetime
from functools import cached_property
from typing import cast

import msgspec

from ..errors import BadRequest
from .json import Json, JsonObject
from .meta import ObjectMeta
from .pod import Condition, Pod, View
from .selectors import NOTHING, Selector, from_label_selector
from .stored import StoredObject

RESOURCE = "poddisruptionbudgets.policy"
TARGET = "DisruptionTarget"
BY_EVICTION = "EvictionByEvictionAPI"
BY_PREEMPTION = "PreemptionByScheduler"
BY_KUBELET = "TerminationByKubelet"


class DisruptionSpec(View, frozen=True):
    """policy/v1 PodDisruptionBudgetSpec."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: msgspec.Raw = msgspec.Raw(b"null")
    unhealthy_pod_eviction_policy: str = ""


class DisruptionStatus(msgspec.Struct, frozen=True, rename="camel"):
    """policy/v1 PodDisruptionBudgetStatus; counts are always written.

    Args:
        disrupted_pods: name → when the eviction of a pod that is still there was allowed.
    """

    current_healthy: int = 0
    desired_healthy: int = 0
    disruptions_allowed: int = 0
    expected_pods: int = 0
    observed_generation: int = 0
    disrupted_pods: dict[str, datetime] = {}
    conditions: tuple[Condition, ...] = ()


class DisruptionBudget(msgspec.Struct, frozen=True, dict=True):
    """A PodDisruptionBudget as those see it that ask it or keep its numbers."""

    meta: ObjectMeta
    spec: DisruptionSpec
    status: DisruptionStatus
    stored: StoredObject

    @cached_property
    def selector(self) -> Selector:
        """Whom it covers: {} everybody in the namespace, an unreadable one nobody."""
        try:
            return from_label_selector(cast(Json, msgspec.json.decode(self.spec.selector)))
        except BadRequest:
            return NOTHING

    def covers(self, pod: Pod) -> bool:
        """Tell whether the pod is one of those it speaks for."""
        return pod.meta.namespace == self.meta.namespace and self.selector.matches(pod.meta.labels)


class _Body(msgspec.Struct):
    spec: DisruptionSpec = DisruptionSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(DisruptionStatus)
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


def disruption_budget(stored: StoredObject) -> DisruptionBudget:
    """Return the typed view of a stored PodDisruptionBudget."""
    return DisruptionBudget(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else DisruptionStatus(),
        stored=stored,
    )


def encoded_status(
    status: DisruptionStatus, conditions: list[JsonObject], present: bytes = b""
) -> bytes:
    """Return a budget's status as JSON, unknown fields of the present one kept.

    Args:
        conditions: as meta/v1 Conditions, in place of those of `status`.
    """
    known = cast(JsonObject, msgspec.to_builtins(status))
    if not status.disrupted_pods:
        del known["disruptedPods"]
    known["conditions"] = cast(Json, conditions)
    kept = _object.decode(present or b"{}")
    return msgspec.json.encode({**{k: v for k, v in kept.items() if k != "disruptedPods"}, **known})


def allowed_condition(status: DisruptionStatus, now: datetime, failure: str = "") -> JsonObject:
    """Return the condition DisruptionAllowed that fits a status.

    Args:
        status: with the conditions of before, whose transition time is kept where nothing changes.
        failure: why the numbers cannot be known, "" if they are.
    """
    allowed = status.disruptions_allowed > 0 and not failure
    reason = "SufficientPods" if allowed else "InsufficientPods"
    word = "True" if allowed else "False"
    before = next((c for c in status.conditions if c.type == "DisruptionAllowed"), None)
    since = now
    if before is not None and before.status == word and before.last_transition_time is not None:
        since = before.last_transition_time
    return {
        "type": "DisruptionAllowed",
        "status": word,
        "reason": "SyncFailed" if failure else reason,
        "message": failure,
        "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "observedGeneration": status.observed_generation,
    }


def targeted(status: bytes, reason: str, message: str, now: datetime) -> bytes:
    """Return a pod's status that says why the pod is made to go (condition DisruptionTarget)."""
    value = _object.decode(status or b"{}")
    conditions = value.get("conditions")
    others = [
        c
        for c in (conditions if isinstance(conditions, list) else [])
        if not (isinstance(c, dict) and c.get("type") == TARGET)
    ]
    target: Json = {
        "type": TARGET,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    value["conditions"] = [*others, target]
    return msgspec.json.encode(value)
