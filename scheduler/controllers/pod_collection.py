"""Removes pods that nobody will finish (Kubernetes' pod garbage collector).

Those bound to a node that no longer exists, those deleting without ever having had a node, and
the oldest of too many that have ended.
"""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from ..informer import CohortDelta
from ..objects.deletion import DeletionRequest
from ..objects.pod import Pod
from ..objects.stored import ObjectKey
from ..store.operations import Remove
from .clock import Clock
from .deletion_writes import deletion
from .fenced_store import FencedStore, raise_failures
from .informers import NODE, TERMINAL, Informers, nodes_of
from .settings import ControllerSettings
from .work_queue import WorkQueue

_ENDED = ObjectKey("pods", "", "")
_EPOCH = datetime.fromtimestamp(0, UTC)


def superfluous(ended: Collection[Pod], keep: int) -> list[Pod]:
    """Return the oldest ended pods beyond the number to keep."""
    if len(ended) <= keep:
        return []
    by_age = sorted(ended, key=lambda pod: (pod.meta.creation_timestamp or _EPOCH, pod.meta.name))
    return by_age[: len(ended) - keep]


class PodCollection:
    """Collects pods. A key is a node's name, a pod, or all ended pods."""

    def __init__(
        self, store: FencedStore, informers: Informers, settings: ControllerSettings, clock: Clock
    ) -> None:
        self._store = store
        self._nodes = informers.nodes
        self._pods = informers.pods
        self._settings = settings
        self._clock = clock
        self._queue = WorkQueue[ObjectKey]("pod collection", clock)
        self._present: set[str] = set()

    async def run(self) -> None:
        """Collect, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_nodes())
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_nodes(self) -> None:
        async for deltas in self._nodes.subscribe():
            for delta in deltas:
                if delta.new is None:
                    self._present.discard(delta.key.name)
                    self._queue.add_after(delta.key, self._settings.orphan_quarantine)
                else:
                    self._present.add(delta.key.name)

    async def _follow_pods(self) -> None:
        async for deltas in self._pods.subscribe_whole():
            for delta in deltas:
                self._look_for(set(nodes_of(delta)) - self._present)
                one = delta.one(0) if isinstance(delta, CohortDelta) else delta
                if one.new is not None:
                    self._look(one.key, one.new)

    def _look_for(self, nodes: Iterable[str]) -> None:
        """Look later whether nodes that seem to be absent are."""
        for name in nodes:
            if self._nodes.get("", name) is None:
                node = ObjectKey("nodes", "", name)
                self._queue.add_after(node, self._settings.orphan_quarantine)

    def _look(self, key: ObjectKey, pod: Pod) -> None:
        """Look at a pod, which speaks for the others of its cohort."""
        if not pod.node and pod.meta.deletion_timestamp is not None:
            self._queue.add(key)
        if pod.terminal:
            ended = self._pods.by_index(TERMINAL, "terminal")
            if len(ended) > self._settings.terminated_pods:
                self._queue.add(_ENDED)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        if key == _ENDED:
            ended = self._pods.by_index(TERMINAL, "terminal")
            await self._remove(superfluous(ended, self._settings.terminated_pods))
        elif key.resource == "nodes":
            if await self._store.get(key) is None:
                pods = list(self._pods.by_index(NODE, key.name))
                await self._give_up(pods)
                await self._remove(pods)
        else:
            pod = self._pods.get(key.namespace, key.name)
            if pod is not None and not pod.node and pod.meta.deletion_timestamp is not None:
                await self._remove([pod])
        return None

    async def _give_up(self, pods: Collection[Pod]) -> None:
        """Have pods go that finalizers hold: nobody will stop them, so they have no grace."""
        request, now = DeletionRequest(grace_seconds=0), self._clock.now()
        held = (pod for pod in pods if pod.meta.finalizers and not _given_up(pod))
        read = [
            await self._store.get(ObjectKey("pods", p.meta.namespace, p.meta.name)) for p in held
        ]
        writes = [deletion(stored, request, now) for stored in read if stored is not None]
        raise_failures(await self._store.write_many([w for w in writes if w is not None]))

    async def _remove(self, pods: Collection[Pod]) -> None:
        """Remove pods as they were seen, unless a finalizer holds them."""
        results = await self._store.write_many(
            [
                Remove(
                    ObjectKey("pods", pod.meta.namespace, pod.meta.name),
                    pod.meta.uid,
                    pod.revision,
                )
                for pod in pods
                if not pod.meta.finalizers
            ]
        )
        raise_failures(results)


def _given_up(pod: Pod) -> bool:
    """Tell whether a pod is being deleted and nobody waits for its host to stop it."""
    return pod.meta.deletion_timestamp is not None and not pod.meta.deletion_grace_period_seconds
