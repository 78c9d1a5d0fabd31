"""Pod affinity terms as they are matched: selectors read once per class of pods.

A term says which pods it is about (a label selector, and namespaces by name or by their labels)
and which node label makes nodes one domain. Kubernetes reads a term in two ways, and both are
here: a term of the pod to be placed knows the namespaces there are, a term of a pod that runs
looks only at the labels of the namespace of the pod to be placed. Places nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

from scheduler.errors import BadRequest
from scheduler.hookspecs import PodClass
from scheduler.objects.json import Json
from scheduler.objects.pod import LabelSelector, PodAffinityTerm, WeightedPodAffinityTerm
from scheduler.objects.selectors import Requirement, Selector, from_label_selector, requirement

_NO_LABELS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """One term, compiled.

    Args:
        key: the node label whose values are the domains.
        namespaces: names of the namespaces whose pods it is about, besides those selected.
        namespace_selector: by labels of the namespace; nothing if the term has none.
        equal: labels and the one value each must have.
        others: what else labels must satisfy.
        nothing: it is about no pod (an absent selector).
        weight: what a match adds to a domain's score; negative for anti-affinity.
    """

    key: str
    namespaces: frozenset[str]
    namespace_selector: Selector
    equal: tuple[tuple[str, str], ...]
    others: tuple[Requirement, ...]
    nothing: bool
    weight: int = 0

    def admits(self, pod: PodClass, namespace_labels: Mapping[str, str]) -> bool:
        """Tell whether this term, of a pod that runs, is about the pod to be placed.

        Args:
            namespace_labels: of the pod's namespace, {} where that is not known.
        """
        within = pod.namespace in self.namespaces
        if not within and not self.namespace_selector.matches(namespace_labels):
            return False
        return self.selects(pod.labels)

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the term is about pods with these labels, namespaces aside."""
        for key, value in self.equal:
            if labels.get(key) != value:
                return False
        for each in self.others:
            if not each.matches(labels):
                return False
        return not self.nothing

    def unrolled(self, namespaces: Mapping[str, Mapping[str, str]]) -> "OwnTerm":
        """Return this term, of the pod to be placed, with its namespaces looked up."""
        chosen = self.namespace_selector
        if chosen.everything:
            return OwnTerm(self, None)
        if chosen.nothing:
            return OwnTerm(self, self.namespaces)
        found = (name for name, labels in namespaces.items() if chosen.matches(labels))
        return OwnTerm(self, self.namespaces.union(found))


Terms: TypeAlias = tuple[AffinityTerm, ...]


class OwnTerm:
    """A term of the pod to be placed, ready to be held against many classes.

    Args:
        term: compiled.
        namespaces: whose pods it is about; None: of every namespace, known or not.
    """

    __slots__ = ("_namespaces", "_selects", "key", "weight")

    def __init__(self, term: AffinityTerm, namespaces: frozenset[str] | None) -> None:
        self.key = term.key
        self.weight = term.weight
        self._namespaces = namespaces
        self._selects = term.selects

    def matches(self, other: PodClass) -> bool:
        """Tell whether the term is about pods of a class."""
        if self._namespaces is not None and other.namespace not in self._namespaces:
            return False
        return self._selects(other.labels)


