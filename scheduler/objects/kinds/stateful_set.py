"""StatefulSet (apps/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, Scale
from ..names import label_name_complaints
from . import persistent_volume_claim
from .causes import duplicate, forbidden, invalid, one_of
from .fields import child, children, default_text, ensure, indexed, number, setdefault, text
from .persistent_volume_claim import claim_causes
from .printing import AGE, NAME, age, container_images, container_names, name
from .template import (
    default_template,
    not_negative_causes,
    selector_causes,
    selector_of,
    template_causes,
    template_spec,
    template_warnings,
)

_STRATEGIES = ("RollingUpdate", "OnDelete")
_POLICIES = ("OrderedReady", "Parallel")
_MUTABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "minReadySeconds",
        "persistentVolumeClaimRetentionPolicy",
    }
)


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    setdefault(spec, "replicas", 1)
    setdefault(spec, "revisionHistoryLimit", 10)
    default_text(spec, "podManagementPolicy", "OrderedReady")
    strategy = ensure(spec, "updateStrategy")
    default_text(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        setdefault(ensure(strategy, "rollingUpdate"), "partition", 0)
    retention = ensure(spec, "persistentVolumeClaimRetentionPolicy")
    default_text(retention, "whenDeleted", "Retain")
    default_text(retention, "whenScaled", "Retain")
    for claim in children(spec, "volumeClaimTemplates"):
        default_text(claim, "apiVersion", "v1")
        default_text(claim, "kind", "PersistentVolumeClaim")
        persistent_volume_claim.KIND.default(claim)
        setdefault(claim, "status", {"phase": "Pending"})
    default_template(obj)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from not_negative_causes(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from not_negative_causes(child(spec, "ordinals"), "start", path="spec.ordinals")
    yield from selector_causes(spec)
    yield from one_of("spec.podManagementPolicy", text(spec, "podManagementPolicy"), _POLICIES)
    yield from _strategy_causes(child(spec, "updateStrategy"))
    yield from _retention_causes(child(spec, "persistentVolumeClaimRetentionPolicy"))
    yield from _claim_causes(spec)
    yield from template_causes(spec, selector_of(spec))
    for complaint in label_name_complaints(f"{name(obj)}-0"):
        yield invalid("metadata.name", name(obj), f"pods are named after it: {complaint}")
    if template_spec(obj).get("activeDeadlineSeconds") is not None:
        path = "spec.template.spec.activeDeadlineSeconds"
        yield forbidden(path, "activeDeadlineSeconds in StatefulSet is not Supported")


def _strategy_causes(strategy: JsonObject) -> Iterable[Cause]:
    path = "spec.updateStrategy"
    yield from one_of(f"{path}.type", text(strategy, "type"), _STRATEGIES)
    rolling = strategy.get("rollingUpdate")
    if text(strategy, "type") == "OnDelete" and rolling is not None:
        yield forbidden(f"{path}.rollingUpdate", "only allowed for updateStrategy 'RollingUpdate'")
    given = child(strategy, "rollingUpdate")
    yield from not_negative_causes(given, "partition", path=f"{path}.rollingUpdate")
    if given.get("maxUnavailable") not in (None, 1):
        why = "not supported by Ironfree: pods are replaced one at a time (docs/workloads.md)"
        yield forbidden(f"{path}.rollingUpdate.maxUnavailable", why)


def _retention_causes(policy: JsonObject) -> Iterable[Cause]:
    for field in ("whenDeleted", "whenScaled"):
        path = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
        if text(policy, field) == "Delete":
            why = "Delete is not supported by Ironfree: claims stay (docs/workloads.md)"
            yield forbidden(path, why)
        else:
            yield from one_of(path, text(policy, field), ("Retain",))


def _claim_causes(spec: JsonObject) -> Iterable[Cause]:
    seen: set[str] = set()
    for path, claim in indexed(spec, "volumeClaimTemplates", "spec"):
        named = name(claim)
        for complaint in label_name_complaints(named):
            yield invalid(f"{path}.metadata.name", named, complaint)
        if named in seen:
            yield duplicate(f"{path}.metadata.name", named)
        seen.add(named)
        yield from claim_causes(child(claim, "spec"), f"{path}.spec")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    before, after = child(old, "spec"), child(new, "spec")
    fixed = (before.keys() | after.keys()) - _MUTABLE
    if any(before.get(field) != after.get(field) for field in fixed):
        yield forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', "
            "'template', 'updateStrategy', 'revisionHistoryLimit', "
            "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"replicas": 0}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    pod_spec = template_spec(obj)
    return (
        name(obj),
        f"{number(status, 'readyReplicas')}/{number(spec, 'replicas')}",
        age(obj, now),
        container_names(pod_spec),
        container_images(pod_spec),
    )


KIND = Kind(
    kind="StatefulSet",
    plural="statefulsets",
    group="apps",
    message="apps.v1.StatefulSet",
    short_names=("sts",),
    categories=("all",),
    printer=Printer(
        (
            NAME,
            Column("Ready", description="Pods that are ready, of those wanted."),
            AGE,
            Column("Containers", priority=1, description="Containers of its pods."),
            Column("Images", priority=1, description="Images of its pods."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    validate_update=_validate_update,
    warnings=template_warnings,
    scale=Scale(),
)
