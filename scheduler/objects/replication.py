"""Typed view of ReplicationControllers and ReplicaSets, which say the same in other words."""

import msgspec

from .meta import ObjectMeta, OwnerReference
from .pod import Condition, View
from .pod_owner import (
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    OwnerKind,
    PodTemplate,
    label_selector,
    map_selector,
)
from .selectors import Selector
from .stored import StoredObject

REPLACE_FIRST = "ironfree.dev/replace-first"
"""Annotation of a pod: "true" has its controller (of REPLACING) replace it, then delete it; "false"
keeps drains and Rebalances from asking for that; drains evict it."""
REPLACE_ON = "ironfree.dev/replace-on"
"""Annotation beside REPLACE_FIRST: the node that the replacement is nominated to."""
REPLACES = "ironfree.dev/replaces"
"""Annotation of such a replacement: the uid of the pod that it stands in for."""

FAILURE = "ReplicaFailure"
"""Condition of a controller: "True" while it cannot create pods (or delete them)."""


class ReplicationSpec(View, frozen=True):
    """core/v1 ReplicationControllerSpec and apps/v1 ReplicaSetSpec, without the selector."""

    replicas: int = 1
    min_ready_seconds: int = 0
    template: PodTemplate | None = None


class ReplicationStatus(msgspec.Struct, frozen=True, rename="camel"):
    """core/v1 ReplicationControllerStatus, apps/v1 ReplicaSetStatus; counts are always written."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Replication(msgspec.Struct, frozen=True):
    """A ReplicationController or ReplicaSet as its controller sees it.

    Args:
        selector: which pods are its own; a ReplicationController's is its template's labels where
            it has none.
    """

    meta: ObjectMeta
    spec: ReplicationSpec
    status: ReplicationStatus
    revision: int
    selector: Selector
    owner_kind: OwnerKind = REPLICATION_CONTROLLER
    stored: StoredObject | None = None

    @property
    def template(self) -> PodTemplate | None:
        """What its pods are like."""
        return self.spec.template

    @property
    def reference(self) -> OwnerReference:
        """The reference that makes it own a pod."""
        return self.owner_kind.reference(self.meta)


class _MapSpec(ReplicationSpec, frozen=True):
    selector: dict[str, str] = {}


class _MapBody(msgspec.Struct):
    spec: _MapSpec = _MapSpec()


class _SelectorSpec(ReplicationSpec, frozen=True):
    selector: msgspec.Raw = msgspec.Raw(b"null")


class _SelectorBody(msgspec.Struct):
    spec: _SelectorSpec = _SelectorSpec()


_map_body = msgspec.json.Decoder(_MapBody)
_selector_body = msgspec.json.Decoder(_SelectorBody)
_status = msgspec.json.Decoder(ReplicationStatus)


def replication_view(stored: StoredObject) -> Replication:
    """Return the typed view of a stored ReplicationController or ReplicaSet."""
    if stored.resource == REPLICA_SET.resource:
        spec = _selector_body.decode(stored.body.json).spec
        kind, selector = REPLICA_SET, label_selector(bytes(spec.selector))
    else:
        spec = _map_body.decode(stored.body.json).spec
        template = spec.template.metadata.labels if spec.template is not None else {}
        kind, selector = REPLICATION_CONTROLLER, map_selector(spec.selector or template)
    return Replication(
        meta=stored.meta,
        spec=spec,
        status=_status.decode(stored.status) if stored.status else ReplicationStatus(),
        revision=stored.revision,
        selector=selector,
        owner_kind=kind,
        stored=stored,
    )
