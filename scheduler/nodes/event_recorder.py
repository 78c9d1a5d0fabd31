"""Writes the Events of pods (component kubelet), counted rather than repeated, and bounded."""

import asyncio
import logging
import secrets
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import msgspec

from ..errors import Fenced, StatusError, Unavailable
from ..objects.meta import ObjectMeta, now_seconds
from ..objects.pod import Pod
from ..objects.stored import Body
from ..store.operations import Create, Replace
from ..store.store import Store
from .settings import NodeSettings

_log = logging.getLogger(__name__)
_KNOWN = 4096  # events whose repetition is still counted
_LONGEST = 1024  # characters of a message (Kubernetes' own limit)


@dataclass(frozen=True, slots=True)
class PodEvent:
    """Something that happened to a pod; equal values count as repetitions."""

    namespace: str
    name: str
    uid: str
    node: str
    type: str
    reason: str
    message: str
    field_path: str


@dataclass(slots=True)
class _Series:
    """An event object in the store, and what is to be added to it."""

    meta: ObjectMeta
    first: datetime
    last: datetime
    count: int = 0
    written: bool = False


class EventRecorder:
    """One per process. `record` never waits; what exceeds the allowed rate is dropped."""

    def __init__(self, store: Store, epoch: int | None, settings: NodeSettings) -> None:
        self._store = store
        self._epoch = epoch
        self._settings = settings
        self._series: OrderedDict[PodEvent, _Series] = OrderedDict()
        self._pending: dict[PodEvent, _Series] = {}
        self._wake = asyncio.Event()
        self._tokens = float(settings.events_burst)
        self._filled_at = 0.0
        self.dropped = 0

    def record(self, pod: Pod, node: str, words: tuple[str, str, str], container: str = "") -> None:
        """Record that something happened.

        Args:
            words: type ("Normal" or "Warning"), reason, message.
        """
        if not self._allowed():
            self.dropped += 1
            return
        kind, reason, message = words
        meta = pod.meta
        path = _field_path(pod, container)
        event = PodEvent(
            meta.namespace, meta.name, meta.uid, node, kind, reason, message[:_LONGEST], path
        )
        now = now_seconds()
        series = self._series.get(event)
        if series is None:
            series = self._series[event] = _Series(_meta(event, now), now, now)
            if len(self._series) > _KNOWN:
                self._series.popitem(last=False)
        self._series.move_to_end(event)
        series.count += 1
        series.last = now
        self._pending[event] = series
        self._wake.set()

    async def run(self) -> None:
        """Write what is recorded, forever.

        Raises:
            Fenced: another leader has taken over.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, {}
            operations = [self._operation(event, series) for event, series in batch.items()]
            try:
                outcomes = await self._store.write_many(operations)
            except Unavailable as error:
                _log.warning("%d events are lost: %s", len(batch), error)
                continue
            for (event, series), outcome in zip(batch.items(), outcomes, strict=True):
                if isinstance(outcome, Fenced):
                    raise outcome
                if isinstance(outcome, StatusError):
                    self._series.pop(event, None)  # its namespace or the event itself is gone
                    _log.debug("event %s of %s: %s", event.reason, event.name, outcome)
                else:
                    series.written = True

    def _allowed(self) -> bool:
        now = asyncio.get_running_loop().time()
        gained = (now - self._filled_at) * self._settings.events_per_second
        self._tokens = min(float(self._settings.events_burst), self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _operation(self, event: PodEvent, series: _Series) -> Create | Replace:
        body = Body(msgspec.json.encode(_document(event, series)))
        if series.written:
            return Replace("events", series.meta, body, b"", None, epoch=self._epoch)
        return Create("events", series.meta, body, epoch=self._epoch)


def _meta(event: PodEvent, now: datetime) -> ObjectMeta:
    return ObjectMeta(
        name=f"{event.name[:220]}.{secrets.token_hex(8)}",
        namespace=event.namespace,
        uid=str(uuid.uuid4()),
        creation_timestamp=now,
    )


def _document(event: PodEvent, series: _Series) -> dict[str, object]:
    involved = {
        "kind": "Pod",
        "apiVersion": "v1",
        "namespace": event.namespace,
        "name": event.name,
        "uid": event.uid,
    }
    if event.field_path:
        involved["fieldPath"] = event.field_path
    return {
        "involvedObject": involved,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "source": {"component": "kubelet", "host": event.node},
        "firstTimestamp": series.first,
        "lastTimestamp": series.last,
        "count": series.count,
        "eventTime": None,
        "reportingComponent": "kubelet",
        "reportingInstance": event.node,
    }


def _field_path(pod: Pod, container: str) -> str:
    if not container:
        return ""
    init = any(c.name == container for c in pod.spec.init_containers)
    return f"spec.{'initContainers' if init else 'containers'}{{{container}}}"
