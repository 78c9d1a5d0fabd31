"""InterPodAffinity: pods are drawn to, or kept from, domains where certain pods run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import (
    Change,
    Counts,
    CoupledScores,
    Mask,
    Mutual,
    Normalise,
    PodClass,
    Rejection,
    Rows,
    Scores,
    Snapshot,
    Verdict,
)
from scheduler.objects.json import JsonObject
from scheduler.snapshot import Codes

from .affinity_domains import DomainCoupling, DomainMarks, DomainScores, DomainSums, singles
from .affinity_obstacles import away_from_friends, beside_foes, beside_those_who_object
from .affinity_terms import Admission, AffinityTerms, OwnTerm, pulls_of, terms_of, unrolled

_AFFINITY = "node(s) didn't match pod affinity rules"
_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
_OTHERS = "node(s) didn't satisfy existing pods anti-affinity rules"
_LETS_IN = (
    Change.NODE_ADDED
    | Change.NODE_LABELS
    | Change.POD_REMOVED
    | Change.POD_LABELS
    | Change.NAMESPACE
)
_MANY = 2**31 - 1  # copies on one node: no limit
_MOST_WEIGHT = 100
_FIELDS = {"apiVersion", "kind", "hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"}


@dataclass(frozen=True)
class InterPodAffinity:
    """Kubernetes InterPodAffinity.

    Filter: the node lies, by every required affinity term, in a domain with a pod that matches all
    of them (the first of a group that matches its own terms goes anywhere the labels exist); by no
    required anti-affinity term in one with a pod that matches it; by no such term of a pod that
    runs in that pod's domain. Score: weights of the preferred terms of the pod, and of the terms of
    pods that run, over the domains of each node, scaled from least to greatest.

    Args:
        hard_weight: what a required affinity term of a pod that runs scores
            (hardPodAffinityWeight).
        ignores_others: pods without preferred terms are not scored
            (ignorePreferredTermsOfExistingPods).
    """

    hard_weight: int = 1
    ignores_others: bool = False
    name: str = "InterPodAffinity"
    wakes_on: Change = (
        Change.NODE_ADDED
        | Change.NODE_LABELS
        | Change.POD_REMOVED
        | Change.POD_PLACED
        | Change.POD_LABELS
        | Change.NAMESPACE
    )
    weight: int = 2
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = False

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (InterPodAffinityArgs).

        Raises:
            ConfigurationError: a field is unknown, of the wrong type or out of range.
        """
        unknown = args.keys() - _FIELDS
        if unknown:
            raise ConfigurationError(f"InterPodAffinityArgs has no field {min(unknown)!r}")
        weight = args.get("hardPodAffinityWeight")
        if weight is None:
            weight = 1
        if not isinstance(weight, int) or isinstance(weight, bool):
            raise ConfigurationError(
                f"InterPodAffinityArgs.hardPodAffinityWeight is {weight!r}; "
                "it must be a whole number"
            )
        if not 0 <= weight <= _MOST_WEIGHT:
            raise ConfigurationError(
                f"InterPodAffinityArgs.hardPodAffinityWeight: Invalid value: {weight}: "
                f"not in valid range [0, {_MOST_WEIGHT}]"
            )
        ignores = args.get("ignorePreferredTermsOfExistingPods")
        if ignores is not None and not isinstance(ignores, bool):
            raise ConfigurationError(
                f"InterPodAffinityArgs.ignorePreferredTermsOfExistingPods is {ignores!r}; "
                "it must be true or false"
            )
        return cls(weight, bool(ignores))

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Judge all nodes: affinity, then anti-affinity, then anti-affinity of pods that run."""
        terms = terms_of(pod)
        if terms.complaint:
            return Verdict(snapshot.none(), f"parsing pod: {terms.complaint}", resolvable=False)
        if not (terms.affinity or terms.anti_affinity or snapshot.attracting):
            return None
        drawn, gathers = _affinity(pod, terms, snapshot)
        kept = _anti_affinity(terms, snapshot)
        repelled = _anti_affinity_of_others(pod, snapshot)
        repels = _repels(pod, terms, snapshot)
        if drawn is None and kept is None and repelled is None and not repels:
            return None
        room = snapshot.every() if drawn is None else drawn.copy()
        for closed in (kept, repelled):
            if closed is not None:
                room &= ~closed

        def because() -> Sequence[Rejection]:
            return _reasons(pod, snapshot, drawn, kept, repelled)

        if gathers or not all(singles(codes) for codes in repels):
            coupling = DomainCoupling(room, gathers, repels)
            return Verdict(room, because, coupling=coupling)
        if not repels:
            return Verdict(room, because)
        return Verdict(_one_a_domain(room, repels), because)

    def score(
        self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts
    ) -> Scores | CoupledScores | None:
        """Sum up weights by domain."""
        preferred = terms_of(pod).preferred
        if not preferred and (self.ignores_others or not (snapshot.attracting or pod.attracts)):
            return None
        own = unrolled(preferred, snapshot.namespaces)
        raw = self._sums(pod, own, snapshot)
        pulls = [
            (snapshot.label(key).codes, amount)
            for key, amount in self._moved(pod, own, snapshot).items()
            if amount
        ]
        # Equal sums score 0 wherever copies may come to go, so that nothing is left to say.
        if not pulls and (not raw.size or bool((raw == raw[0]).all())):
            return None
        return DomainScores(raw, pulls)

    def mutual(self, pods: Sequence[PodClass], snapshot: Snapshot, rows: Rows) -> Iterable[Mutual]:
        """Say what pods of a batch weigh for each other, terms of both being read.

        A score is scaled as by the sums that there are before the batch, or, where these differ by
        less, so that the other pod that matters most moves it by 100.
        """
        if not any(each.attracts for each in pods):
            return
        for c, pod in enumerate(pods):
            preferred = terms_of(pod).preferred
            if not preferred and self.ignores_others:
                continue
            own = unrolled(preferred, snapshot.namespaces)
            weights = self._mutual_weights(pod, own, pods, snapshot)
            most = max((abs(w) for by in weights.values() for w in by.values()), default=0)
            if not most:
                continue
            sums = self._sums(pod, own, snapshot)[rows]
            scale = 100.0 / max(int(np.ptp(sums)) if sums.size else 0, most)
            for key, by_class in weights.items():
                domain = snapshot.label(key).codes.astype(np.int64)
                points = {other: scale * w for other, w in by_class.items() if w}
                yield Mutual(c, points, domain)

    def _mutual_weights(
        self,
        pod: PodClass,
        own: Sequence[OwnTerm],
        pods: Sequence[PodClass],
        snapshot: Snapshot,
    ) -> Mapping[str, dict[int, int]]:
        """Return by label what one pod of each class in its domain weighs."""
        weights: dict[str, dict[int, int]] = {}
        admission = Admission(pod, snapshot.namespaces)
        for number, other in enumerate(pods):
            terms = [(term.key, term.weight) for term in own if term.matches(other)]
            pulls = admission.of(pulls_of(other, self.hard_weight)) if other.attracts else ()
            for key, weight in (*terms, *((term.key, term.weight) for term in pulls)):
                by_class = weights.setdefault(key, {})
                by_class[number] = by_class.get(number, 0) + weight
        return weights

    def _sums(self, pod: PodClass, own: Sequence[OwnTerm], snapshot: Snapshot) -> Counts:
        """Return each node's sum of weights as the cluster is."""
        sums = DomainSums(snapshot)
        for other, placed in snapshot.placed.items() if own else ():
            for term in own:
                if term.matches(other):
                    sums.add(term.key, placed, term.weight)
        admission = Admission(pod, snapshot.namespaces)
        for other, placed in snapshot.attracting.items():
            for term in admission.of(pulls_of(other, self.hard_weight)):
                sums.add(term.key, placed, term.weight)
        return sums.total()

    def _moved(
        self, pod: PodClass, own: Sequence[OwnTerm], snapshot: Snapshot
    ) -> Mapping[str, int]:
        """Return by label what a copy adds to its domain: its terms are read in both ways."""
        moved: dict[str, int] = {}
        for term in own:
            if term.matches(pod):
                moved[term.key] = moved.get(term.key, 0) + term.weight
        for term in Admission(pod, snapshot.namespaces).of(pulls_of(pod, self.hard_weight)):
            moved[term.key] = moved.get(term.key, 0) + term.weight
        return moved


