"""Says on pods and Nodes what Rebalances and Placements want of them: annotations and a taint.

Level-triggered: what all of them want together is compared with what is there, so marks of one
that was deleted, stopped or forgotten in a crash go the way they came.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec.structs import replace

from ...errors import Conflict, NotFound
from ...informer import Informer
from ...objects.node import Node, Taint, node_view, with_taints
from ...objects.pod import Pod
from ...objects.rebalance_job import RETURNABLE, PlannedMove
from ...objects.replication import REPLACE_FIRST, REPLACE_ON
from ...objects.stored import ObjectKey, StoredObject
from ...store.operations import Replace
from ...store.store import Store

logger = logging.getLogger(__name__)

MOVING = "moving"  # the index of the pods' informer that this needs
_TRIES = 5


class _Edit(Protocol):
    def __call__(self, stored: StoredObject) -> Replace | None: ...


class Marks:
    """Writes as the leader of one epoch.

    Args:
        pods: indexed by MOVING.
    """

    def __init__(
        self, store: Store, epoch: int, pods: Informer[Pod], nodes: Informer[Node]
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._pods = pods
        self._nodes = nodes
        self._moves: dict[str, dict[str, PlannedMove]] = {}  # by who wants them, and by uid
        self._returnable: Mapping[str, str] = {}
        self._turn = asyncio.Lock()

    def want_moves(self, who: str, active: Iterable[PlannedMove]) -> None:
        """Say which pods somebody wants replaced now, in place of what he wanted before."""
        self._moves[who] = {move.uid: move for move in active}

    def want_empty(self, returnable: Mapping[str, str]) -> None:
        """Say which hosts new pods are kept off.

        Args:
            returnable: host → name of the Rebalance that empties it.
        """
        self._returnable = returnable

    async def settle(self) -> None:
        """Have pods and Nodes say what is wanted, and nothing else.

        Raises:
            Fenced: another leader has taken over. Unavailable: the database does not answer.
        """
        async with self._turn:
            await self._settle()

    async def _settle(self) -> None:
        wanted = {uid: move for moves in self._moves.values() for uid, move in moves.items()}
        returnable = self._returnable
        for pod in tuple(self._pods.by_index(MOVING, MOVING)):
            if pod.meta.uid not in wanted and pod.meta.deletion_timestamp is None:
                await self._edit(_key(pod.meta.namespace, pod.meta.name), _stay(pod.meta.uid))
        for move in wanted.values():
            key = _key(*move.pod.split("/", 1))
            pod = self._pods.items.get(key)
            if pod is not None and _marked(pod) != move.target:
                await self._edit(key, _leave(move))
        for key, node in tuple(self._nodes.items.items()):
            if _tainted(node) != returnable.get(node.meta.name):
                await self._edit(key, _taint(returnable.get(node.meta.name)))

    async def _edit(self, key: ObjectKey, edit: _Edit) -> None:
        for _ in range(_TRIES):
            stored = await self._store.get(key)
            write = edit(stored) if stored is not None else None
            if write is None:
                return
            try:
                await self._store.write(replace(write, epoch=self._epoch))
            except Conflict:
                continue
            except NotFound:
                return
            return
        logger.warning("%s %s keeps changing; it is marked later", key.resource, key.name)


def _key(namespace: str, name: str) -> ObjectKey:
    return ObjectKey("pods", namespace, name)


def _marked(pod: Pod) -> str:
    said = pod.meta.annotations
    return said.get(REPLACE_ON, "") if said.get(REPLACE_FIRST) == "true" else ""


def _leave(move: PlannedMove) -> _Edit:
    def edit(stored: StoredObject) -> Replace | None:
        meta = stored.meta
        if meta.uid != move.uid or meta.deletion_timestamp is not None:
            return None
        said = {**meta.annotations, REPLACE_FIRST: "true", REPLACE_ON: move.target}
        return _annotated(stored, said)

    return edit


def _stay(uid: str) -> _Edit:
    def edit(stored: StoredObject) -> Replace | None:
        meta = stored.meta
        if meta.uid != uid or REPLACE_ON not in meta.annotations:
            return None
        ours = {REPLACE_FIRST, REPLACE_ON}
        return _annotated(stored, {k: v for k, v in meta.annotations.items() if k not in ours})

    return edit


def _annotated(stored: StoredObject, annotations: dict[str, str]) -> Replace | None:
    if annotations == stored.meta.annotations:
        return None
    meta = replace(stored.meta, annotations=annotations)
    return Replace(stored.resource, meta, stored.body, stored.status, stored.revision)


def _tainted(node: Node) -> str | None:
    return next((taint.value for taint in node.spec.taints if taint.key == RETURNABLE), None)


def _taint(name: str | None) -> _Edit:
    def edit(stored: StoredObject) -> Replace | None:
        node = node_view(stored)
        if _tainted(node) == name or stored.meta.deletion_timestamp is not None:
            return None
        taints = [taint for taint in node.spec.taints if taint.key != RETURNABLE]
        if name is not None:
            taints.append(Taint(RETURNABLE, "PreferNoSchedule", name))
        meta = stored.meta
        if meta.generation:
            meta = replace(meta, generation=meta.generation + 1)
        body = with_taints(stored.body, taints)
        return Replace(stored.resource, meta, body, stored.status, stored.revision)

    return edit
