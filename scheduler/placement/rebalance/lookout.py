"""What is seen of a move's pods and of the host it goes to."""

from ...informer import Informer
from ...objects.node import Node
from ...objects.pod import Pod
from ...objects.rebalance_job import PlannedMove
from ...objects.replication import REPLACES
from ...objects.stored import ObjectKey
from ..tenants import NODE
from .progress import Sighting


class Lookout:
    """Looks at informers that somebody else runs.

    Args:
        pods: indexed by NODE.
    """

    def __init__(self, pods: Informer[Pod], nodes: Informer[Node]) -> None:
        self._pods = pods
        self._nodes = nodes

    async def synced(self) -> None:
        """Wait until the informers know what there is."""
        await self._pods.synced()
        await self._nodes.synced()

    def see(self, move: PlannedMove) -> Sighting:
        """Return what is seen of a move."""
        namespace, _, name = move.pod.partition("/")
        pod = self._pods.items.get(ObjectKey("pods", namespace, name))
        if pod is not None and (pod.meta.uid != move.uid or pod.terminal):
            pod = None
        ending = pod is not None and pod.meta.deletion_timestamp is not None
        if ending:
            pod = None
        there = self._pods.by_index(NODE, move.target) if pod is None else ()
        landed = any(p.meta.annotations.get(REPLACES) == move.uid for p in there)
        ending = ending and not self._is_silent(move.source)
        return Sighting(pod, landed, self._is_lost(move.target), ending)

    def _is_lost(self, host: str) -> bool:
        node = self._nodes.items.get(ObjectKey("nodes", "", host))
        return node is None or node.spec.unschedulable or self._is_silent(host)

    def _is_silent(self, host: str) -> bool:
        node = self._nodes.items.get(ObjectKey("nodes", "", host))
        ready = node.status.condition("Ready") if node is not None else None
        return ready is None or ready.status != "True"
