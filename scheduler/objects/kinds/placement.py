"""Placement (ironfree.dev/v1): a batch of pods to be packed as well as possible, and the proof."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..placement_job import (
    DEFAULT_DEADLINE,
    DEFAULT_WAIT,
    MOST_DISPLACED,
    MOST_PODS,
    MOST_SECONDS,
)
from .causes import forbidden, invalid, one_of, required
from .fields import child, children, default_text, ensure, indexed, number, setdefault, text, texts
from .objective_validation import goal_causes, number_causes
from .placement_validation import label_selector_causes
from .pod_templates import default_templates, template_causes
from .printing import AGE, NAME, age, name, or_none

_LIMITS = {
    "maxMoves": (0, 0, MOST_DISPLACED),
    "maxPreemptions": (0, 0, MOST_DISPLACED),
    "waitSeconds": (DEFAULT_WAIT, 1, MOST_SECONDS),
}


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    default_text(spec, "mode", "plan")
    setdefault(spec, "deadlineSeconds", DEFAULT_DEADLINE)
    default_text(spec, "profile", "default-scheduler")
    if not spec.get("objective"):
        spec["objective"] = [{"place": "count"}, {"hosts": "fewest"}]
    for field, (value, _, _) in _LIMITS.items():
        setdefault(ensure(spec, "limits"), field, value)
    pods = ensure(spec, "pods")
    default_templates(children(pods, "templates"))


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from one_of("spec.mode", text(spec, "mode"), ("plan", "commit"))
    seconds = number(spec, "deadlineSeconds")
    if not 1 <= seconds <= MOST_SECONDS:
        yield invalid("spec.deadlineSeconds", seconds, f"must be between 1 and {MOST_SECONDS}")
    yield from _pods_causes(child(spec, "pods"), text(spec, "mode"))
    yield from _hosts_causes(child(spec, "hosts"), text(spec, "mode"))
    yield from _limits_causes(child(spec, "limits"), child(spec, "hosts"))
    goals = list(indexed(spec, "objective", "spec"))
    yield from number_causes(goals)
    for index, (path, goal) in enumerate(goals):
        yield from goal_causes(goal, path)
        if index == 0 and text(goal, "prefer"):
            yield invalid(f"{path}.prefer", text(goal, "prefer"), "must not be the first goal")


def _pods_causes(pods: JsonObject, mode: str) -> Iterable[Cause]:
    if not (isinstance(pods.get("selector"), dict) or texts(pods, "groups") or _templates(pods)):
        yield required(
            "spec.pods", "give a selector ({} for all pending pods), groups or templates"
        )
    yield from label_selector_causes(child(pods, "selector"), "spec.pods.selector")
    if mode == "commit" and _templates(pods):
        why = "pods of templates do not exist and cannot be bound; create them, or use mode plan"
        yield forbidden("spec.pods.templates", why)
    total = 0
    for path, template in indexed(pods, "templates", "spec.pods"):
        total += number(template, "count")
        yield from template_causes(template, path, MOST_PODS)
    if total > MOST_PODS:
        yield invalid("spec.pods.templates", total, f"must not ask for more than {MOST_PODS} pods")


def _templates(pods: JsonObject) -> list[JsonObject]:
    return children(pods, "templates")


def _hosts_causes(hosts: JsonObject, mode: str) -> Iterable[Cause]:
    yield from label_selector_causes(child(hosts, "selector"), "spec.hosts.selector")
    if mode == "commit" and children(hosts, "nodes"):
        yield forbidden("spec.hosts.nodes", "pods can only be bound to nodes of the cluster")


def _limits_causes(limits: JsonObject, hosts: JsonObject) -> Iterable[Cause]:
    for field, (_, least, most) in _LIMITS.items():
        if not least <= number(limits, field) <= most:
            why = f"must be between {least} and {most}"
            yield invalid(f"spec.limits.{field}", number(limits, field), why)
    for field in ("maxMoves", "maxPreemptions"):
        if number(limits, field) and children(hosts, "nodes"):
            yield forbidden(f"spec.limits.{field}", "nothing runs on the nodes of spec.hosts.nodes")


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    before, after = dict(child(old, "spec")), dict(child(new, "spec"))
    was, now = before.pop("cancelled", False), after.pop("cancelled", False)
    if before != after:
        yield forbidden("spec", "a Placement may not change; only spec.cancelled may be set")
    if was and not now:
        yield forbidden("spec.cancelled", "what was cancelled stays so; create another Placement")


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"phase": "Pending"}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    solver = child(status, "solver")
    goals = children(solver, "goals")
    gap = text(goals[0], "gap") if goals else ""
    placed = f"{number(status, 'placed')}/{number(status, 'pods')}" if "pods" in status else ""
    return (
        name(obj),
        text(spec, "mode"),
        text(status, "phase"),
        or_none(placed),
        number(status, "hostsUsed"),
        or_none(text(solver, "status")),
        or_none(gap),
        age(obj, now),
        text(status, "message"),
    )


KIND = Kind(
    kind="Placement",
    plural="placements",
    message="ironfree.v1.Placement",
    group="ironfree.dev",
    short_names=("place",),
    categories=("ironfree",),
    printer=Printer(
        (
            NAME,
            Column("Mode", description="plan, or commit."),
            Column("Phase", description="How far it is."),
            Column("Placed", description="Pods with a host, of those asked for."),
            Column("Hosts", "integer", description="Hosts that the plan uses."),
            Column("Solver", description="What is proved of the plan."),
            Column("Gap", description="Distance of the first goal from its bound."),
            AGE,
            Column("Message", priority=1, description="Why it is as it is."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    validate_update=_validate_update,
    subresources=("assignments",),
    fields={"status.phase": text_at("status.phase")},
    builtin=False,
)
