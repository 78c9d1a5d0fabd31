"""Writes pod statuses to the store: only the latest, many at once, never over another's change."""

import asyncio
import logging
from dataclasses import dataclass
from itertools import islice

import msgspec

from ..errors import Conflict, Fenced, NotFound, StatusError, Unavailable
from ..informer import Informer
from ..objects.json import Json, JsonObject
from ..objects.pod import Pod, PodStatus
from ..objects.stored import ObjectKey
from ..store.operations import Replace
from ..store.store import Store

_log = logging.getLogger(__name__)
_MOST = 1000  # statuses in one write
_RETRY = 0.05  # seconds until the informer has probably seen what we conflicted with
_AWAY = 1.0  # seconds between tries while the database is away

_OWNED = (
    "phase",
    "conditions",
    "message",
    "reason",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "observedGeneration",
)
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


@dataclass(frozen=True, slots=True)
class _Wish:
    uid: str
    status: PodStatus


def merged(present: bytes, status: PodStatus) -> bytes:
    """Put the fields a node owns into a status, leaving those of others (nominatedNodeName …)."""
    fields = _object.decode(present or b"{}")
    for name in _OWNED:
        fields.pop(name, None)
    built: dict[str, Json] = msgspec.to_builtins(status)
    fields.update({name: built[name] for name in _OWNED if name in built})
    if status.host_ip:
        fields["hostIPs"] = [{"ip": status.host_ip}]
    return msgspec.json.encode(fields)


class StatusWriter:
    """One per process; `put` never waits."""

    def __init__(self, store: Store, pods: Informer[Pod], epoch: int | None) -> None:
        self._store = store
        self._pods = pods
        self._epoch = epoch
        self._wishes: dict[ObjectKey, _Wish] = {}
        self._wake = asyncio.Event()

    def put(self, key: ObjectKey, uid: str, status: PodStatus) -> None:
        """Have this status written, instead of any put before."""
        self._wishes[key] = _Wish(uid, status)
        self._wake.set()

    async def run(self) -> None:
        """Write what is put, forever.

        Raises:
            Fenced: another leader has taken over.
        """
        while True:
            await self._wake.wait()
            batch = dict(islice(self._wishes.items(), _MOST))
            for key in batch:
                del self._wishes[key]
            if not self._wishes:
                self._wake.clear()
            try:
                again = await self._write(batch)
            except Unavailable as error:
                _log.warning("pod statuses wait for the database: %s", error)
                again, delay = batch, _AWAY
            else:
                delay = _RETRY
            if again:
                await asyncio.sleep(delay)
                for key, wish in again.items():
                    self._wishes.setdefault(key, wish)
                self._wake.set()

    async def _write(self, batch: dict[ObjectKey, _Wish]) -> dict[ObjectKey, _Wish]:
        """Write a batch; returns what lost a race and must be tried again."""
        operations = {key: op for key, wish in batch.items() if (op := self._operation(key, wish))}
        if not operations:
            return {}
        outcomes = await self._store.write_many(tuple(operations.values()))
        again: dict[ObjectKey, _Wish] = {}
        for key, outcome in zip(operations, outcomes, strict=True):
            match outcome:
                case Fenced():
                    raise outcome
                case Conflict() | Unavailable():
                    again[key] = batch[key]
                case NotFound():
                    pass  # the pod is gone, and its status with it
                case StatusError():
                    _log.error("status of pod %s/%s: %s", key.namespace, key.name, outcome)
                case _:
                    pass
        return again

    def _operation(self, key: ObjectKey, wish: _Wish) -> Replace | None:
        current = self._pods.get(key.namespace, key.name)
        if current is None or current.meta.uid != wish.uid or current.status == wish.status:
            return None
        stored = current.stored
        assert stored is not None
        return Replace(
            "pods",
            stored.meta,
            stored.body,
            merged(stored.status, wish.status),
            expected_revision=stored.revision,
            epoch=self._epoch,
        )
