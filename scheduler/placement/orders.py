"""Carries out preemptions: nominations are written, then victims are deleted.

In that order and in one go, so that after a crash in between nobody has left for a pod that nobody
remembers. Where all victims go at once the room is there as soon as they are deleted, and the
nomination is not written.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from ..errors import Conflict, Fenced, StatusError, Unavailable
from ..hookspecs import PodClass
from ..informer import Informer
from ..objects.deletion import DeletionRequest, delete
from ..objects.disruption import BY_PREEMPTION, targeted
from ..objects.json import JsonObject
from ..objects.meta import now_seconds
from ..objects.pod import Pod
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Remove, Replace, Write
from ..store.store import Store
from .plan import Gang, PendingPod
from .preemption import Preemption
from .tenancy import RunningPod

logger = logging.getLogger(__name__)

_TRIES = 5
_READERS = 8
_PAUSE = 1.0
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)

Edit = Callable[[StoredObject], Write | None]


class Order(msgspec.Struct, frozen=True):
    """A pod that gets a nominated node, or loses the one it had.

    Args:
        message: why it has no node yet.
        preemption: None takes its nomination back.
        gang: whose member it is, if room is made for all of them.
    """

    pod: PendingPod
    wanted: PodClass | None = None
    message: str = ""
    preemption: Preemption | None = None
    gang: Gang | None = None

    def departures(self) -> Iterator[tuple[RunningPod, str]]:
        """Yield whom it makes go, and what is said of that."""
        if self.preemption is not None:
            why = f"Preempted by pod {self.pod.uid} on node {self.preemption.node}"
            yield from ((each, why) for each in self.preemption.victims if not each.leaving)


class OrderWriter:
    """Writes orders to the store.

    Args:
        pods: what was last seen of them.
    """

    def __init__(self, store: Store, epoch: int, pods: Informer[Pod]) -> None:
        self._store = store
        self._epoch = epoch
        self._pods = pods

    async def write(self, orders: Sequence[Order]) -> None:
        """Write nominations and delete victims, and wait until the informer knows.

        Whatever fails is decided on again later.

        Raises:
            Fenced: another leader has taken over.
        """
        seen = self._seen(orders)
        edits: dict[ObjectKey, Edit] = {
            order.pod.key: _nomination(order) for order in orders if not _is_brief(order, seen)
        }
        for order in orders:
            for victim in order.preemption.victims if order.preemption else ():
                if not victim.leaving and victim.key not in edits:
                    edits[victim.key] = _departure(victim, order)
        await self._write(edits, seen)
        await self._pods.reached(await self._revision())

    def _seen(self, orders: Sequence[Order]) -> dict[ObjectKey, Pod]:
        """Return the pods that orders are about as they were last seen."""
        keys = dict.fromkeys(order.pod.key for order in orders)
        for order in orders:
            if order.preemption is not None:
                keys.update(dict.fromkeys(victim.key for victim in order.preemption.victims))
        known = self._pods.items
        return {key: pod for key in keys if (pod := known.get(key)) is not None}

    async def _write(self, edits: Mapping[ObjectKey, Edit], seen: Mapping[ObjectKey, Pod]) -> None:
        """Edit pods as they were last seen, and again as they are stored where a race was lost."""
        left = dict(edits)
        for number in range(_TRIES):
            try:
                left = await self._attempt(left, {} if number else seen)
            except Unavailable as error:
                logger.warning("preemption waits: %s; trying again in %g s", error, _PAUSE)
                await asyncio.sleep(_PAUSE)
            if not left:
                return
        logger.warning("%d writes of a preemption lost too many races", len(left))

    async def _attempt(
        self, edits: Mapping[ObjectKey, Edit], seen: Mapping[ObjectKey, Pod]
    ) -> dict[ObjectKey, Edit]:
        """Try every edit once; return those that lost a race."""
        writes: list[tuple[ObjectKey, Write]] = []
        for key, found in (await self._present(list(edits), seen)).items():
            write = edits[key](found)
            if write is not None:
                writes.append((key, msgspec.structs.replace(write, epoch=self._epoch)))
        again: dict[ObjectKey, Edit] = {}
        outcomes = await self._store.write_many([write for _, write in writes]) if writes else ()
        for (key, _), outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, Fenced):
                raise outcome
            if isinstance(outcome, Conflict):
                again[key] = edits[key]
            elif isinstance(outcome, StatusError):
                logger.debug("a write of a preemption was refused: %s", outcome)
        return again

    async def _present(
        self, keys: Sequence[ObjectKey], seen: Mapping[ObjectKey, Pod]
    ) -> dict[ObjectKey, StoredObject]:
        """Return pods as they were seen, others as they are stored."""
        found = {k: p.stored for k in keys if (p := seen.get(k)) and p.stored}
        missing = [key for key in keys if key not in found]
        for start in range(0, len(missing), _READERS):
            part = missing[start : start + _READERS]
            stored = await asyncio.gather(*(self._store.get(key) for key in part))
            found.update({k: each for k, each in zip(part, stored, strict=True) if each})
        return found

    async def _revision(self) -> int:
        while True:
            try:
                return await self._store.revision()
            except Unavailable as error:
                logger.warning("%s; asking again in %g s", error, _PAUSE)
                await asyncio.sleep(_PAUSE)


def _is_brief(order: Order, seen: Mapping[ObjectKey, Pod]) -> bool:
    """Tell whether a pod without a nomination waits for none but victims without grace."""
    victims = order.preemption.victims if order.preemption is not None else ()
    waits = seen.get(order.pod.key)
    if not victims or waits is None or waits.status.nominated_node_name:
        return False
    for victim in victims:
        pod = seen.get(victim.key)
        if pod is None or victim.leaving or pod.meta.finalizers:
            return False
        if pod.spec.termination_grace_period_seconds:
            return False
    return True


def _nomination(order: Order) -> Edit:
    """Return the edit that writes or clears a waiting pod's nominated node."""
    node = order.preemption.node if order.preemption is not None else ""

    def edit(stored: StoredObject) -> Write | None:
        if stored.meta.uid != order.pod.uid or stored.binding is not None:
            return None
        status = _object.decode(stored.status or b"{}")
        if (status.get("nominatedNodeName") or "") == node:
            return None
        status["nominatedNodeName"] = node
        if not node:
            del status["nominatedNodeName"]
        encoded = msgspec.json.encode(status)
        return Replace(stored.resource, stored.meta, stored.body, encoded, stored.revision)

    return edit


def _departure(victim: RunningPod, order: Order) -> Edit:
    """Return the edit that deletes a victim as the API would, and says why."""
    scheduler = order.wanted.spec.scheduler_name if order.wanted is not None else ""
    message = f"{scheduler}: preempting to accommodate a higher priority pod"

    def edit(stored: StoredObject) -> Write | None:
        if stored.meta.uid != victim.uid or stored.meta.deletion_timestamp is not None:
            return None
        now = now_seconds()
        meta = delete(stored, DeletionRequest(), now)
        if meta is None:
            return Remove(stored.key, stored.meta.uid, stored.revision)
        status = targeted(stored.status, BY_PREEMPTION, message, now)
        return Replace(stored.resource, meta, stored.body, status, stored.revision)

    return edit