class Admission:
    """Which terms of pods that run are about one class to be placed.

    Classes that differ in a name alone share the objects of their terms, so that thousands of them
    are asked once.
    """

    __slots__ = ("_known", "_labels", "_pod")

    def __init__(self, pod: PodClass, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._pod = pod
        self._labels = namespaces.get(pod.namespace, _NO_LABELS)
        self._known: dict[int, tuple[Terms, Terms]] = {}  # held, so that ids stay theirs

    def of(self, terms: Terms) -> Terms:
        """Return those of a class's terms that are about the pod."""
        known = self._known.get(id(terms))
        if known is None:
            admitted = [term for term in terms if term.admits(self._pod, self._labels)]
            known = self._known[id(terms)] = (terms, tuple(admitted))
        return known[1]


@dataclass(frozen=True, slots=True)
class AffinityTerms:
    """All pod affinity terms of a class; equal tuples of terms are one object.

    Args:
        affinity: required, all of which one pod must match.
        anti_affinity: required, each on its own.
        preferred: of both kinds, weights of anti-affinity negative.
        complaint: why terms cannot be read, "" if they can; of a kind with such a term there are
            none.
    """

    affinity: Terms = ()
    anti_affinity: Terms = ()
    preferred: Terms = ()
    complaint: str = ""


NO_TERMS = AffinityTerms()


def terms_of(pod: PodClass) -> AffinityTerms:
    """Return the terms of a class."""
    return _compiled(pod) if pod.attracts else NO_TERMS


def pulls_of(pod: PodClass, hard_weight: int) -> Terms:
    """Return the terms with which a class scores nodes for others once it runs.

    Args:
        hard_weight: what its required affinity counts (hardPodAffinityWeight).
    """
    return _pulls(pod, hard_weight) if pod.attracts else ()


def unrolled(
    terms: Iterable[AffinityTerm], namespaces: Mapping[str, Mapping[str, str]]
) -> list[OwnTerm]:
    """Return terms of the pod to be placed with their namespaces looked up."""
    return [term.unrolled(namespaces) for term in terms]


@lru_cache(maxsize=65536)
def _pulls(pod: PodClass, hard_weight: int) -> Terms:
    terms = _compiled(pod)
    hard = tuple(replace(term, weight=hard_weight) for term in terms.affinity if hard_weight)
    return _shared(hard + terms.preferred)


@lru_cache(maxsize=65536)
def _shared(terms: Terms) -> Terms:
    """Return the first of equal tuples."""
    return terms


@lru_cache(maxsize=65536)
def _compiled(pod: PodClass) -> AffinityTerms:
    affinity = pod.spec.affinity
    if affinity is None:
        return NO_TERMS
    toward, away = affinity.pod_affinity, affinity.pod_anti_affinity
    complaints: list[str] = []

    def read(kind: str, terms: Sequence[PodAffinityTerm]) -> Terms:
        try:
            return _shared(tuple(_term(term, pod, 0) for term in terms))
        except BadRequest as error:
            complaints.append(f"{kind}: {error.message}")
            return ()

    def weighted(kind: str, terms: Sequence[WeightedPodAffinityTerm], sign: int) -> Terms:
        try:
            return tuple(_term(each.pod_affinity_term, pod, sign * each.weight) for each in terms)
        except BadRequest as error:
            complaints.append(f"{kind}: {error.message}")
            return ()

    required = read("requiredAffinityTerms", toward.required if toward else ())
    repelling = read("requiredAntiAffinityTerms", away.required if away else ())
    liked = weighted("preferredAffinityTerms", toward.preferred if toward else (), 1)
    disliked = weighted("preferredAntiAffinityTerms", away.preferred if away else (), -1)
    complaint = _joined(complaints) if complaints else ""
    return AffinityTerms(required, repelling, _shared(liked + disliked), complaint)


def _joined(complaints: Sequence[str]) -> str:
    """Return several errors as one (apimachinery's Aggregate)."""
    return complaints[0] if len(complaints) == 1 else f"[{', '.join(complaints)}]"


def _term(term: PodAffinityTerm, pod: PodClass, weight: int) -> AffinityTerm:
    """Compile a term; without namespaces of any kind it is about the pod's own."""
    own = not term.namespaces and term.namespace_selector is None
    selector = _selector(term, pod.labels)
    return AffinityTerm(
        term.topology_key,
        frozenset((pod.namespace,) if own else term.namespaces),
        from_label_selector(_document(term.namespace_selector)),
        tuple((each.key, each.values[0]) for each in selector.requirements if _equates(each)),
        tuple(each for each in selector.requirements if not _equates(each)),
        selector.nothing,
        weight,
    )


def _equates(each: Requirement) -> bool:
    return each.operator in ("=", "in") and len(each.values) == 1


def _selector(term: PodAffinityTerm, labels: Mapping[str, str]) -> Selector:
    """Return whom a term selects: matchLabelKeys and mismatchLabelKeys add the pod's own values.

    A key the pod lacks adds nothing, and an absent selector keeps matching nothing (Kubernetes
    merges both into the selector when it admits a pod).
    """
    selector = from_label_selector(_document(term.label_selector))
    if selector.nothing or not (term.match_label_keys or term.mismatch_label_keys):
        return selector
    more = [requirement(k, "in", (labels[k],)) for k in term.match_label_keys if k in labels]
    more += [requirement(k, "notin", (labels[k],)) for k in term.mismatch_label_keys if k in labels]
    return Selector((*selector.requirements, *more))


def _document(selector: LabelSelector | None) -> Json:
    if selector is None:
        return None
    return {
        "matchLabels": dict(selector.match_labels),
        "matchExpressions": [
            {"key": each.key, "operator": each.operator, "values": list(each.values)}
            for each in selector.match_expressions
        ],
    }
