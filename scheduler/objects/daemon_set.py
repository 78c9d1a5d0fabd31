"""Typed view of DaemonSets."""

import msgspec

from .deployment import share
from .meta import ObjectMeta
from .pod import Condition, Pod, PodSpec, Toleration, View
from .pod_owner import DAEMON_SET, OwnerKind, PodTemplate, label_selector
from .selectors import Selector
from .stored import StoredObject

ON_DELETE = "OnDelete"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


class RollingDaemons(View, frozen=True):
    """apps/v1 RollingUpdateDaemonSet: numbers of nodes, or percentages of them."""

    max_surge: int | str = 0
    max_unavailable: int | str = 1


class DaemonStrategy(View, frozen=True):
    """apps/v1 DaemonSetUpdateStrategy."""

    type: str = "RollingUpdate"
    rolling_update: RollingDaemons = RollingDaemons()


class DaemonSetSpec(View, frozen=True):
    """apps/v1 DaemonSetSpec."""

    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    update_strategy: DaemonStrategy = DaemonStrategy()
    selector: msgspec.Raw = msgspec.Raw(b"null")
    template: PodTemplate = PodTemplate()


class DaemonSetStatus(msgspec.Struct, frozen=True, rename="camel"):
    """apps/v1 DaemonSetStatus; counts are always written."""

    current_number_scheduled: int = 0
    number_misscheduled: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    conditions: tuple[Condition, ...] = ()


class DaemonSet(msgspec.Struct, frozen=True):
    """A DaemonSet as its controller sees it."""

    meta: ObjectMeta
    spec: DaemonSetSpec
    status: DaemonSetStatus = DaemonSetStatus()
    revision: int = 0

    @property
    def owner_kind(self) -> OwnerKind:
        """Its kind."""
        return DAEMON_SET

    @property
    def selector(self) -> Selector:
        """Which pods are its own."""
        return label_selector(bytes(self.spec.selector))

    @property
    def template(self) -> PodTemplate:
        """What its pods are like."""
        return self.spec.template

    @property
    def pod_spec(self) -> PodSpec:
        """What its pods ask for; of a node, before each of them names its own."""
        return _pod_spec.decode(self.template.spec)

    def limits(self, nodes: int) -> tuple[int, int]:
        """Return maxSurge and maxUnavailable of so many nodes; one of them is not 0.

        Where two of its pods may never run at a time, none is added before an old one is gone.
        """
        rolling = self.spec.update_strategy.rolling_update
        once = self.template.at_most_once
        surge = 0 if once else share(rolling.max_surge, nodes, up=True)
        unavailable = share(rolling.max_unavailable, nodes, up=True)
        return surge, unavailable if surge or unavailable else 1


class _Body(msgspec.Struct):
    spec: DaemonSetSpec = DaemonSetSpec()


_pod_spec = msgspec.json.Decoder(PodSpec)
_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(DaemonSetStatus)


def daemon_set_view(stored: StoredObject) -> DaemonSet:
    """Return the typed view of a stored DaemonSet."""
    return DaemonSet(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else DaemonSetStatus(),
        revision=stored.revision,
    )


def daemon_tolerations(*, host_network: bool) -> tuple[Toleration, ...]:
    """Return what every daemon pod tolerates beside what it says (AddOrUpdateDaemonPodTolerations).

    Args:
        host_network: whether it needs no network of its own.
    """
    taints = (*_TOLERATED, _NETWORK) if host_network else _TOLERATED
    return tuple(Toleration(key, "Exists", "", effect) for key, effect in taints)


def target_node(pod: Pod) -> str:
    """Return the node of a daemon pod: where it is, or the one that its affinity names."""
    if pod.node:
        return pod.node
    affinity = pod.spec.affinity.node_affinity if pod.spec.affinity is not None else None
    if affinity is None or affinity.required is None:
        return ""
    for term in affinity.required.node_selector_terms:
        for each in term.match_fields:
            if each.key == "metadata.name" and len(each.values) == 1:
                return each.values[0]
    return ""
