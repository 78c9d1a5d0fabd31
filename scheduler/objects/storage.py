"""Typed views of volumes, claims and storage classes, and which volume a claim may have. Pure.

Semantics: Kubernetes' persistent volume controller and its component-helpers (pv_helpers.go).
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import msgspec

from ..errors import BadRequest
from . import quantity
from .json import Json
from .meta import ObjectMeta
from .pod import NodeSelector
from .selectors import NOTHING, Requirement, Selector, from_label_selector, node_requirements
from .stored import ObjectKey, StoredObject
from .view import View
from .volumes import CsiSource, HostPathSource, LocalSource, NfsSource

VOLUMES = "persistentvolumes"
CLAIMS = "persistentvolumeclaims"
CLASSES = "storageclasses.storage.k8s.io"

PROVISIONER = "ironfree.dev/docker-volume"
"""Makes named Docker volumes on the node of a claim's first pod."""
DRIVER = "docker-volume.ironfree.dev"
"""Of PersistentVolumes that are named Docker volumes; their volumeHandle is the name."""
STATIC = "kubernetes.io/no-provisioner"
WAIT = "WaitForFirstConsumer"
RETAIN = "Retain"
ONCE_POD = "ReadWriteOncePod"

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
DATA = "ironfree.dev/docker-volume"
"""Finalizer of a volume whose data go with it; the node's agent removes them first."""
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
HOSTNAME = "kubernetes.io/hostname"
ZONE_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
}
"""Labels that say where volumes and nodes are, and what each is called now."""