def _affinity(
    pod: PodClass, terms: AffinityTerms, snapshot: Snapshot
) -> tuple[Mask | None, list[Codes]]:
    """Return where required affinity holds, and the labels by which a first copy gathers others.

    kube-scheduler counts a pod only if it matches all terms, then by each term's label on its own.
    """
    if not terms.affinity:
        return None, []
    own = unrolled(terms.affinity, snapshot.namespaces)
    keys = list(dict.fromkeys(term.key for term in own))
    rows: list[int] = []
    for other, placed in snapshot.placed.items():
        for term in own:
            if not term.matches(other):
                break
        else:
            rows.extend(placed)
    marks = DomainMarks(snapshot)
    labelled = snapshot.every()
    drawn = snapshot.every()
    anybody = False
    for key in keys:
        marks.add(key, rows)
        here = marks.of(key)
        anybody = anybody or bool(here.any())
        labelled &= snapshot.label(key).has()
        drawn &= here
    if not anybody and all(term.matches(pod) for term in own):
        return labelled, [snapshot.label(key).codes for key in keys]
    return drawn, []


def _anti_affinity(terms: AffinityTerms, snapshot: Snapshot) -> Mask | None:
    """Return where required anti-affinity forbids the pod."""
    if not terms.anti_affinity:
        return None
    own = unrolled(terms.anti_affinity, snapshot.namespaces)
    marks = DomainMarks(snapshot)
    for other, placed in snapshot.placed.items():
        for term in own:
            if term.matches(other):
                marks.add(term.key, placed)
    return marks.any()


