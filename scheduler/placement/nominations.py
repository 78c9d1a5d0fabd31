"""Which node is being cleared for which pod (status.nominatedNodeName).

Pure. Room on a node counts as taken for pods of no higher priority than one nominated there, until
that pod is bound, by whatever node, or goes; for a gang's member only while the gang is complete.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..hookspecs import Change, Counts, Filter, PodClass, Snapshot, Verdict
from .draft import Draft
from .plan import PendingPod


class Nominations:
    """The nominated pods, by node and by uid.

    Args:
        stands: tells whether members of a gang may be given nodes.
    """

    def __init__(self, stands: Callable[[PodClass], bool] = lambda _: True) -> None:
        self._stands = stands
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
        return {node: tuple(filter(self._counts, pods.values())) for node, pods in self._on.items()}

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
            counts = nominated.priority >= pod.priority and uid not in left_out
            if row is not None and counts and self._counts(nominated):
                rows.setdefault(nominated, []).append(row)
        if not rows:
            return None
        draft = Draft(snapshot)
        for nominated, where in rows.items():
            draft.add(nominated, np.array(where, dtype=np.int64))
        return draft

    def _counts(self, pod: PodClass) -> bool:
        return not pod.group or self._stands(pod)


@dataclass(frozen=True, slots=True)
class NominatedFilter:
    """Lets so many pods of a class onto the nodes they are nominated to, and no others."""

    counts: Counts
    name: str = "NominatedNode"
    wakes_on: Change = Change.ANY

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict:
        """Leave only the nominated nodes."""
        return Verdict(self.counts, "node(s) were not nominated")


@dataclass(frozen=True, slots=True)
class ReservedFilter:
    """Asks the filters of the cluster without the nominated pods: those may never come."""

    filters: Sequence[Filter]
    bare: Snapshot
    name: str = "NominatedPods"
    wakes_on: Change = Change.ANY

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict:
        """Reject nodes that would take the pod only beside a nominated one."""
        room = self.bare.every()
        for plugin in self.filters:
            verdict = plugin.filter(pod, self.bare)
            if verdict is not None:
                room &= verdict.room != 0
        return Verdict(room, "node(s) would need a nominated pod to be there")
