"""What pods prefer, as worths of hosts and of company, as the scorers of online placement weigh it.

Pure. Preferred node affinity, PreferNoSchedule taints, preferred affinity to pods that run and
ScheduleAnyway spreading among them are known of every host. What copies of the batch mean to each
other is what a scorer says that one pod more in the same domain changes in its score.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...batch_terms import Batch, Reals
from ...objects.objective import PODS
from ...objects.pod_class import PodClass
from ...plugin_manager import GuardedScorer
from ...snapshot import Counts
from ..scoring import Scoring
from ..solver.objectives import Company
from .modelling import ATTRACTION, SPREADING
from .stated import ByHost, Liking

_SCORERS = ("TaintToleration", "NodeAffinity", ATTRACTION, SPREADING)
_MOST_GROUPS = 256  # of hosts, told apart by preferences

Points = dict[tuple[int, int], float]


def preferences(batch: Batch, scorers: Sequence[GuardedScorer]) -> Liking:
    """Return the goal that pods are where, and with whom, they like to be.

    A copy is worth the weighted sum of scores where it is, above that of the class's worst host,
    and each pair of copies in one domain what both add to each other's scores. Classes and domains
    by which too many hosts would be told apart are left out, the most copies first kept.

    Raises:
        PluginError: a scorer failed in what it says of pairs.
    """
    asked = [each for each in scorers if each.name in _SCORERS]
    found = _pairs(batch, scorers)
    scored = {c for _, points in found for pair in points for c in pair}
    worths = {
        c: _worth(pod, batch, asked)
        for c, pod in enumerate(batch.pods)
        if c in scored or _prefers(pod, batch)
    }
    pairs = list(_companies(batch, found))
    kept, companies = _few(worths, pairs, batch.count)
    return Liking(PODS, ByHost(kept), companies=companies)


def _worth(pod: PodClass, batch: Batch, scorers: Sequence[GuardedScorer]) -> Reals:
    scoring = Scoring(pod, batch.snapshot, scorers, batch.hosts, None)
    scoring.start()
    scores: Reals = np.rint(scoring.heads).astype(np.float64)
    return scores - scores.min(initial=np.inf)


def _pairs(batch: Batch, scorers: Sequence[GuardedScorer]) -> list[tuple[Counts, Points]]:
    """Return (H,) domains, and what a copy of each of two classes there is worth to the other."""
    found: dict[bytes, tuple[Counts, Points]] = {}
    for scorer in scorers:
        for each in scorer.mutual(batch.pods, batch.snapshot, batch.hosts):
            domain = _coded(each.domain[batch.hosts])
            _, points = found.setdefault(domain.tobytes(), (domain, {}))
            for other, score in each.others.items():
                worth = float(np.rint(scorer.weight * score))
                pair = (min(each.pod, other), max(each.pod, other))
                twice = 2.0 if each.pod == other else 1.0  # each of the two sees the other
                points[pair] = points.get(pair, 0.0) + twice * worth
    return list(found.values())


def _coded(domain: Counts) -> Counts:
    """Return domains numbered from 0, -1 for none."""
    coded = np.unique(domain, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return np.where(domain < 0, -1, coded - int((domain < 0).any()))


def _companies(batch: Batch, pairs: Iterable[tuple[Counts, Points]]) -> Iterable[Company]:
    """Yield a company for each set of classes that are worth anything to each other."""
    for domain, points in pairs:
        alone = bool((domain >= 0).all()) and np.unique(domain).size == domain.size
        for classes in _connected(batch, points):
            place = {c: at for at, c in enumerate(classes)}
            worth = np.zeros((len(classes), len(classes)))
            for (one, other), points_of in points.items():
                if one in place and other in place:
                    worth[place[one], place[other]] = worth[place[other], place[one]] = points_of
            yield _grouped(classes, worth, None if alone else domain)


def _connected(batch: Batch, points: Points) -> list[list[int]]:
    """Return the classes that pairs connect, those of single pods with themselves aside."""
    root: dict[int, int] = {}

    def find(c: int) -> int:
        while root.setdefault(c, c) != c:
            root[c] = c = root[root[c]]
        return c

    for (one, other), worth in points.items():
        if worth and (one != other or batch.count[one] > 1):
            root[find(one)] = find(other)
    found: dict[int, list[int]] = {}
    for c in sorted(root):
        found.setdefault(find(c), []).append(c)
    return list(found.values())


def _grouped(classes: Sequence[int], worth: Reals, domain: Counts | None) -> Company:
    """Return a company in which classes that mean the same to everybody are one set."""
    _, first, code = np.unique(worth, axis=0, return_index=True, return_inverse=True)
    sets = [
        tuple(classes[at] for at in np.flatnonzero(code.reshape(-1) == s).tolist())
        for s in range(first.size)
    ]
    return Company(tuple(sets), worth[np.ix_(first, first)], domain)


def _few(
    worths: Mapping[int, Reals], pairs: Sequence[Company], count: Counts
) -> tuple[dict[int, Reals], tuple[Company, ...]]:
    """Return the worths and companies that tell some hosts apart, but not too many."""
    asked: list[tuple[int, Reals, int | Company]] = [
        (int(count[c]), row, c) for c, row in worths.items() if row.any()
    ]
    for each in pairs:
        copies = sum(int(count[list(classes)].sum()) for classes in each.sets)
        domain = np.zeros(1) if each.domain is None else each.domain.astype(np.float64)
        asked.append((copies, domain, each))
    kept, companies = dict[int, Reals](), list[Company]()
    groups: Counts | None = None
    for _, row, what in sorted(asked, key=lambda each: -each[0]):
        if row.size > 1 or isinstance(what, int):
            code = np.unique(row, return_inverse=True)[1].reshape(-1).astype(np.int64)
            both = code if groups is None else groups * (int(code.max()) + 1) + code
            kinds, merged = np.unique(both, return_inverse=True)
            if kinds.size > _MOST_GROUPS:
                continue
            groups = merged.reshape(-1).astype(np.int64)
        if isinstance(what, int):
            kept[what] = row
        else:
            companies.append(what)
    return kept, tuple(companies)


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
