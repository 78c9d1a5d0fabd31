"""TaintToleration: taints keep pods away that do not tolerate them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.hookspecs import (
    Change,
    Counts,
    Normalise,
    PodClass,
    Rows,
    Scores,
    Snapshot,
    TaintKey,
    Verdict,
)
from scheduler.objects.pod import Toleration
from scheduler.objects.tolerations import tolerated

_HARD = ("NoSchedule", "NoExecute")


@dataclass(frozen=True)
class TaintToleration:
    """Kubernetes TaintToleration.

    Filter: every NoSchedule and NoExecute taint must be tolerated. Score: the fewer
    PreferNoSchedule taints are not tolerated, the better; normalised in reverse. The reason names
    no taint, as kube-scheduler's does since 1.35.
    """

    name: str = "TaintToleration"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_TAINTS
    weight: int = 3
    normalise: Normalise = Normalise.REVERSED
    depends_on_copies: bool = False

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes with a hard taint that is not tolerated."""
        tolerations = pod.spec.tolerations
        closed = [_untolerated(tolerations, taints) for taints in snapshot.taint_sets]
        if not any(closed):
            return None
        room = ~np.array(closed)[snapshot.taint_codes]
        return Verdict(room, "node(s) had untolerated taint(s)", resolvable=False)

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Count the PreferNoSchedule taints that are not tolerated."""
        # Only tolerations that apply to PreferNoSchedule are asked, as kube-scheduler does.
        tolerations = [t for t in pod.spec.tolerations if t.effect in ("", "PreferNoSchedule")]
        counts = [
            sum(t.effect == "PreferNoSchedule" and not tolerated(tolerations, t) for t in taints)
            for taints in snapshot.taint_sets
        ]
        if not any(counts):
            return None
        return np.array(counts, dtype=np.int64)[snapshot.at(snapshot.taint_codes, rows)]


def _untolerated(tolerations: Sequence[Toleration], taints: Sequence[TaintKey]) -> bool:
    return any(taint.effect in _HARD and not tolerated(tolerations, taint) for taint in taints)
