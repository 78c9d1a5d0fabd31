"""Typed views of pods: what the scheduler, the controllers and the node agents read.

A view decodes only what Ironfree acts on; the full JSON stays in the store. Field names follow
core/v1 in snake case. Views of equal bodies are the same Python object, so identity of `spec`
is a cheap test for "same class".
"""

from datetime import datetime
from functools import lru_cache

import msgspec

from .handlers import Lifecycle, Probe, RestartRule
from .meta import ObjectMeta
from .security import DNSConfig, PodSecurityContext, SecurityContext
from .stored import Body, StoredObject
from .view import View
from .volumes import (
    ClaimSource,
    ConfigMapSource,
    CsiSource,
    DownwardSource,
    FieldRef,
    HostPathSource,
    NfsSource,
    ProjectedSource,
    ResourceFieldRef,
    SecretSource,
)

AT_MOST_ONCE = "ironfree.dev/at-most-once"
"""Annotation of a pod: "true" where two of it may never run at a time; never replaced first."""


class ContainerPort(View, frozen=True):
    """core/v1 ContainerPort."""

    container_port: int
    host_port: int = 0
    protocol: str = "TCP"
    host_ip: str = msgspec.field(name="hostIP", default="")
    name: str = ""


class KeySelector(View, frozen=True):
    """core/v1 ConfigMapKeySelector and SecretKeySelector."""

    key: str
    name: str = ""
    optional: bool = False


class EnvVarSource(View, frozen=True):
    """core/v1 EnvVarSource."""

    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(View, frozen=True):
    """core/v1 EnvVar."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvSource(View, frozen=True):
    """core/v1 ConfigMapEnvSource and SecretEnvSource."""

    name: str = ""
    optional: bool = False


class EnvFromSource(View, frozen=True):
    """core/v1 EnvFromSource."""

    prefix: str = ""
    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None


class ResourceRequirements(View, frozen=True):
    """core/v1 ResourceRequirements; quantities as written."""

    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}


class VolumeMount(View, frozen=True):
    """core/v1 VolumeMount."""

    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""
    mount_propagation: str = ""


class Container(View, frozen=True):
    """core/v1 Container, the fields Ironfree acts on."""

    name: str
    image: str = ""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    working_dir: str = ""
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: tuple[VolumeMount, ...] = ()
    image_pull_policy: str = ""
    restart_policy: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    restart_policy_rules: tuple[RestartRule, ...] = ()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    security_context: SecurityContext = SecurityContext()
    termination_message_path: str = ""
    termination_message_policy: str = "File"


class EphemeralContainer(Container, frozen=True):
    """core/v1 EphemeralContainer: put into a running pod to look at it, never started again."""

    target_container_name: str = ""


class EmptyDirVolumeSource(View, frozen=True):
    """core/v1 EmptyDirVolumeSource."""

    medium: str = ""
    size_limit: str | int | None = None


class ImageVolumeSource(View, frozen=True):
    """core/v1 ImageVolumeSource."""

    reference: str = ""


class Volume(View, frozen=True):
    """core/v1 Volume; other sources than these are rejected by validation.

    An image can be simulated, for it bears on where a pod goes. CSI is only found in what a claim
    stands for.
    """

    name: str
    empty_dir: EmptyDirVolumeSource | None = None
    image: ImageVolumeSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)
    projected: ProjectedSource | None = None
    host_path: HostPathSource | None = None
    persistent_volume_claim: ClaimSource | None = None
    nfs: NfsSource | None = None
    csi: CsiSource | None = None


class Toleration(View, frozen=True):
    """core/v1 Toleration."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class NodeSelectorRequirement(View, frozen=True):
    """core/v1 NodeSelectorRequirement."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


class NodeSelectorTerm(View, frozen=True):
    """core/v1 NodeSelectorTerm."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


