"""Tells every controller of pods which of its owners to look at when pods change.

One subscription for all of them: what a change concerns follows from the pod's controller, or, for
an orphan, from the selectors that find it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from ..informer import Delta
from ..objects.meta import ObjectMeta, OwnerReference
from ..objects.pod import Pod
from ..objects.pod_owner import OwnerKind
from ..objects.selectors import Selector
from ..objects.stored import ObjectKey
from .informers import SELECTOR, Informers, pair


class Selecting(Protocol):
    """What has a selector."""

    @property
    def meta(self) -> ObjectMeta:
        """Its metadata."""
        ...

    @property
    def selector(self) -> Selector:
        """Which pods are its own."""
        ...


class SelectingInformer(Protocol):
    """An informer with the index SELECTOR."""

    def by_index(self, index: str, value: str) -> Collection[Selecting]:
        """Return the objects whose indexer gave that value."""
        ...


Look = Callable[[ObjectKey], None]


class OwnedPods:
    """Follows the pods for the controllers that own some."""

    def __init__(self, informers: Informers) -> None:
        self._pods = informers.pods
        self._looks: dict[tuple[str, str], tuple[OwnerKind, list[Look]]] = {}
        self._claims: list[tuple[OwnerKind, SelectingInformer, Look]] = []

    def enrol(self, kind: OwnerKind, look: Look, claims: SelectingInformer | None = None) -> None:
        """Have `look` called with the key of every owner of a kind whose pods change.

        Args:
            claims: the owners, where they are to hear of orphans that they select, too.
        """
        self._looks.setdefault((kind.api_version, kind.kind), (kind, []))[1].append(look)
        if claims is not None:
            self._claims.append((kind, claims, look))

    async def run(self) -> None:
        """Follow, until cancelled."""
        async for deltas in self._pods.subscribe_samples():
            self._concern(deltas)

    def _concern(self, deltas: Iterable[Delta[Pod]]) -> None:
        """Tell each owner once, however many of its pods have changed."""
        owners: dict[tuple[str, OwnerReference], None] = {}
        offered: dict[tuple[str, tuple[tuple[str, str], ...]], None] = {}
        for delta in deltas:
            for pod in (delta.old, delta.new):
                owner = pod.meta.controller_owner() if pod is not None else None
                if owner is not None:
                    owners[delta.key.namespace, owner] = None
            orphan = _claimable(delta.new)
            if orphan is not None and orphan != _claimable(delta.old):
                offered[delta.key.namespace, tuple(orphan[1].items())] = None
        for namespace, owner in owners:
            self._tell(namespace, owner)
        for namespace, labels in offered:
            self._offer(namespace, dict(labels))

    def _tell(self, namespace: str, owner: OwnerReference) -> None:
        found = self._looks.get((owner.api_version, owner.kind))
        if found is not None:
            kind, looks = found
            for look in looks:
                look(ObjectKey(kind.resource, namespace, owner.name))

    def _offer(self, namespace: str, labels: Mapping[str, str]) -> None:
        places = [pair(namespace, *label) for label in labels.items()]
        for kind, owners, look in self._claims:
            for place in (*places, pair(namespace, "", "")):
                for owner in owners.by_index(SELECTOR, place):
                    if owner.selector.matches(labels):
                        look(kind.key(owner.meta))


def _claimable(pod: Pod | None) -> tuple[str, Mapping[str, str]] | None:
    """Return uid and labels of an orphan that a selector may find, None of any other pod."""
    if pod is None or not pod.active or pod.meta.controller_owner() is not None:
        return None
    return pod.meta.uid, pod.meta.labels
