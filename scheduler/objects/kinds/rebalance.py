"""Rebalance (ironfree.dev/v1): pods moved together, so that hosts can be returned."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..rebalance_job import MOST_COPIES, MOST_SHAPES
from .causes import forbidden, invalid, one_of, required
from .fields import (
    child,
    children,
    default_text,
    ensure,
    indexed,
    number,
    setdefault,
    text,
)
from .objective_validation import goal_causes, number_causes
from .placement_validation import label_selector_causes
from .pod_templates import default_templates, template_causes
from .printing import AGE, NAME, age, name, or_none
from .window_validation import window_causes

_DAY = 24 * 3600
_NUMBERS = {
    "movesPerHost": (20, 1, 500),
    "intervalSeconds": (300, 1, _DAY),
    "restSeconds": (3600, 0, 30 * _DAY),
    "moveSeconds": (600, 1, _DAY),
    "deadlineSeconds": (10, 1, 600),
    "minGainPercent": (1, 0, 100),
}
_BUDGET = {"maxMovesPerHour": (60, 0, 1000), "maxParallel": (2, 1, 30)}


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    default_text(spec, "mode", "plan")
    default_text(spec, "profile", "default-scheduler")
    default_text(spec, "goal", "consolidate")
    default_templates(children(spec, "shapes"))
    budget = ensure(spec, "budget")
    for where, numbers in ((spec, _NUMBERS), (budget, _BUDGET)):
        for field, (value, _, _) in numbers.items():
            setdefault(where, field, value)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    yield from one_of("spec.mode", text(spec, "mode"), ("plan", "auto"))
    for part in ("hosts", "pods"):
        selector = child(child(spec, part), "selector")
        yield from label_selector_causes(selector, f"spec.{part}.selector")
    budget = child(spec, "budget")
    for path, where, numbers in (
        ("spec", spec, _NUMBERS),
        ("spec.budget", budget, _BUDGET),
    ):
        for field, (_, least, most) in numbers.items():
            if not least <= number(where, field) <= most:
                why = f"must be between {least} and {most}"
                yield invalid(f"{path}.{field}", number(where, field), why)
    yield from _goal_causes(spec)
    yield from window_causes(spec, "spec")


def _goal_causes(spec: JsonObject) -> Iterable[Cause]:
    goal = text(spec, "goal")
    yield from one_of("spec.goal", goal, ("consolidate", "defragment", "improve", "none"))
    if goal == "none" and not spec.get("makeRoom"):
        yield invalid("spec.goal", goal, "leaves nothing to do unless spec.makeRoom is true")
    yield from _objective_causes(spec)
    shapes = list(indexed(spec, "shapes", "spec"))
    if shapes and goal != "defragment":
        yield forbidden("spec.shapes", "are for the goal defragment only")
    if len(shapes) > MOST_SHAPES:
        yield invalid("spec.shapes", len(shapes), f"must not be more than {MOST_SHAPES}")
    for path, shape in shapes:
        yield from template_causes(shape, path, MOST_COPIES)


def _objective_causes(spec: JsonObject) -> Iterable[Cause]:
    goals, improves = list(indexed(spec, "objective", "spec")), text(spec, "goal") == "improve"
    if goals and not improves:
        yield forbidden("spec.objective", "is for the goal improve only")
    if improves and not goals:
        yield required("spec.objective", "say what should become better")
    yield from number_causes(goals)
    for path, goal in goals:
        if text(goal, "place"):
            yield forbidden(f"{path}.place", "whoever runs is placed; set another goal")
        else:
            yield from goal_causes(goal, path)


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"phase": "Pending"}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    hosts = child(status, "hosts")
    used = f"{number(hosts, 'used')} -> {number(hosts, 'after')}" if hosts else ""
    goals = [
        f"{text(goal, 'name')} {text(goal, 'before')} -> {text(goal, 'after')}"
        for goal in children(status, "goals")
    ]
    return (
        name(obj),
        text(spec, "mode"),
        text(status, "phase"),
        or_none(used),
        or_none(text(hosts, "bound")),
        len(children(status, "moves")),
        len(children(status, "active")),
        number(status, "made"),
        age(obj, now),
        or_none(", ".join(goals)),
        text(status, "message"),
    )


KIND = Kind(
    kind="Rebalance",
    plural="rebalances",
    message="ironfree.v1.Rebalance",
    group="ironfree.dev",
    short_names=("rb",),
    categories=("ironfree",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Mode", description="plan, or auto."),
            Column("Phase", description="What it is about."),
            Column("Hosts", description="Hosts with pods, now and after the plan."),
            Column("Bound", description="Hosts that are needed, whatever is moved."),
            Column("Planned", "integer", description="Moves that have not begun."),
            Column("Active", "integer", description="Moves that have begun."),
            Column("Made", "integer", description="Moves that ended well."),
            AGE,
            Column("Goals", priority=1, description="Goals' values, now and after the plan."),
            Column("Message", priority=1, description="Why it is as it is."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    fields={"status.phase": text_at("status.phase")},
    builtin=False,
)