class NodeSelector(View, frozen=True):
    """core/v1 NodeSelector."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class PreferredSchedulingTerm(View, frozen=True):
    """core/v1 PreferredSchedulingTerm."""

    weight: int
    preference: NodeSelectorTerm


class NodeAffinity(View, frozen=True):
    """core/v1 NodeAffinity."""

    required: NodeSelector | None = msgspec.field(
        name="requiredDuringSchedulingIgnoredDuringExecution", default=None
    )
    preferred: tuple[PreferredSchedulingTerm, ...] = msgspec.field(
        name="preferredDuringSchedulingIgnoredDuringExecution", default=()
    )


class LabelSelector(View, frozen=True):
    """meta/v1 LabelSelector; absent (None) matches nothing, empty matches everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[NodeSelectorRequirement, ...] = ()


class PodAffinityTerm(View, frozen=True):
    """core/v1 PodAffinityTerm."""

    topology_key: str
    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()


class WeightedPodAffinityTerm(View, frozen=True):
    """core/v1 WeightedPodAffinityTerm."""

    weight: int
    pod_affinity_term: PodAffinityTerm


class PodAffinity(View, frozen=True):
    """core/v1 PodAffinity and PodAntiAffinity, which have the same fields."""

    required: tuple[PodAffinityTerm, ...] = msgspec.field(
        name="requiredDuringSchedulingIgnoredDuringExecution", default=()
    )
    preferred: tuple[WeightedPodAffinityTerm, ...] = msgspec.field(
        name="preferredDuringSchedulingIgnoredDuringExecution", default=()
    )


class Affinity(View, frozen=True):
    """core/v1 Affinity."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpreadConstraint(View, frozen=True):
    """core/v1 TopologySpreadConstraint, with the API's defaults for absent policies."""

    max_skew: int
    topology_key: str
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str = "Honor"
    node_taints_policy: str = "Ignore"
    match_label_keys: tuple[str, ...] = ()


class HostAlias(View, frozen=True):
    """core/v1 HostAlias."""

    ip: str = ""
    hostnames: tuple[str, ...] = ()


class SchedulingGate(View, frozen=True):
    """core/v1 PodSchedulingGate."""

    name: str


class SchedulingGroup(View, frozen=True):
    """core/v1 PodSchedulingGroup."""

    pod_group_name: str = ""


class ReadinessGate(View, frozen=True):
    """core/v1 PodReadinessGate."""

    condition_type: str


class LocalObjectReference(View, frozen=True):
    """core/v1 LocalObjectReference."""

    name: str = ""


class PodSpec(View, frozen=True):
    """core/v1 PodSpec, the fields Ironfree acts on. `node_name` is read from the binding."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[EphemeralContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_name: str = ""
    node_selector: dict[str, str] = {}
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    scheduler_name: str = "default-scheduler"
    priority: int = 0
    priority_class_name: str = ""
    runtime_class_name: str = ""
    preemption_policy: str = "PreemptLowerPriority"
    hostname: str = ""
    host_network: bool = False
    host_aliases: tuple[HostAlias, ...] = ()
    overhead: dict[str, str | int | float] = {}
    resources: ResourceRequirements | None = None
    scheduling_gates: tuple[SchedulingGate, ...] = ()
    scheduling_group: SchedulingGroup | None = None
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    active_deadline_seconds: int | None = None
    readiness_gates: tuple[ReadinessGate, ...] = ()
    share_process_namespace: bool = False
    host_pid: bool = msgspec.field(name="hostPID", default=False)
    host_ipc: bool = msgspec.field(name="hostIPC", default=False)
    subdomain: str = ""
    set_hostname_as_fqdn: bool = msgspec.field(name="setHostnameAsFQDN", default=False)
    enable_service_links: bool = True
    dns_policy: str = "ClusterFirst"
    dns_config: DNSConfig = DNSConfig()
    security_context: PodSecurityContext = PodSecurityContext()
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()


def claim_names(spec: PodSpec) -> tuple[str, ...]:
    """Return the names of the claims that a pod mounts, each once."""
    if not spec.volumes:
        return ()
    claims = (volume.persistent_volume_claim for volume in spec.volumes)
    return tuple(dict.fromkeys(claim.claim_name for claim in claims if claim is not None))


class ContainerStateWaiting(View, frozen=True):
    """core/v1 ContainerStateWaiting."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(View, frozen=True):
    """core/v1 ContainerStateRunning."""

    started_at: datetime | None = None