def _anti_affinity_of_others(pod: PodClass, snapshot: Snapshot) -> Mask | None:
    """Return where required anti-affinity of pods that run forbids the pod."""
    admission = Admission(pod, snapshot.namespaces)
    marks = DomainMarks(snapshot)
    for other, placed in snapshot.attracting.items():
        for term in admission.of(terms_of(other).anti_affinity):
            marks.add(term.key, placed)
    return marks.any()


def _repels(pod: PodClass, terms: AffinityTerms, snapshot: Snapshot) -> list[Codes]:
    """Return the labels by which copies keep each other out of their domains.

    A copy that runs reads its terms no narrower than one to be placed, so that reading decides.
    """
    admitted = Admission(pod, snapshot.namespaces).of(terms.anti_affinity)
    return [snapshot.label(key).codes for key in dict.fromkeys(term.key for term in admitted)]


def _one_a_domain(room: Mask, repels: Sequence[Codes]) -> Counts:
    """Return room for one copy where a label of single nodes exists, for any number elsewhere."""
    copies = np.where(room, _MANY, 0)
    for codes in repels:
        np.minimum(copies, 1, out=copies, where=codes >= 0)
    return copies


def _reasons(
    pod: PodClass,
    snapshot: Snapshot,
    drawn: Mask | None,
    kept: Mask | None,
    repelled: Mask | None,
) -> Sequence[Rejection]:
    """Return, for each node, the first rule that it breaks."""
    left = snapshot.every()
    found: list[Rejection] = []
    if drawn is not None:
        tell = partial(away_from_friends, pod, snapshot)
        found.append(Rejection(_AFFINITY, ~drawn, resolvable=False, obstacles=tell))
        left &= drawn
    if kept is not None:
        tell = partial(beside_foes, pod, snapshot)
        found.append(Rejection(_ANTI_AFFINITY, left & kept, wakes_on=_LETS_IN, obstacles=tell))
        left &= ~kept
    if repelled is not None:
        tell = partial(beside_those_who_object, pod, snapshot)
        found.append(Rejection(_OTHERS, left & repelled, wakes_on=_LETS_IN, obstacles=tell))
    return found
