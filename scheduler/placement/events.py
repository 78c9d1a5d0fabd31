"""Scheduling Events (core/v1), repeated ones counted instead of created again."""

import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from ..objects.json import JsonObject
from ..objects.meta import ObjectMeta, now_seconds
from ..objects.stored import Body
from ..store.operations import Create, Replace, Write
from .plan import PendingPod

COMPONENT = "default-scheduler"
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell about a pod.

    Args:
        kind: "Normal" or "Warning".
        reason: one CamelCase word.
    """

    pod: PendingPod
    kind: str
    reason: str
    message: str


@dataclass(slots=True)
class _Told:
    meta: ObjectMeta
    first: str
    count: int


class EventLog:
    """Makes the writes for notes, and remembers the latest ones to count repetitions."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._told: OrderedDict[tuple[str, str, str], _Told] = OrderedDict()
        self._number = time.time_ns()

    def write(self, note: Note) -> Write:
        """Return the write that tells a note: a new Event, or the old one with a higher count."""
        now = now_seconds()
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        identity = (note.pod.uid, note.reason, note.message)
        told = self._told.get(identity)
        if told is not None:
            told.count += 1
            self._told.move_to_end(identity)
            body = Body(_body(note, told, at))
            return Replace("events", told.meta, body, b"", None, self._epoch)
        self._number = max(self._number + 1, time.time_ns())
        meta = ObjectMeta(
            name=f"{note.pod.key.name[:230]}.{self._number:x}",
            namespace=note.pod.key.namespace,
            uid=str(uuid.uuid4()),
            creation_timestamp=now,
        )
        told = _Told(meta, at, 1)
        if note.kind != "Normal":  # a pod is scheduled once
            self._told[identity] = told
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
        return Create("events", meta, Body(_body(note, told, at)), b"", self._epoch)


def _body(note: Note, told: _Told, now: str) -> bytes:
    event: JsonObject = {
        "involvedObject": {
            "kind": "Pod",
            "namespace": note.pod.key.namespace,
            "name": note.pod.key.name,
            "uid": note.pod.uid,
            "apiVersion": "v1",
        },
        "reason": note.reason,
        "message": note.message[:1024],
        "source": {"component": COMPONENT},
        "firstTimestamp": told.first,
        "lastTimestamp": now,
        "count": told.count,
        "type": note.kind,
        "eventTime": None,
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
    }
    return msgspec.json.encode(event)
