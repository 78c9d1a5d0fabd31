"""Which node is being cleared for which pod (status.nominatedNodeName).

Pure. Room on a node counts as taken for pods of no higher priority than one nominated there, until
that pod is bound, by whatever node, or goes.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..objects.pod_class import PodClass
from ..snapshot import Snapshot
from .draft import Draft
from .plan import PendingPod


class Nominations:
    """The nominated pods, by node and by uid."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[PendingPod, PodClass, str]] = {}
        self._on: dict[str, dict[str, PodClass]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def node_of(self, uid: str) -> str:
        """Return the node a pod is nominated to, "" for none."""
        found = self._of.get(uid)
        return found[2] if found is not None else ""

    def add(self, pending: PendingPod, pod: PodClass, node: str) -> None:
        """Nominate a pod, in place of any nomination it had."""
        self.remove(pending.uid)
        self._of[pending.uid] = (pending, pod, node)
        self._on.setdefault(node, {})[pending.uid] = pod

    def remove(self, uid: str) -> bool:
        """Take a pod's nomination back; returns whether it had one."""
        found = self._of.pop(uid, None)
        if found is None:
            return False
        there = self._on[found[2]]
        del there[uid]
        if not there:
            del self._on[found[2]]
        return True

    def lower(self, node: str, priority: int) -> list[PendingPod]:
        """Return the pods of lower priority that are nominated to a node."""
        there = self._on.get(node, {})
        return [self._of[uid][0] for uid, pod in there.items() if pod.priority < priority]

    def by_node(self) -> Mapping[str, Sequence[PodClass]]:
        """Return by node the classes of the pods nominated there."""
        return {node: tuple(pods.values()) for node, pods in self._on.items()}

    def reserved(self, pod: PodClass, snapshot: Snapshot, but: Iterable[str] = ()) -> Draft | None:
        """Return a draft in which the room kept from a class is taken, None if there is none.

        Args:
            but: uids of pods whose nominations do not count.
        """
        if not self._of:
            return None
        left_out = set(but)
        rows: dict[PodClass, list[int]] = {}
        for uid, (_, nominated, node) in self._of.items():
            row = snapshot.row_of.get(node)
            if row is not None and nominated.priority >= pod.priority and uid not in left_out:
                rows.setdefault(nominated, []).append(row)
        if not rows:
            return None
        draft = Draft(snapshot)
        for nominated, where in rows.items():
            draft.add(nominated, np.array(where, dtype=np.int64))
        return draft
