"""Events (core/v1): what components tell people about objects, repetitions counted.

Pure: recorders elsewhere decide how much may be told and write the result to the store.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec.structs import replace

from .json import JsonObject
from .meta import ObjectMeta, new_uid
from .stored import Body

_LONGEST = 1024  # characters of a message (Kubernetes' own limit)
_REMEMBERED = 4096


class Note(msgspec.Struct, frozen=True):
    """Something to tell about an object; equal notes count as repetitions of one event.

    Args:
        kind, namespace, name, uid: of the object; namespace "" is cluster scope.
        reason: one CamelCase word.
        warning: tells type Warning from Normal.
        field_path: the part of the object it is about, e.g. spec.containers{web}.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    reason: str
    message: str
    warning: bool = False
    field_path: str = ""


@dataclass(frozen=True, slots=True)
class Telling:
    """An Event to write.

    Args:
        repeated: the Event was made earlier; replace it rather than create it.
    """

    meta: ObjectMeta
    body: Body
    repeated: bool


@dataclass(slots=True)
class _Told:
    meta: ObjectMeta
    first: datetime
    count: int


class EventSeries:
    """Turns one component's notes into Events, and remembers the latest to count repetitions.

    Args:
        component: who tells (EventSource).
    """

    def __init__(self, component: str) -> None:
        self._component = component
        self._told: OrderedDict[Note, _Told] = OrderedDict()
        self._notes: dict[str, Note] = {}  # by the uid of their Event

    def tell(self, note: Note, now: datetime, *, times: int = 1, host: str = "") -> Telling:
        """Return the Event for a note.

        Args:
            now: UTC, whole seconds.
            times: how often it happened since it was last told.
            host: the node it happened on, where the component runs on nodes.
        """
        if len(note.message) > _LONGEST:
            note = replace(note, message=note.message[:_LONGEST])
        told = self._told.get(note)
        repeated = told is not None
        if told is None:
            told = self._told[note] = _Told(_meta(note, now), now, 0)
            self._notes[told.meta.uid] = note
            if len(self._told) > _REMEMBERED:
                _, oldest = self._told.popitem(last=False)
                del self._notes[oldest.meta.uid]
        else:
            self._told.move_to_end(note)
        told.count += times
        return Telling(told.meta, self._body(note, told, now, host), repeated)

    def forget(self, event_uid: str) -> None:
        """Forget an Event that could not be written; its note begins a new one."""
        note = self._notes.pop(event_uid, None)
        if note is not None:
            del self._told[note]

    def _body(self, note: Note, told: _Told, now: datetime, host: str) -> Body:
        about: JsonObject = {
            "kind": note.kind,
            "apiVersion": "v1",
            "name": note.name,
            "uid": note.uid,
        }
        if note.namespace:
            about["namespace"] = note.namespace
        if note.field_path:
            about["fieldPath"] = note.field_path
        source: JsonObject = {"component": self._component}
        if host:
            source["host"] = host
        event: JsonObject = {
            "involvedObject": about,
            "type": "Warning" if note.warning else "Normal",
            "reason": note.reason,
            "message": note.message,
            "source": source,
            "firstTimestamp": _time(told.first),
            "lastTimestamp": _time(now),
            "count": told.count,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": host,
        }
        return Body(msgspec.json.encode(event))


def _meta(note: Note, now: datetime) -> ObjectMeta:
    uid = new_uid()
    return ObjectMeta(
        name=f"{note.name[:230]}.{uid[:8]}{uid[24:32]}",
        namespace=note.namespace or "default",
        uid=uid,
        creation_timestamp=now,
    )


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
