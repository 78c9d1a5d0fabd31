"""VolumeZone: volumes that are labelled with a zone or region are mounted there only."""

from dataclasses import dataclass

from scheduler.hookspecs import Change, PodClass, Snapshot, Verdict

from .claimed_volumes import claims_of, zones

_ELSEWHERE = "node(s) had no available volume zone"


@dataclass(frozen=True)
class VolumeZone:
    """Kubernetes VolumeZone: topology labels of bound volumes; a label may list values by "__"."""

    name: str = "VolumeZone"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_LABELS | Change.STORAGE

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes of other zones than a bound volume's; nodes without labels have no zones."""
        storage = snapshot.storage
        if not pod.claims or storage is None:
            return None
        room = snapshot.every()
        for _, claim in claims_of(pod, storage):
            volume = claim and storage.volumes.get(claim.spec.volume_name)
            for key, values in zones(volume.meta.labels) if volume else ():
                room &= snapshot.label(key).is_in(values)
        return None if room.all() else Verdict(room, _ELSEWHERE, resolvable=False)
