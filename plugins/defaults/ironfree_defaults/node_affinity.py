"""NodeAffinity: nodeSelector and node affinity, required and preferred."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import msgspec
import numpy as np

from scheduler.errors import BadRequest, ConfigurationError, PluginError
from scheduler.hookspecs import (
    Change,
    Counts,
    Mask,
    Normalise,
    PodClass,
    Rejection,
    Rows,
    Scores,
    Snapshot,
    Verdict,
)
from scheduler.objects.json import JsonObject
from scheduler.objects.pod import NodeAffinity as Affinity

from .node_terms import NodeTerm, compiled, names_nobody

_ARGS = "NodeAffinity.addedAffinity"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_CONFLICT = "pod affinity terms conflict"
_ENFORCED = "node(s) didn't match scheduler-enforced node affinity"
_UNMATCHED = "node(s) didn't match Pod's node affinity/selector"

Preferred = tuple[tuple[int, NodeTerm], ...]


@dataclass(frozen=True)
class NodeAffinity:
    """Kubernetes NodeAffinity.

    Filter: every nodeSelector label, at least one required term, and at least one required term of
    the added affinity. Score: the sum of the weights of the preferred terms that match, added ones
    included, normalised. A required term that cannot be read matches no node; a preferred one
    rejects the pod.

    Args:
        added_required: what a profile demands of every pod's node besides; None for nothing.
        added_preferred: what a profile prefers for every pod besides.
    """

    added_required: tuple[NodeTerm, ...] | None = None
    added_preferred: Preferred = ()
    name: str = "NodeAffinity"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_LABELS
    weight: int = 2
    normalise: Normalise = Normalise.LARGEST
    depends_on_copies: bool = False

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (NodeAffinityArgs).

        Raises:
            ConfigurationError: addedAffinity is malformed or one of its terms cannot be read.
        """
        unknown = args.keys() - {"addedAffinity", "apiVersion", "kind"}
        if unknown:
            raise ConfigurationError(f"NodeAffinity has no argument {min(unknown)!r}")
        if args.get("addedAffinity") is None:
            return cls()
        try:
            added = msgspec.convert(args["addedAffinity"], Affinity)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{_ARGS}: {error}") from error
        try:
            terms = added.required and compiled(
                (f"{_ARGS}.{_REQUIRED}.nodeSelectorTerms[{n}].", term)
                for n, term in enumerate(added.required.node_selector_terms)
            )
            preferred = _preferred(added, f"{_ARGS}.{_PREFERRED}")
        except BadRequest as error:
            raise ConfigurationError(error.message) from error
        return cls(terms, preferred)

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes that lack a label of nodeSelector or match none of the required terms.

        kube-scheduler gives up on a pod whose preferred terms cannot be read once there are nodes
        to score, so these reject all that the required ones let through.
        """
        if _conflicting(pod):
            return Verdict(snapshot.none(), _CONFLICT, resolvable=False)
        unreadable = _preferred_of(pod)[1]
        required = _required(pod)
        bare = not pod.spec.node_selector and required is None
        if bare and self.added_required is None and not unreadable:
            return None
        room = snapshot.every()
        for key, value in pod.spec.node_selector.items():
            room &= snapshot.label(key).is_in((value,))
        if required is not None:
            room &= _any(required, snapshot)
        if self.added_required is None and not unreadable:
            return Verdict(room, _UNMATCHED, resolvable=False)
        added = self.added_required
        allowed = snapshot.every() if added is None else _any(added, snapshot)
        left = room & allowed

        def because() -> Sequence[Rejection]:
            told = ((_ENFORCED, ~allowed), (_UNMATCHED, allowed & ~room), (unreadable, left))
            return [Rejection(why, nodes, resolvable=False) for why, nodes in told if why]

        return Verdict(snapshot.none() if unreadable else left, because)

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Add up the weights of matching preferred terms; an empty term matches nothing.

        Raises:
            PluginError: a preferred term of the pod cannot be read.
        """
        affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
        if (affinity is None or not affinity.preferred) and not self.added_preferred:
            return None
        own, unreadable = _preferred_of(pod)
        if unreadable:
            raise PluginError(f"the pod's preferred node affinity: {unreadable}")
        wanted = self.added_preferred + own
        total = np.zeros(snapshot.size, dtype=np.int64)
        for weight, term in wanted:
            total += weight * term.matches(snapshot)
        return snapshot.at(total, rows)


def _any(terms: Iterable[NodeTerm], snapshot: Snapshot) -> Mask:
    """OR the terms; no term matches no node (Kubernetes NodeSelector)."""
    matched = snapshot.none()
    for term in terms:
        matched |= term.matches(snapshot)
    return matched


@lru_cache(maxsize=4096)
def _required(pod: PodClass) -> tuple[NodeTerm, ...] | None:
    """Return the pod's required terms that can be read and are not empty; None without any."""
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    if affinity is None or affinity.required is None:
        return None
    terms: list[NodeTerm] = []
    for term in affinity.required.node_selector_terms:
        try:
            terms.extend(compiled([("", term)]))
        except BadRequest:
            continue  # as kube-scheduler: what cannot be read matches nothing
    return tuple(terms)


@lru_cache(maxsize=4096)
def _conflicting(pod: PodClass) -> bool:
    """Tell whether every required term names nodes, and each of them none that could be."""
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    if affinity is None or affinity.required is None:
        return False
    terms = affinity.required.node_selector_terms
    return bool(terms) and all(map(names_nobody, terms))


@lru_cache(maxsize=4096)
def _preferred_of(pod: PodClass) -> tuple[Preferred, str]:
    """Return the pod's preferred terms, and why they cannot be read, "" if they can."""
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    try:
        return _preferred(affinity) if affinity is not None else (), ""
    except BadRequest as error:
        return (), error.message


def _preferred(affinity: Affinity, where: str = "") -> Preferred:
    """Return the preferred terms; one of weight 0 is not even read.

    Raises:
        BadRequest: terms cannot be read; says all that is wrong with them.
    """
    given = [
        (term.weight, f"{where}[{n}].", term.preference)
        for n, term in enumerate(affinity.preferred)
        if term.weight and (term.preference.match_expressions or term.preference.match_fields)
    ]
    terms = compiled((spot, term) for _, spot, term in given)
    return tuple((weight, term) for (weight, _, _), term in zip(given, terms, strict=True))
