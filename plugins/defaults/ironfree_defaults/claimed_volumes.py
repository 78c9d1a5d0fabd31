"""What a pod's claims say of where it may run: the numbers behind VolumeBinding and its sisters."""

from collections.abc import Iterable, Iterator, Mapping

from scheduler.hookspecs import Mask, PodClass, Snapshot
from scheduler.objects.storage import (
    PROVISIONER,
    Claim,
    PersistentVolume,
    Storage,
    StorageClass,
    smallest,
)

from .node_terms import NodeTerm

Found = tuple[str, Claim | None]


def claims_of(pod: PodClass, storage: Storage) -> Iterator[Found]:
    """Yield the names of a pod's claims with the claims, None for one that is not there."""
    for name in pod.claims:
        yield name, storage.claims.get((pod.namespace, name))


def reachable(volume: PersistentVolume, snapshot: Snapshot) -> Mask:
    """Return (N,) where a volume can be mounted."""
    terms = volume.terms
    if terms is None:
        return snapshot.every()
    found = snapshot.none()
    for term in terms:
        found |= NodeTerm(term, ()).matches(snapshot)
    return found


def users(snapshot: Snapshot, namespace: str, claim: str) -> Mask:
    """Return (N,) where a pod is that mounts the claim."""
    found = snapshot.none()
    for pod, rows in snapshot.claiming.items():
        if pod.namespace == namespace and claim in pod.claims:
            found[[row for row, count in rows.items() if count]] = True
    return found


def provisioned(kind: StorageClass | None) -> bool:
    """Tell whether Ironfree makes volumes for claims of a class."""
    return kind is not None and kind.provisioner == PROVISIONER


def free_on(claim: Claim, snapshot: Snapshot, storage: Storage) -> Mask:
    """Return (N,) where a free volume is left for a claim, after those that pods there wait for.

    A pod that has its node but not its volumes yet takes the smallest that fits, as the volume
    binder will give it.
    """
    found = snapshot.none()
    volumes = [v for v in storage.volumes.values() if claim.takes(v)]
    for row in _rows(volumes, snapshot):
        labels = snapshot.nodes[row].labels
        left = dict(storage.volumes)
        for other in _awaited(snapshot, storage, row):
            if other.meta.uid != claim.meta.uid:
                given = smallest(other, left.values(), labels)
                if given is not None:
                    del left[given.meta.name]
        found[row] = smallest(claim, left.values(), labels) is not None
    return found


def _rows(volumes: Iterable[PersistentVolume], snapshot: Snapshot) -> list[int]:
    somewhere = snapshot.none()
    for volume in volumes:
        somewhere |= reachable(volume, snapshot)
    rows: list[int] = somewhere.nonzero()[0].tolist()
    return rows


def _awaited(snapshot: Snapshot, storage: Storage, row: int) -> list[Claim]:
    """Return the claims of the pods on a node that have no volume yet, in the binder's order."""
    found: dict[tuple[str, str], Claim] = {}
    for pod, rows in snapshot.claiming.items():
        if not rows.get(row):
            continue
        for name, claim in claims_of(pod, storage):
            if claim is not None and not claim.spec.volume_name:
                found[pod.namespace, name] = claim
    return [found[key] for key in sorted(found)]


def zones(labels: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the topology labels of a volume and the values that nodes may have (VolumeZone)."""
    for key in _TOPOLOGY:
        if key in labels:
            yield key, tuple(labels[key].split("__"))


_TOPOLOGY = (
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
)
