"""Events of controllers (core/v1): repeated ones are counted, floods are held back."""

import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ..errors import StatusError
from ..objects.json import JsonObject
from ..objects.meta import ObjectMeta
from ..objects.stored import Body, StoredObject
from ..store.operations import Create, Replace
from .clock import Clock
from .fenced_store import FencedStore

_REMEMBERED = 4096
_BURST = 25.0
_REFILL = 300.0  # seconds per event and object, as Kubernetes' spam filter


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell about an object.

    Args:
        kind: of the object, e.g. "Node"; meta: of the object.
        warning: tells type Warning from Normal.
        reason: one CamelCase word.
        times: how often it happened.
    """

    kind: str
    meta: ObjectMeta
    reason: str
    message: str
    warning: bool = False
    times: int = 1


@dataclass(slots=True)
class _Told:
    stored: ObjectMeta
    first: datetime
    count: int


@dataclass(slots=True)
class _Allowance:
    left: float
    at: datetime


class EventLog:
    """Writes notes as Events under one component's name; telling never fails the teller."""

    def __init__(self, store: FencedStore, clock: Clock, component: str) -> None:
        self._store = store
        self._clock = clock
        self._component = component
        self._told: OrderedDict[tuple[str, str, str], _Told] = OrderedDict()
        self._allowed: OrderedDict[str, _Allowance] = OrderedDict()

    async def tell(self, *notes: Note) -> None:
        """Write the notes, less those that exceed 25 at once for one object."""
        writes = [self._write(note) for note in notes if self._allow(note.meta.uid)]
        if not writes:
            return
        try:
            results = await self._store.write_many(writes)
        except StatusError:
            return
        for op, result in zip(writes, results, strict=True):
            if not isinstance(result, StoredObject):
                self._forget(op.meta.uid)

    def _write(self, note: Note) -> Create | Replace:
        now = self._clock.now()
        identity = (note.meta.uid, note.reason, note.message)
        told = self._told.get(identity)
        if told is not None:
            told.count += note.times
            self._told.move_to_end(identity)
            return Replace("events", told.stored, self._body(note, told, now), b"", None)
        meta = ObjectMeta(
            name=f"{note.meta.name[:230]}.{uuid.uuid4().hex[:16]}",
            namespace=note.meta.namespace or "default",
            uid=str(uuid.uuid4()),
            creation_timestamp=now,
        )
        told = self._told[identity] = _Told(meta, now, note.times)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return Create("events", meta, self._body(note, told, now))

    def _forget(self, event_uid: str) -> None:
        for identity in [i for i, told in self._told.items() if told.stored.uid == event_uid]:
            del self._told[identity]

    def _allow(self, uid: str) -> bool:
        now = self._clock.now()
        allowance = self._allowed.setdefault(uid, _Allowance(_BURST, now))
        self._allowed.move_to_end(uid)
        if len(self._allowed) > _REMEMBERED:
            self._allowed.popitem(last=False)
        grown = allowance.left + (now - allowance.at).total_seconds() / _REFILL
        allowance.left, allowance.at = min(grown, _BURST), now
        if allowance.left < 1:
            return False
        allowance.left -= 1
        return True

    def _body(self, note: Note, told: _Told, now: datetime) -> Body:
        about: JsonObject = {
            "apiVersion": "v1",
            "kind": note.kind,
            "name": note.meta.name,
            "uid": note.meta.uid,
        }
        if note.meta.namespace:
            about["namespace"] = note.meta.namespace
        event: JsonObject = {
            "involvedObject": about,
            "reason": note.reason,
            "message": note.message[:1024],
            "source": {"component": self._component},
            "firstTimestamp": _time(told.first),
            "lastTimestamp": _time(now),
            "count": told.count,
            "type": "Warning" if note.warning else "Normal",
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
        return Body(msgspec.json.encode(event))


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
