"""Filters that keep the room of nominated pods. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..hookspecs import Change, Counts, Filter, PodClass, Snapshot, Verdict


@dataclass(frozen=True, slots=True)
class Nominated:
    """Lets so many pods of a class onto the nodes they are nominated to, and no others."""

    counts: Counts
    name: str = "NominatedNode"
    wakes_on: Change = Change.ANY

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict:
        """Leave only the nominated nodes."""
        return Verdict(self.counts, "node(s) were not nominated")


@dataclass(frozen=True, slots=True)
class Unreserved:
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