class ContainerStateTerminated(View, frozen=True):
    """core/v1 ContainerStateTerminated. exit_code is always written."""

    exit_code: int | None = None
    reason: str = ""
    message: str = ""
    signal: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = msgspec.field(name="containerID", default="")


class ContainerState(View, frozen=True):
    """core/v1 ContainerState: exactly one member is set."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class PodContainerStatus(View, frozen=True):
    """core/v1 ContainerStatus. ready and restart_count are always written."""

    name: str
    ready: bool | None = None
    restart_count: int | None = None
    image: str | None = None
    image_id: str | None = msgspec.field(name="imageID", default=None)
    container_id: str = msgspec.field(name="containerID", default="")
    started: bool | None = None
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class Condition(View, frozen=True):
    """core/v1 PodCondition and NodeCondition, meta/v1 Condition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    last_heartbeat_time: datetime | None = None
    last_probe_time: datetime | None = None
    observed_generation: int = 0


class PodIP(View, frozen=True):
    """core/v1 PodIP."""

    ip: str = ""


class PodStatus(View, frozen=True):
    """core/v1 PodStatus."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    message: str = ""
    reason: str = ""
    host_ip: str = msgspec.field(name="hostIP", default="")
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[PodIP, ...] = msgspec.field(name="podIPs", default=())
    start_time: datetime | None = None
    container_statuses: tuple[PodContainerStatus, ...] = ()
    init_container_statuses: tuple[PodContainerStatus, ...] = ()
    ephemeral_container_statuses: tuple[PodContainerStatus, ...] = ()
    qos_class: str = ""
    nominated_node_name: str = ""
    observed_generation: int = 0

    @property
    def all_container_statuses(self) -> tuple[PodContainerStatus, ...]:
        """Of apps, init containers and ephemeral containers."""
        return (
            *self.container_statuses,
            *self.init_container_statuses,
            *self.ephemeral_container_statuses,
        )

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, if present."""
        for condition in self.conditions:  # a generator would cost three times as much
            if condition.type == kind:
                return condition
        return None


class Pod(msgspec.Struct, frozen=True, gc=False):
    """A pod as Ironfree's parts see it.

    Args:
        spec: shared between pods of one body.
        digest: 16 bytes naming the body; equal digest, equal spec.
        node: the node it is bound to, "" when unbound.
        stored: what the view was made of; None for a pod that is not in the store.
    """

    meta: ObjectMeta
    spec: PodSpec
    status: PodStatus
    node: str
    revision: int
    digest: bytes
    stored: StoredObject | None = None

    @property
    def terminal(self) -> bool:
        """True when the pod has Succeeded or Failed and holds no resources any more."""
        return self.status.phase in {"Succeeded", "Failed"}

    @property
    def active(self) -> bool:
        """True when it counts for its controller: neither ended nor being deleted."""
        return not self.terminal and self.meta.deletion_timestamp is None

    @property
    def at_most_once(self) -> bool:
        """True when it has no successor before it has ended or is gone."""
        return self.meta.annotations.get(AT_MOST_ONCE) == "true"


class _PodBody(msgspec.Struct):
    spec: PodSpec


_EMPTY_STATUS = PodStatus()
_body = msgspec.json.Decoder(_PodBody)
_status = msgspec.json.Decoder(PodStatus)


@lru_cache(maxsize=65536)
def pod_spec(body: Body) -> PodSpec:
    """Decode the pod spec of an interned body, once per distinct body."""
    return _body.decode(body.json).spec


def bare_id(container_id: str) -> str:
    """Return a container's id without its runtime ("docker://")."""
    return container_id.partition("://")[2] or container_id


def pod_view(stored: StoredObject) -> Pod:
    """Return the typed view of a stored pod."""
    return Pod(
        meta=stored.meta,
        spec=pod_spec(stored.body),
        status=_status.decode(stored.status) if stored.status else _EMPTY_STATUS,
        node=stored.binding.node if stored.binding else "",
        revision=stored.revision,
        digest=stored.body.digest,
        stored=stored,
    )
