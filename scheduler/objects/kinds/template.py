"""What kinds with a pod template and a selector have in common: defaults, checks, cells."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from ...errors import BadRequest, Cause
from ..adoption import CONTAINER
from ..json import Json, JsonObject
from ..kind import Cell, Column
from ..selectors import NOTHING, Selector, from_label_selector
from .causes import forbidden, invalid, label_map_causes, required
from .fields import child, number, text, text_map
from .pod_defaults import default_pod_spec
from .pod_support import warnings
from .pod_validation import not_ephemeral_causes, pod_spec_causes
from .printing import AGE, NAME, age, container_images, container_names, name, or_none

_ALWAYS = ("Always",)

TEMPLATE_COLUMNS = (
    Column("Containers", priority=1, description="Containers of its pods."),
    Column("Images", priority=1, description="Images of its pods."),
    Column("Selector", priority=1, description="Labels of its pods."),
)
"""Columns that kubectl shows of every kind with a template, if asked for more."""

REPLICA_COLUMNS = (
    NAME,
    Column("Desired", "integer", description="Pods wanted."),
    Column("Current", "integer", description="Pods there are."),
    Column("Ready", "integer", description="Pods that are ready."),
    AGE,
    *TEMPLATE_COLUMNS,
)
"""Columns of kinds that keep a number of pods."""


def template_cells(pod_spec: JsonObject, selector: str) -> tuple[Cell, ...]:
    """Return the cells of TEMPLATE_COLUMNS."""
    return container_names(pod_spec), container_images(pod_spec), selector


def replica_cells(obj: JsonObject, now: datetime, selector: str) -> tuple[Cell, ...]:
    """Return the cells of REPLICA_COLUMNS."""
    spec, status = child(obj, "spec"), child(obj, "status")
    return (
        name(obj),
        number(spec, "replicas"),
        number(status, "replicas"),
        number(status, "readyReplicas"),
        age(obj, now),
        *template_cells(template_spec(obj), selector),
    )


def template_spec(obj: JsonObject) -> JsonObject:
    """Return spec.template.spec."""
    return child(child(child(obj, "spec"), "template"), "spec")


def default_template(obj: JsonObject) -> None:
    """Fill spec.template, where it is given."""
    template = child(child(obj, "spec"), "template")
    if template:
        spec = template.setdefault("spec", {})
        if isinstance(spec, dict):
            default_pod_spec(spec)


def template_warnings(obj: JsonObject) -> Iterable[str]:
    """Yield sentences about fields of the template that have no effect here."""
    return warnings(template_spec(obj), "spec.template.spec")


def template_causes(
    spec: JsonObject,
    selector: Selector,
    restart_policies: Iterable[str] = _ALWAYS,
    path: str = "spec",
) -> Iterator[Cause]:
    """Yield what is wrong with spec.template.

    Args:
        selector: must find the template's labels; NOTHING is complained of elsewhere.
        restart_policies: that its pods may have.
        path: of the spec.
    """
    template = spec.get("template")
    if not isinstance(template, dict):
        yield required(f"{path}.template")
        return
    where = f"{path}.template.metadata.labels"
    labels = text_map(child(template, "metadata"), "labels")
    if not selector.nothing and not selector.matches(labels):
        shown = "{" + ",".join(f'"{k}":"{v}"' for k, v in sorted(labels.items())) + "}"
        why = f"Invalid value: {shown}: `selector` does not match template `labels`"
        yield Cause(where, why)
    yield from label_map_causes(child(child(template, "metadata"), "labels"), where)
    if CONTAINER in child(child(template, "metadata"), "annotations"):
        why = "a container that runs already is one pod's: create that pod by itself"
        yield forbidden(f"{path}.template.metadata.annotations[{CONTAINER}]", why)
    pod_spec, where = child(template, "spec"), f"{path}.template.spec"
    policy, allowed = text(pod_spec, "restartPolicy"), tuple(restart_policies)
    if policy and policy not in allowed:
        listed = ", ".join(f'"{each}"' for each in allowed)
        yield Cause(
            f"{where}.restartPolicy",
            f'Unsupported value: "{policy}": supported values: {listed}',
            "FieldValueNotSupported",
        )
    yield from pod_spec_causes(pod_spec, where)
    yield from not_ephemeral_causes(pod_spec, where)


def selector_causes(spec: JsonObject) -> Iterator[Cause]:
    """Yield what is wrong with spec.selector, a LabelSelector that must not be empty."""
    given = spec.get("selector")
    if given is None:
        yield required("spec.selector")
        return
    try:
        found = from_label_selector(given)
    except BadRequest as error:
        yield Cause("spec.selector", f"Invalid value: {error.message}")
        return
    if found.everything:
        yield Cause("spec.selector", "Invalid value: {}: empty selector is invalid")


def selector_of(spec: JsonObject) -> Selector:
    """Return spec.selector as owners use it; NOTHING where it is malformed or empty."""
    try:
        found = from_label_selector(spec.get("selector"))
    except BadRequest:
        return NOTHING
    return NOTHING if found.everything else found


def selector_text(spec: JsonObject) -> str:
    """Return spec.selector, a LabelSelector, in kubectl's form."""
    return or_none(str(selector_of(spec)))


def not_negative_causes(spec: JsonObject, *fields: str, path: str = "spec") -> Iterator[Cause]:
    """Yield a cause per field that is below zero."""
    for field in fields:
        if number(spec, field) < 0:
            why = "must be greater than or equal to 0"
            yield invalid(f"{path}.{field}", number(spec, field), why)


def immutable_causes(old: JsonObject, new: JsonObject, *fields: str) -> Iterator[Cause]:
    """Yield a cause per field of the spec that is another one than before."""
    before, after = child(old, "spec"), child(new, "spec")
    for field in fields:
        if before.get(field) != after.get(field):
            yield Cause(f"spec.{field}", "Invalid value: field is immutable")


def percentage_causes(value: Json, path: str) -> Iterator[Cause]:
    """Yield what is wrong with a number of pods or a percentage of them."""
    if isinstance(value, int):
        if value < 0:
            yield invalid(path, value, "must be greater than or equal to 0")
    elif isinstance(value, str) and not _is_percentage(value):
        yield invalid(
            path,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' "
            "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        )


def _is_percentage(value: str) -> bool:
    digits = value.removesuffix("%")
    return digits != value and digits.isascii() and digits.isdigit() and len(digits) <= 7


def is_zero(value: Json) -> bool:
    """Tell whether a number of pods or a percentage is none."""
    return value == 0 or (isinstance(value, str) and value.strip("0") == "%")


def at_most_all_causes(value: Json, path: str) -> Iterator[Cause]:
    """Yield a cause where a percentage is more than all."""
    if isinstance(value, str) and _is_percentage(value) and int(value[:-1]) > 100:
        yield invalid(path, value, "must not be greater than 100%")
