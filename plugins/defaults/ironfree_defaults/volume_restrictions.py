"""VolumeRestrictions: a claim for one pod at a time is not given to two."""

from dataclasses import dataclass

from scheduler.hookspecs import Change, Mask, PodClass, Snapshot, Verdict
from scheduler.objects.storage import ONCE_POD

from .claimed_volumes import claims_of, users

_IN_USE = (
    "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
)


class _Once:
    """One copy at most, on whatever node."""

    def __init__(self, room: Mask) -> None:
        self._room = room
        self._settled = False

    @property
    def settled(self) -> bool:
        """True once a copy has its node."""
        return self._settled

    def put(self, row: int) -> None:
        """Leave room for nobody else."""
        self._room, self._settled = self._room & False, True

    def room(self) -> Mask:
        """Return where the next copy may run."""
        return self._room


@dataclass(frozen=True)
class VolumeRestrictions:
    """Kubernetes VolumeRestrictions: access mode ReadWriteOncePod."""

    name: str = "VolumeRestrictions"
    wakes_on: Change = Change.POD_REMOVED | Change.STORAGE

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject all nodes while another pod has a claim that is for one pod alone."""
        storage = snapshot.storage
        if not pod.claims or storage is None:
            return None
        alone = [
            name
            for name, claim in claims_of(pod, storage)
            if claim is not None and ONCE_POD in claim.spec.access_modes
        ]
        if not alone:
            return None
        taken = any(users(snapshot, pod.namespace, name).any() for name in alone)
        room = snapshot.none() if taken else snapshot.every()
        return Verdict(room, _IN_USE, coupling=_Once(room))
