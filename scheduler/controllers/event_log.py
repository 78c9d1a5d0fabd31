"""Writes controllers' Events; floods are held back as by Kubernetes' spam filter."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from ..errors import StatusError
from ..objects.event import EventSeries, Note
from ..objects.meta import ObjectMeta
from ..objects.stored import StoredObject
from ..store.operations import Create, Replace
from .clock import Clock
from .fenced_store import FencedStore

_REMEMBERED = 4096
_BURST = 25.0
_REFILL = 300.0  # seconds per event and object


def note(kind: str, meta: ObjectMeta, reason: str, message: str, *, warning: bool = False) -> Note:
    """Return a note about an object of that kind."""
    return Note(kind, meta.namespace, meta.name, meta.uid, reason, message, warning)


@dataclass(slots=True)
class _Allowance:
    left: float
    at: datetime


class EventLog:
    """Writes notes as Events under one component's name; telling never fails the teller."""

    def __init__(self, store: FencedStore, clock: Clock, component: str) -> None:
        self._store = store
        self._clock = clock
        self._series = EventSeries(component)
        self._allowed: OrderedDict[str, _Allowance] = OrderedDict()

    async def tell(self, *notes: Note, times: int = 1) -> None:
        """Write the notes, less those that exceed 25 at once for one object.

        Args:
            times: how often each of them happened.
        """
        writes = [self._write(note, times) for note in notes if self._allow(note.uid)]
        if not writes:
            return
        try:
            results = await self._store.write_many(writes)
        except StatusError:
            return
        for op, result in zip(writes, results, strict=True):
            if not isinstance(result, StoredObject):
                self._series.forget(op.meta.uid)

    def _write(self, note: Note, times: int) -> Create | Replace:
        telling = self._series.tell(note, self._clock.now(), times=times)
        if telling.repeated:
            return Replace("events", telling.meta, telling.body, b"", None)
        return Create("events", telling.meta, telling.body)

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
