"""Event (core/v1)."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .fields import child, number, text
from .printing import NAME, name, since

_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    involved = text(child(obj, "involvedObject"), "namespace")
    namespace = text(child(obj, "metadata"), "namespace")
    if (involved or "default") != namespace:
        yield Cause(
            "involvedObject.namespace",
            f'Invalid value: "{involved}": does not match event.namespace',
        )


def _count(obj: JsonObject) -> int:
    return number(child(obj, "series"), "count") or number(obj, "count", 1) or 1


def _times(obj: JsonObject, now: datetime) -> tuple[str, str]:
    created = child(obj, "metadata").get("creationTimestamp")
    first = obj.get("firstTimestamp") or obj.get("eventTime") or created
    last = child(obj, "series").get("lastObservedTime") or obj.get("lastTimestamp") or first
    seen_first, seen_last = since(first, now), since(last, now)
    if _count(obj) > 1:
        seen_last = f"{seen_last} (x{_count(obj)} over {seen_first})"
    return seen_first, seen_last


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    involved = child(obj, "involvedObject")
    first, last = _times(obj, now)
    source = child(obj, "source")
    component = text(source, "component") or text(obj, "reportingComponent")
    host = text(source, "host") or text(obj, "reportingInstance")
    return (
        last,
        text(obj, "type"),
        text(obj, "reason"),
        f"{text(involved, 'kind').lower()}/{text(involved, 'name')}",
        text(involved, "fieldPath"),
        f"{component}, {host}" if host else component,
        text(obj, "message").strip(),
        first,
        _count(obj),
        name(obj),
    )


KIND = Kind(
    kind="Event",
    plural="events",
    message="core.v1.Event",
    short_names=("ev",),
    printer=Printer(
        (
            Column("Last Seen", description="When it happened last."),
            Column("Type", description="Normal or Warning."),
            Column("Reason", description="One word for what happened."),
            Column("Object", description="What it happened to."),
            Column("Subobject", priority=1, description="The part of the object."),
            Column("Source", priority=1, description="Who reports it."),
            Column("Message", description="What happened, in words."),
            Column("First Seen", priority=1, description="When it happened first."),
            Column("Count", "integer", priority=1, description="How often it happened."),
            Column("Name", format="name", priority=1, description=NAME.description),
        ),
        _cells,
    ),
    validate=_validate,
    fields={
        **{
            f"involvedObject.{field}": text_at(f"involvedObject.{field}")
            for field in _OBJECT_FIELDS
        },
        "reason": text_at("reason"),
        "reportingComponent": text_at("reportingComponent"),
        "source": text_at("source.component"),
        "type": text_at("type"),
    },
    has_status=False,
)
