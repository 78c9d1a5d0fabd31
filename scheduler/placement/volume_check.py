"""Verifies that the claims of a plan's pods can be mounted where it puts them, pod after pod.

Pure, and on purpose not the framework: one node at a time, no plugin, no column. Costs nothing for
pods without claims.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..objects.pod_class import PodClass
from ..objects.storage import (
    ONCE_POD,
    PROVISIONER,
    ZONE_LABELS,
    Claim,
    PersistentVolume,
    Storage,
    left_over,
)
from ..snapshot import NodeFacts, Snapshot

ClaimName = tuple[str, str]  # namespace, name


@dataclass(slots=True)
class VolumeCheck:
    """Who mounts which claims where, as pods of a plan come.

    Args:
        snapshot: the cluster before the plan; one that knows nothing of storage allows everything.
    """

    snapshot: Snapshot
    _users: dict[ClaimName, set[int]] | None = None

    def place(self, pod: PodClass, rows: Iterable[int]) -> Iterable[str]:
        """Add copies of a class one by one, and yield what each breaks."""
        storage = self.snapshot.storage
        if not pod.claims or storage is None:
            return
        keys = [(pod.namespace, name) for name in pod.claims]
        users = self._known()
        for row in rows:
            node = self.snapshot.nodes[row]
            waiting: list[Claim] = []
            for key in keys:
                claim = storage.claims.get(key)
                there = users.get(key, set())
                yield from _of_any(key, claim, there, storage)
                if claim is not None and claim.bound:
                    yield from _of_bound(claim, node, storage)
                elif claim is not None and there and row not in there:
                    yield f"claim {_name(claim)} gets its volume elsewhere than on {node.name!r}"
                elif claim is not None and not there:
                    waiting.append(claim)
            yield from self._had(waiting, node, storage)
            for key in keys:
                users.setdefault(key, set()).add(row)

    def _known(self) -> dict[ClaimName, set[int]]:
        if self._users is None:
            self._users = {}
            for pod, rows in self.snapshot.claiming.items():
                for name in pod.claims:
                    there = self._users.setdefault((pod.namespace, name), set())
                    there.update(row for row, count in rows.items() if count)
        return self._users

    def _had(self, claims: list[Claim], node: NodeFacts, storage: Storage) -> Iterable[str]:
        """Yield which claims find no volume on a node, after those of pods that have nodes."""
        free: dict[str, PersistentVolume] | None = None
        for claim in claims:
            kind = storage.class_of(claim)
            if kind is None or not kind.waits or kind.provisioner == PROVISIONER:
                continue
            free = self._left(storage) if free is None else free
            left = left_over(free, [(claim, node.labels)])
            if len(left) == len(free):
                yield f"claim {_name(claim)} finds no free volume on {node.name!r}"
            free = left

    def _left(self, storage: Storage) -> dict[str, PersistentVolume]:
        awaited: list[tuple[Claim, Mapping[str, str]]] = []
        for key, rows in sorted(self._known().items()):
            claim = storage.claims.get(key)
            if claim is None or claim.spec.volume_name or not rows:
                continue
            first = min((self.snapshot.nodes[row] for row in rows), key=lambda node: node.name)
            awaited.append((claim, first.labels))
        return left_over(storage.volumes, awaited)


def _of_any(
    key: ClaimName, claim: Claim | None, users: set[int], storage: Storage
) -> Iterable[str]:
    """Yield what keeps a claim from being mounted on whatever node."""
    name = "/".join(key)
    if claim is None:
        yield f"claim {name} does not exist"
        return
    if claim.meta.deletion_timestamp is not None:
        yield f"claim {name} is being deleted"
    if claim.phase == "Lost":
        yield f"claim {name} has lost its volume"
    elif not claim.bound:
        kind = storage.class_of(claim)
        if claim.spec.volume_name or kind is None or not kind.waits:
            yield f"claim {name} has no volume and does not wait for a pod"
    if users and ONCE_POD in claim.spec.access_modes:
        yield f"claim {name} is for one pod and has one"


def _of_bound(claim: Claim, node: NodeFacts, storage: Storage) -> Iterable[str]:
    name = claim.spec.volume_name
    volume = storage.volumes.get(name)
    if volume is None:
        yield f"volume {name} of claim {_name(claim)} does not exist"
        return
    if not volume.reachable_from(node.labels):
        yield f"volume {name} cannot be reached from node {node.name!r}"
    if not ZONE_LABELS.keys().isdisjoint(node.labels):
        for key, values in volume.zones:
            if node.labels.get(key, node.labels.get(ZONE_LABELS[key])) not in values:
                yield f"volume {name} is not in the zone of node {node.name!r} ({key})"


def _name(claim: Claim) -> str:
    return f"{claim.meta.namespace}/{claim.meta.name}"
