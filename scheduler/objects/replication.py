"""Typed view of ReplicationControllers."""

import msgspec

from .meta import ObjectMeta
from .pod import Condition, View
from .stored import StoredObject

REPLACE_FIRST = "ironfree.dev/replace-first"
"""Annotation of a pod: "true" has its ReplicationController replace it, then delete it."""
REPLACE_ON = "ironfree.dev/replace-on"
"""Annotation beside REPLACE_FIRST: the node that the replacement is nominated to."""
REPLACES = "ironfree.dev/replaces"
"""Annotation of such a replacement: the uid of the pod that it stands in for."""
AT_MOST_ONCE = "ironfree.dev/at-most-once"
"""Annotation of a pod: "true" where two of it may never run at a time; never replaced first."""


class TemplateMeta(View, frozen=True):
    """The metadata of a pod template that pods inherit."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


class PodTemplate(View, frozen=True):
    """core/v1 PodTemplateSpec; the spec stays JSON, because pods keep all of it."""

    metadata: TemplateMeta = TemplateMeta()
    spec: msgspec.Raw = msgspec.Raw(b"{}")


class ReplicationSpec(View, frozen=True):
    """core/v1 ReplicationControllerSpec."""

    replicas: int = 1
    min_ready_seconds: int = 0
    selector: dict[str, str] = {}
    template: PodTemplate | None = None


class ReplicationStatus(msgspec.Struct, frozen=True, rename="camel"):
    """core/v1 ReplicationControllerStatus; counts are always written."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Replication(msgspec.Struct, frozen=True):
    """A ReplicationController as its controller sees it."""

    meta: ObjectMeta
    spec: ReplicationSpec
    status: ReplicationStatus
    revision: int

    @property
    def selector(self) -> dict[str, str]:
        """The labels a pod must carry; the template's when none are given."""
        if self.spec.selector or self.spec.template is None:
            return self.spec.selector
        return self.spec.template.metadata.labels


class _Body(msgspec.Struct):
    spec: ReplicationSpec = ReplicationSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(ReplicationStatus)


def replication_view(stored: StoredObject) -> Replication:
    """Return the typed view of a stored ReplicationController."""
    return Replication(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else ReplicationStatus(),
        revision=stored.revision,
    )
