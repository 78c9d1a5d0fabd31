"""Writes the Events of pods and nodes (component kubelet), repetitions counted, and bounded."""

import asyncio
import logging

from ..errors import Fenced, StatusError, Unavailable
from ..objects.event import EventSeries, Note
from ..objects.meta import now_seconds
from ..objects.pod import Pod
from ..store.operations import Create, Replace
from ..store.store import Store
from .settings import NodeSettings

_log = logging.getLogger(__name__)


class EventRecorder:
    """One per process. `record` never waits; what exceeds the allowed rate is dropped."""

    def __init__(self, store: Store, epoch: int | None, settings: NodeSettings) -> None:
        self._store = store
        self._epoch = epoch
        self._settings = settings
        self._series = EventSeries("kubelet")
        self._pending: dict[tuple[str, Note], int] = {}
        self._wake = asyncio.Event()
        self._tokens = float(settings.events_burst)
        self._filled_at = 0.0
        self.dropped = 0

    def record(self, pod: Pod, node: str, words: tuple[str, str, str], container: str = "") -> None:
        """Record that something happened.

        Args:
            words: type ("Normal" or "Warning"), reason, message.
        """
        kind, reason, message = words
        meta = pod.meta
        note = Note(
            "Pod",
            meta.namespace,
            meta.name,
            meta.uid,
            reason,
            message,
            kind == "Warning",
            _field_path(pod, container),
        )
        self._put(node, note)

    def record_node(self, node: str, words: tuple[str, str, str]) -> None:
        """Record that something happened to a node; its uid is its name, as kubelet has it."""
        kind, reason, message = words
        self._put(node, Note("Node", "", node, node, reason, message, kind == "Warning"))

    def _put(self, node: str, note: Note) -> None:
        if not self._allowed():
            self.dropped += 1
            return
        self._pending[node, note] = self._pending.get((node, note), 0) + 1
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
            operations = [self._operation(*what, times) for what, times in batch.items()]
            try:
                outcomes = await self._store.write_many(operations)
            except Unavailable as error:
                _log.warning("%d events are lost: %s", len(batch), error)
                for operation in operations:
                    self._series.forget(operation.meta.uid)
                continue
            for operation, outcome in zip(operations, outcomes, strict=True):
                if isinstance(outcome, Fenced):
                    raise outcome
                if isinstance(outcome, StatusError):  # its namespace or the event itself is gone
                    self._series.forget(operation.meta.uid)
                    _log.debug("event %s: %s", operation.meta.name, outcome)

    def _allowed(self) -> bool:
        now = asyncio.get_running_loop().time()
        gained = (now - self._filled_at) * self._settings.events_per_second
        self._tokens = min(float(self._settings.events_burst), self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _operation(self, node: str, note: Note, times: int) -> Create | Replace:
        telling = self._series.tell(note, now_seconds(), times=times, host=node)
        if telling.repeated:
            return Replace("events", telling.meta, telling.body, b"", None, epoch=self._epoch)
        return Create("events", telling.meta, telling.body, epoch=self._epoch)


def _field_path(pod: Pod, container: str) -> str:
    if not container:
        return ""
    init = any(c.name == container for c in pod.spec.init_containers)
    return f"spec.{'initContainers' if init else 'containers'}{{{container}}}"
