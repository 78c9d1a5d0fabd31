"""Tells every controller of pods which of its owners to look at when pods change.

One subscription for all of them: what a change concerns follows from the pod's controller, or, for
an orphan, from the selectors that find it.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from ..informer import Delta
from ..objects.meta import ObjectMeta
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
            for delta in deltas:
                self._concerns(delta)

    def _concerns(self, delta: Delta[Pod]) -> None:
        for pod in (delta.old, delta.new):
            owner = pod.meta.controller_owner() if pod is not None else None
            found = self._looks.get((owner.api_version, owner.kind)) if owner is not None else None
            if owner is not None and found is not None:
                kind, looks = found
                for look in looks:
                    look(ObjectKey(kind.resource, delta.key.namespace, owner.name))
        pod = delta.new
        if pod is not None and pod.active and pod.meta.controller_owner() is None:
            self._offer(delta.key.namespace, pod)

    def _offer(self, namespace: str, orphan: Pod) -> None:
        labels = orphan.meta.labels
        places = [pair(namespace, *label) for label in labels.items()]
        for kind, owners, look in self._claims:
            for place in (*places, pair(namespace, "", "")):
                for owner in owners.by_index(SELECTOR, place):
                    if owner.selector.matches(labels):
                        look(kind.key(owner.meta))
