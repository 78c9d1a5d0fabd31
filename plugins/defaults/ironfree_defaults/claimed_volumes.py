"""What a pod's claims say of where it may run: the numbers behind VolumeBinding and its sisters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from scheduler.hookspecs import Mask, NodeFacts, PodClass, Snapshot
from scheduler.objects.storage import (
    PROVISIONER,
    Claim,
    PersistentVolume,
    Storage,
    StorageClass,
    left_over,
    offers,
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


def free_on(claims: Sequence[Claim], snapshot: Snapshot, storage: Storage) -> Mask:
    """Return (N,) where a free volume is left for each of claims that no pod on a node has.

    Claims whose pods have their node but not their volumes yet take the smallest that fits, as the
    volume binder will give it, on whatever node: a volume may be reached from several.
    """
    left = left_over(storage.volumes, _awaited(snapshot, storage))
    found = snapshot.every()
    for claim in claims:
        found &= _somewhere(offers(claim, left.values()), snapshot)
    if len(claims) > 1:
        rows: list[int] = found.nonzero()[0].tolist()
        for row in rows:
            found[row] = _enough(claims, left, snapshot.nodes[row].labels)
    return found


def _somewhere(volumes: Iterable[PersistentVolume], snapshot: Snapshot) -> Mask:
    found = snapshot.none()
    for volume in volumes:
        found |= reachable(volume, snapshot)
    return found


def _enough(
    claims: Sequence[Claim], volumes: Mapping[str, PersistentVolume], labels: Mapping[str, str]
) -> bool:
    """Tell whether each of the claims gets a volume of its own on a node."""
    left = left_over(volumes, [(claim, labels) for claim in claims])
    return len(left) == len(volumes) - len(claims)


def _awaited(snapshot: Snapshot, storage: Storage) -> list[tuple[Claim, Mapping[str, str]]]:
    """Return claims of pods on nodes that have no volume yet, by name, and their nodes' labels."""
    found: dict[tuple[str, str], tuple[Claim, NodeFacts]] = {}
    for pod, rows in snapshot.claiming.items():
        nodes = [snapshot.nodes[row] for row, count in rows.items() if count]
        for name, claim in claims_of(pod, storage) if nodes else ():
            if claim is not None and not claim.spec.volume_name:
                key = pod.namespace, name
                there = [found[key][1]] if key in found else []
                found[key] = claim, min([*there, *nodes], key=lambda node: node.name)
    return [(found[key][0], found[key][1].labels) for key in sorted(found)]
