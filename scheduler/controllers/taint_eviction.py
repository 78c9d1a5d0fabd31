"""Deletes the pods of nodes with NoExecute taints after the time they tolerate (TaintManager).

A pod on an unreachable node stays as it is, deleting, until its host returns or its Node is
removed; a controller counts it as gone and starts another one elsewhere.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..objects.deletion import DeletionRequest
from ..objects.disruption import targeted
from ..objects.event import Note
from ..objects.node import Node, Taint
from ..objects.pod import Pod, Toleration
from ..objects.stored import ObjectKey, StoredObject
from ..objects.tolerations import tolerates
from ..store.operations import Remove, Replace
from .clock import Clock
from .deletion_writes import deletion
from .event_log import EventLog, note
from .fenced_store import FencedStore, raise_failures
from .informers import NODE, Informers, nodes_of
from .settings import ControllerSettings
from .work_queue import WorkQueue

NO_EXECUTE = "NoExecute"


@dataclass(frozen=True, slots=True)
class Evictions:
    """Which pods of a node must go now, and when the next one must."""

    due: tuple[Pod, ...]
    look_again: timedelta | None


def evictions(
    taints: Sequence[Taint], pods: Iterable[Pod], now: datetime, not_before: datetime
) -> Evictions:
    """Return which pods do not tolerate the taints any longer.

    Args:
        taints: of the node; those of other effects do not matter here.
        not_before: tolerated time is counted from here at the earliest, so that a restart of the
            scheduler does not evict what its absence made late.
    """
    executing = [taint for taint in taints if taint.effect == NO_EXECUTE]
    due: list[Pod] = []
    waits: list[timedelta] = []
    for pod in pods if executing else ():
        if pod.terminal or pod.meta.deletion_timestamp is not None:
            continue
        until = evicted_at(pod.spec.tolerations, executing, not_before)
        if until is not None and until <= now:
            due.append(pod)
        elif until is not None:
            waits.append(until - now)
    return Evictions(tuple(due), min(waits, default=None))


def evicted_at(
    tolerations: Sequence[Toleration], taints: Sequence[Taint], not_before: datetime
) -> datetime | None:
    """Return when a pod must leave, None for never.

    Of several tolerations of one taint the shortest counts (GetMinTolerationTime).
    """
    moments: list[datetime] = []
    for taint in taints:
        start = max(_added(taint) or not_before, not_before)
        seconds = [t.toleration_seconds for t in tolerations if tolerates(t, taint)]
        if not seconds:
            return not_before
        limited = [max(s, 0) for s in seconds if s is not None]
        if limited:
            moments.append(start + timedelta(seconds=min(limited)))
    return min(moments, default=None)


class TaintEviction:
    """Carries the evictions out, node by node."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._nodes = informers.nodes
        self._pods = informers.pods
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "taint-eviction-controller")
        self._queue = WorkQueue[str]("taint eviction", clock)
        self._evicting: set[str] = set()
        self._started = clock.now()

    async def run(self) -> None:
        """Evict, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_nodes())
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_nodes(self) -> None:
        async for deltas in self._nodes.subscribe():
            for delta in deltas:
                if delta.new is not None and _evicts(delta.new):
                    self._evicting.add(delta.key.name)
                    self._queue.add(delta.key.name)
                else:
                    self._evicting.discard(delta.key.name)

    async def _follow_pods(self) -> None:
        async for deltas in self._pods.subscribe_whole():
            for delta in deltas if self._evicting else ():
                for name in self._evicting.intersection(nodes_of(delta)):
                    self._queue.add(name)

    async def _reconcile(self, name: str) -> timedelta | None:
        node = self._nodes.get("", name)
        if node is None:
            return None
        found = evictions(
            node.spec.taints,
            self._pods.by_index(NODE, name),
            self._clock.now(),
            self._started,
        )
        if found.due:
            await self._evict(found.due)
        return found.look_again

    async def _evict(self, pods: Sequence[Pod]) -> None:
        read = await asyncio.gather(
            *(self._store.get(ObjectKey("pods", p.meta.namespace, p.meta.name)) for p in pods)
        )
        writes: list[Replace | Remove] = []
        notes: list[Note] = []
        for pod, stored in zip(pods, read, strict=True):
            if stored is None or stored.meta.uid != pod.meta.uid:
                continue
            write = deletion(stored, DeletionRequest(), self._clock.now())
            if stored.meta.deletion_timestamp is None and write is not None:
                writes.append(_disrupted(write, stored, self._clock.now()))
                words = f"Marking for deletion Pod {pod.meta.namespace}/{pod.meta.name}"
                notes.append(note("Pod", pod.meta, "TaintManagerEviction", words))
        results = await self._store.write_many(writes)
        await self._events.tell(*notes)
        raise_failures(results)


def _evicts(node: Node) -> bool:
    return any(taint.effect == NO_EXECUTE for taint in node.spec.taints)


def _disrupted(write: Replace | Remove, stored: StoredObject, now: datetime) -> Replace | Remove:
    """Say in the pod's conditions why it goes."""
    if isinstance(write, Remove):
        return write
    reason, message = "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"
    status = targeted(stored.status, reason, message, now)
    return Replace("pods", write.meta, write.body, status, write.expected_revision)


def _added(taint: Taint) -> datetime | None:
    if not taint.time_added:
        return None
    try:
        return datetime.fromisoformat(taint.time_added).astimezone(UTC)
    except ValueError:
        return None
