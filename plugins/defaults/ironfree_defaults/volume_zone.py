"""VolumeZone: volumes that are labelled with a zone or region are mounted there only."""

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.hookspecs import Change, Mask, PodClass, Snapshot, Verdict
from scheduler.objects.storage import ZONE_LABELS

from .claimed_volumes import claims_of

_ELSEWHERE = "node(s) had no available volume zone"


@dataclass(frozen=True)
class VolumeZone:
    """Kubernetes VolumeZone: topology labels of bound volumes; a label may list values by "__"."""

    name: str = "VolumeZone"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_LABELS | Change.STORAGE

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes of other zones than a bound volume's; nodes without zones are in all."""
        storage = snapshot.storage
        if not pod.claims or storage is None:
            return None
        room = snapshot.every()
        for _, claim in claims_of(pod, storage):
            volume = claim and storage.volumes.get(claim.spec.volume_name)
            for key, values in volume.zones if volume else ():
                room &= _labelled(snapshot, key, values)
        if room.all():
            return None
        zoned = snapshot.none()
        for key in ZONE_LABELS:
            zoned |= snapshot.label(key).has()
        return Verdict(room | ~zoned, _ELSEWHERE, resolvable=False)


def _labelled(snapshot: Snapshot, key: str, values: Sequence[str]) -> Mask:
    column, now = snapshot.label(key), snapshot.label(ZONE_LABELS[key])
    return column.is_in(values) | (~column.has() & now.is_in(values))
