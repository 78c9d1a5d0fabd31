"""VolumeBinding: pods go where their volumes are, or can be had."""

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.hookspecs import Change, Mask, PodClass, Rejection, Snapshot, Verdict
from scheduler.objects.storage import Claim, Storage

from .claimed_volumes import claims_of, free_on, provisioned, reachable, users

_IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
_ELSEWHERE = "node(s) didn't match PersistentVolume's node affinity"
_NONE_FREE = "node(s) didn't find available persistent volumes to bind"
_VOLUME_GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


class SameNode:
    """Copies that share a claim without a volume: where the first goes, its volume will be."""

    def __init__(self, room: Mask) -> None:
        self._room = room
        self._settled = False

    @property
    def settled(self) -> bool:
        """True once a copy has its node."""
        return self._settled

    def put(self, row: int) -> None:
        """Keep all others on that node."""
        only = self._room.copy()
        only[:] = False
        only[row] = self._room[row]
        self._room, self._settled = only, True

    def room(self) -> Mask:
        """Return where the next copy may run."""
        return self._room


@dataclass(frozen=True)
class VolumeBinding:
    """Kubernetes VolumeBinding, as a filter.

    A bound claim: nodes that its volume's node affinity names. One without a volume: nowhere, if
    its class binds at once; else where a volume is free, or anywhere that one can be made, beside
    other pods that wait for the same claim.
    """

    name: str = "VolumeBinding"
    wakes_on: Change = (
        Change.NODE_ADDED
        | Change.NODE_LABELS
        | Change.STORAGE
        | Change.POD_REMOVED
        | Change.POD_PLACED
    )

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes from which a volume cannot be reached, or on which none is to be had."""
        storage = snapshot.storage
        if not pod.claims or storage is None:
            return None
        claims: list[Claim] = []
        for name, claim in claims_of(pod, storage):
            complaint = _complaint(name, claim, storage)
            if complaint or claim is None:
                return Verdict(snapshot.none(), complaint, resolvable=False)
            claims.append(claim)
        return _Judgement(pod, snapshot, storage).of(claims)


def _complaint(name: str, claim: Claim | None, storage: Storage) -> str:
    """Return what is wrong with a claim on every node, "" if nothing."""
    if claim is None:
        return f'persistentvolumeclaim "{name}" not found'
    if claim.meta.deletion_timestamp is not None:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if claim.phase == "Lost":
        volume = claim.spec.volume_name
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
    if claim.bound:
        return ""
    kind = storage.class_of(claim)
    if claim.spec.volume_name or kind is None or not kind.waits:
        return _IMMEDIATE
    return ""


class _Judgement:
    """One class's claims, all of them there."""

    def __init__(self, pod: PodClass, snapshot: Snapshot, storage: Storage) -> None:
        self._pod = pod
        self._snapshot = snapshot
        self._storage = storage

    def of(self, claims: Sequence[Claim]) -> Verdict:
        """Return where all of them can be mounted."""
        bound = [claim for claim in claims if claim.bound]
        waiting = [claim for claim in claims if not claim.bound]
        room, gone = self._snapshot.every(), False
        for claim in bound:
            volume = self._storage.volumes.get(claim.spec.volume_name)
            gone = gone or volume is None
            if volume is not None:
                room &= reachable(volume, self._snapshot)
        if gone:
            return Verdict(self._snapshot.none(), _VOLUME_GONE, resolvable=False)
        if not waiting:
            return Verdict(room, _ELSEWHERE, resolvable=False)
        free = room & self._to_be_had(waiting)
        elsewhere, none_free = ~room, room & ~free

        def because() -> Sequence[Rejection]:
            return (
                Rejection(_ELSEWHERE, elsewhere, resolvable=False),
                Rejection(_NONE_FREE, none_free, resolvable=False),
            )

        return Verdict(free, because, coupling=SameNode(free))

    def _to_be_had(self, claims: Sequence[Claim]) -> Mask:
        room, unused = self._snapshot.every(), list[Claim]()
        for claim in claims:
            beside = users(self._snapshot, self._pod.namespace, claim.meta.name)
            if beside.any():
                room &= beside
            elif not provisioned(self._storage.class_of(claim)):
                unused.append(claim)
        return room & free_on(unused, self._snapshot, self._storage) if unused else room
