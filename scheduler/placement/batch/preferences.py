"""What pods prefer, as worths of hosts: what online placement's scorers say of a class before the
batch.

Pure. Preferred node affinity, PreferNoSchedule taints, preferred affinity to pods that run and
ScheduleAnyway spreading among them are known of every host; what copies of the batch mean to each
other is not, so it is left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ...batch_terms import Batch, Reals
from ...hookspecs import Scorer
from ...objects.placement_job import PODS
from ...objects.pod_class import PodClass
from ...snapshot import Counts
from ..scoring import Scoring
from .modelling import ATTRACTION, SPREADING
from .stated import ByHost, Liking

_SCORERS = ("TaintToleration", "NodeAffinity", ATTRACTION, SPREADING)
_MOST_GROUPS = 256  # of hosts, told apart by preferences


def preferences(batch: Batch, scorers: Sequence[Scorer]) -> Liking:
    """Return the goal that pods are where they like to be.

    A copy is worth the weighted sum of scores where it is, above that of the class's worst host.
    Classes by which too many hosts would be told apart are left out, the most copies first kept.
    """
    asked = [each for each in scorers if each.name in _SCORERS]
    pods = enumerate(batch.pods)
    worths = {c: _worth(pod, batch, asked) for c, pod in pods if _prefers(pod, batch)}
    return Liking(PODS, ByHost(_few(worths, batch.count)))


def _worth(pod: PodClass, batch: Batch, scorers: Sequence[Scorer]) -> Reals:
    scoring = Scoring(pod, batch.snapshot, scorers, batch.hosts, None)
    scoring.start()
    scores: Reals = np.rint(scoring.heads).astype(np.float64)
    return scores - scores.min(initial=np.inf)


def _few(worths: Mapping[int, Reals], count: Counts) -> dict[int, Reals]:
    """Return the worths that tell some hosts apart, but not too many."""
    kept: dict[int, Reals] = {}
    groups: Counts | None = None
    for c in sorted(worths, key=lambda c: (-int(count[c]), c)):
        row = worths[c]
        if not row.any():
            continue
        code = np.unique(row, return_inverse=True)[1].reshape(-1).astype(np.int64)
        both = code if groups is None else groups * (int(code.max()) + 1) + code
        kinds, merged = np.unique(both, return_inverse=True)
        if kinds.size <= _MOST_GROUPS:
            groups, kept[c] = merged.reshape(-1).astype(np.int64), row
    return kept


def _prefers(pod: PodClass, batch: Batch) -> bool:
    """Tell whether a class may like some hosts better than others, or pods that run like it."""
    spec, snapshot = pod.spec, batch.snapshot
    affinity = spec.affinity
    terms = (
        affinity.node_affinity if affinity else None,
        affinity.pod_affinity if affinity else None,
        affinity.pod_anti_affinity if affinity else None,
    )
    soft = any(
        each.when_unsatisfiable != "DoNotSchedule" for each in spec.topology_spread_constraints
    )
    tainted = any(t.effect == "PreferNoSchedule" for taints in snapshot.taint_sets for t in taints)
    own = any(term is not None and term.preferred for term in terms)
    return own or soft or tainted or bool(snapshot.attracting)
