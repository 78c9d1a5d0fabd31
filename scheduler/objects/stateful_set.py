"""Typed view of StatefulSets."""

import msgspec

from .meta import ObjectMeta
from .pod import Condition, View
from .pod_owner import STATEFUL_SET, OwnerKind, PodTemplate, label_selector
from .selectors import Selector
from .stored import StoredObject

ON_DELETE = "OnDelete"
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


class Partition(View, frozen=True):
    """apps/v1 RollingUpdateStatefulSetStrategy."""

    partition: int = 0


class StatefulStrategy(View, frozen=True):
    """apps/v1 StatefulSetUpdateStrategy."""

    type: str = "RollingUpdate"
    rolling_update: Partition = Partition()


class Ordinals(View, frozen=True):
    """apps/v1 StatefulSetOrdinals."""

    start: int = 0


class ClaimMeta(View, frozen=True):
    """What claims take over of their template's metadata."""

    name: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class ClaimTemplate(View, frozen=True):
    """A PersistentVolumeClaim to be; the spec stays JSON, because claims keep all of it."""

    metadata: ClaimMeta = ClaimMeta()
    spec: msgspec.Raw = msgspec.Raw(b"{}")


class StatefulSetSpec(View, frozen=True):
    """apps/v1 StatefulSetSpec."""

    replicas: int = 1
    service_name: str = ""
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    pod_management_policy: str = "OrderedReady"
    update_strategy: StatefulStrategy = StatefulStrategy()
    ordinals: Ordinals = Ordinals()
    selector: msgspec.Raw = msgspec.Raw(b"null")
    template: PodTemplate = PodTemplate()
    volume_claim_templates: tuple[ClaimTemplate, ...] = ()


class StatefulSetStatus(View, frozen=True):
    """apps/v1 StatefulSetStatus; replicas are always written (None is none)."""

    observed_generation: int = 0
    replicas: int | None = None
    ready_replicas: int = 0
    available_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    conditions: tuple[Condition, ...] = ()


class StatefulSet(msgspec.Struct, frozen=True):
    """A StatefulSet as its controller sees it."""

    meta: ObjectMeta
    spec: StatefulSetSpec
    status: StatefulSetStatus = StatefulSetStatus()
    revision: int = 0

    @property
    def owner_kind(self) -> OwnerKind:
        """Its kind."""
        return STATEFUL_SET

    @property
    def selector(self) -> Selector:
        """Which pods are its own."""
        return label_selector(bytes(self.spec.selector))

    @property
    def template(self) -> PodTemplate:
        """What its pods are like."""
        return self.spec.template

    @property
    def ordinals(self) -> range:
        """The numbers of its pods."""
        return range(self.spec.ordinals.start, self.spec.ordinals.start + self.spec.replicas)

    def ordinal_of(self, pod: str) -> int | None:
        """Return the number of a pod of that name, None where it is none of its names."""
        number = pod.removeprefix(f"{self.meta.name}-")
        if number == pod or not number.isascii() or not number.isdigit():
            return None
        return int(number) if str(int(number)) == number else None


class _Body(msgspec.Struct):
    spec: StatefulSetSpec = StatefulSetSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(StatefulSetStatus)


def stateful_set_view(stored: StoredObject) -> StatefulSet:
    """Return the typed view of a stored StatefulSet."""
    return StatefulSet(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else StatefulSetStatus(),
        revision=stored.revision,
    )