class ClaimReference(View, frozen=True):
    """core/v1 ObjectReference of a volume to its claim."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class VolumeNodeAffinity(View, frozen=True):
    """core/v1 VolumeNodeAffinity."""

    required: NodeSelector | None = None


class VolumeSpec(View, frozen=True):
    """core/v1 PersistentVolumeSpec."""

    capacity: dict[str, str | int | float] = {}
    access_modes: tuple[str, ...] = ()
    claim_ref: ClaimReference | None = None
    reclaim_policy: str = msgspec.field(name="persistentVolumeReclaimPolicy", default=RETAIN)
    storage_class_name: str = ""
    mount_options: tuple[str, ...] = ()
    volume_mode: str = "Filesystem"
    node_affinity: VolumeNodeAffinity | None = None
    host_path: HostPathSource | None = None
    local: LocalSource | None = None
    nfs: NfsSource | None = None
    csi: CsiSource | None = None


class ClaimResources(View, frozen=True):
    """core/v1 VolumeResourceRequirements."""

    requests: dict[str, str | int | float] = {}


class ClaimSpec(View, frozen=True):
    """core/v1 PersistentVolumeClaimSpec."""

    access_modes: tuple[str, ...] = ()
    resources: ClaimResources = ClaimResources()
    volume_name: str = ""
    selector: msgspec.Raw = msgspec.Raw(b"")
    storage_class_name: str | None = None
    volume_mode: str = "Filesystem"


class _Phase(View, frozen=True):
    phase: str = ""


Term = tuple[Requirement, ...]


class PersistentVolume(msgspec.Struct, frozen=True, dict=True):
    """A PersistentVolume as Ironfree's parts see it."""

    meta: ObjectMeta
    spec: VolumeSpec
    phase: str
    stored: StoredObject

    @property
    def bytes(self) -> int:
        """How much it holds."""
        return quantity.value(str(self.spec.capacity.get("storage", 0)))

    @cached_property
    def terms(self) -> tuple[Term, ...] | None:
        """Label requirements of which a node must meet one list; None for any node."""
        affinity = self.spec.node_affinity
        if affinity is None or affinity.required is None:
            return None
        terms: list[Term] = []
        for term in affinity.required.node_selector_terms:
            wanted: list[Json] = [
                {"key": each.key, "operator": each.operator, "values": list(each.values)}
                for each in term.match_expressions
            ]
            with contextlib.suppress(BadRequest):  # what cannot be read matches nothing
                terms += [node_requirements(wanted)] if wanted else []
        return tuple(terms)

    def reachable_from(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a node with these labels can mount it."""
        terms = self.terms
        return terms is None or any(all(r.matches(labels) for r in term) for term in terms)

    def meant_for(self, claim: "Claim") -> bool:
        """Tell whether it is the claim's already, or reserved for it by name."""
        reference = self.spec.claim_ref
        if reference is None:
            return False
        named = (reference.namespace, reference.name) == (claim.meta.namespace, claim.meta.name)
        return named and reference.uid in ("", claim.meta.uid)

    @cached_property
    def zones(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Its labels of ZONE_LABELS, and the values that nodes may have, listed by "__"."""
        labels = self.meta.labels
        return tuple((key, tuple(labels[key].split("__"))) for key in ZONE_LABELS if key in labels)

    @property
    def host(self) -> str:
        """The name of the one node whose Docker volume it is, "" if it is none."""
        if self.spec.csi is None or self.spec.csi.driver != DRIVER:
            return ""
        for term in self.terms or ():
            for wanted in term:
                if wanted.key == HOSTNAME and wanted.operator == "in" and len(wanted.values) == 1:
                    return wanted.values[0]
        return ""


class Claim(msgspec.Struct, frozen=True, dict=True):
    """A PersistentVolumeClaim as Ironfree's parts see it."""

    meta: ObjectMeta
    spec: ClaimSpec
    phase: str
    stored: StoredObject

    @property
    def bytes(self) -> int:
        """How much it asks for."""
        return quantity.value(str(self.spec.resources.requests.get("storage", 0)))

    @property
    def class_name(self) -> str | None:
        """Its class, "" for none, None where it does not say."""
        return self.meta.annotations.get(
            "volume.beta.kubernetes.io/storage-class", self.spec.storage_class_name
        )

    @property
    def bound(self) -> bool:
        """Whether it has its volume."""
        return bool(self.spec.volume_name) and self.phase == "Bound"

    @cached_property
    def selector(self) -> Selector | None:
        """Which volumes it may have by label; None for any."""
        if bytes(self.spec.selector) in (b"", b"null"):
            return None
        try:
            return from_label_selector(cast(Json, msgspec.json.decode(self.spec.selector)))
        except BadRequest:
            return NOTHING

    def takes(self, volume: PersistentVolume) -> bool:
        """Tell whether a volume is what it asks for, wherever that is and whoever has it."""
        spec = volume.spec
        return (
            spec.storage_class_name == (self.class_name or "")
            and spec.volume_mode == self.spec.volume_mode
            and set(self.spec.access_modes) <= set(spec.access_modes)
            and volume.bytes >= self.bytes
            and (self.selector is None or self.selector.matches(volume.meta.labels))
        )


class StorageClass(View, frozen=True):
    """storage/v1 StorageClass."""

    provisioner: str = ""
    reclaim_policy: str = "Delete"
    volume_binding_mode: str = "Immediate"
    mount_options: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether its claims wait for their first pod."""
        return self.volume_binding_mode == WAIT


class NamedClass(msgspec.Struct, frozen=True):
    """A StorageClass with its metadata."""

    meta: ObjectMeta
    spec: StorageClass

    @property
    def default(self) -> bool:
        """Whether claims that name no class are of it."""
        return self.meta.annotations.get(DEFAULT_CLASS) == "true"


class _VolumeBody(msgspec.Struct):
    spec: VolumeSpec = VolumeSpec()


class _ClaimBody(msgspec.Struct):
    spec: ClaimSpec = ClaimSpec()


_volume = msgspec.json.Decoder(_VolumeBody)
_claim = msgspec.json.Decoder(_ClaimBody)
_class = msgspec.json.Decoder(StorageClass)
_phase = msgspec.json.Decoder(_Phase)


def volume_view(stored: StoredObject) -> PersistentVolume:
    """Return the typed view of a stored PersistentVolume."""
    spec = _volume.decode(stored.body.json).spec
    return PersistentVolume(stored.meta, spec, _phase_of(stored), stored)


def claim_view(stored: StoredObject) -> Claim:
    """Return the typed view of a stored PersistentVolumeClaim."""
    spec = _claim.decode(stored.body.json).spec
    return Claim(stored.meta, spec, _phase_of(stored), stored)


def class_view(stored: StoredObject) -> NamedClass:
    """Return the typed view of a stored StorageClass."""
    return NamedClass(stored.meta, _class.decode(stored.body.json))


def _phase_of(stored: StoredObject) -> str:
    return _phase.decode(stored.status).phase if stored.status else ""


def claim_key(namespace: str, name: str) -> ObjectKey:
    """Return the key of a claim."""
    return ObjectKey(CLAIMS, namespace, name)


def smallest(
    claim: Claim, volumes: Iterable[PersistentVolume], labels: Mapping[str, str] | None
) -> PersistentVolume | None:
    """Return the volume a claim gets: one reserved for it, else the smallest free one that fits.

    Args:
        labels: of the node that its first pod is on; None for a claim that does not wait.
    """
    return min(
        (v for v in offers(claim, volumes) if labels is None or v.reachable_from(labels)),
        key=lambda each: (not each.meant_for(claim), each.bytes, each.meta.name),
        default=None,
    )


def offers(claim: Claim, volumes: Iterable[PersistentVolume]) -> Iterator[PersistentVolume]:
    """Yield the volumes that a claim may get, wherever they are."""
    for volume in volumes:
        if volume.meta.deletion_timestamp is not None or not claim.takes(volume):
            continue
        unclaimed = volume.spec.claim_ref is None and volume.phase in _FREE
        if unclaimed or volume.meant_for(claim):
            yield volume


_FREE = ("", "Pending", "Available")


def left_over(
    volumes: Mapping[str, PersistentVolume], awaited: Iterable[tuple[Claim, Mapping[str, str]]]
) -> dict[str, PersistentVolume]:
    """Return the volumes that are left when claims whose pods have nodes have got theirs.

    Args:
        volumes: by name.
        awaited: claims without a volume, in the order in which they get one, and the labels of
            the node that each's first pod is on.
    """
    left = dict(volumes)
    for claim, labels in awaited:
        given = smallest(claim, left.values(), labels)
        if given is not None:
            del left[given.meta.name]
    return left


@dataclass(frozen=True, slots=True)
class Storage:
    """Everything about storage at one instant.

    Args:
        claims: by namespace and name. volumes, classes: by name.
    """

    claims: Mapping[tuple[str, str], Claim] = field(default_factory=dict[tuple[str, str], Claim])
    volumes: Mapping[str, PersistentVolume] = field(default_factory=dict[str, PersistentVolume])
    classes: Mapping[str, NamedClass] = field(default_factory=dict[str, NamedClass])

    def class_of(self, claim: Claim) -> StorageClass | None:
        """Return the class a claim names, None if there is none such."""
        found = self.classes.get(claim.class_name or "")
        return found.spec if found else None
