"""The informers that controllers share with the rest of the process, and their indices."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from typing import Protocol

import msgspec

from ..informer import AnyDelta, CohortDelta, Informer
from ..objects import (
    controller_revision,
    disruption,
    horizontal_pod_autoscaler,
    limit_range,
    pod_group,
    resource_quota,
)
from ..objects.cluster_role import ClusterRole, cluster_role_view
from ..objects.controller_revision import ControllerRevision, revision_view
from ..objects.cron_job import CronJob, cron_job_view
from ..objects.daemon_set import DaemonSet, daemon_set_view
from ..objects.deployment import Deployment, deployment_view
from ..objects.disruption import DisruptionBudget, disruption_budget
from ..objects.endpoints import (
    ENDPOINTS,
    MANAGED_BY,
    MIRROR,
    SERVICE_NAME,
    SLICES,
    Endpoints,
    EndpointSlice,
    endpoints_view,
    slice_view,
)
from ..objects.horizontal_pod_autoscaler import HorizontalPodAutoscaler, autoscaler_view
from ..objects.job import TRACKING, Job, job_view
from ..objects.kind import KindRegistry
from ..objects.limit_range import LimitRange, limit_range_view
from ..objects.maintenance import DOCKER_HOSTS, MaintainedHost, maintained_host
from ..objects.meta import ObjectMeta
from ..objects.node import Node, node_view
from ..objects.pod import Pod, claim_names, pod_view
from ..objects.pod_class import SERVICES
from ..objects.pod_group import PodGroup
from ..objects.pod_owner import (
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    OwnerKind,
    PodOwner,
)
from ..objects.replication import REPLACE_ON, Replication, replication_view
from ..objects.resource_quota import ResourceQuota, quota_view
from ..objects.role import CLUSTER_ROLES
from ..objects.root_ca import CONFIG_MAPS, ConfigMap, config_map_view
from ..objects.selectors import Selector
from ..objects.service import Service, service_view
from ..objects.stateful_set import StatefulSet, stateful_set_view
from ..objects.storage import (
    CLAIMS,
    CLASSES,
    VOLUMES,
    Claim,
    NamedClass,
    PersistentVolume,
    claim_view,
    class_view,
    volume_view,
)
from ..objects.stored import ObjectKey, StoredObject
from ..store.store import Store

NODE, OWNER, ORPHAN, SELECTOR, TERMINAL = "node", "owner", "orphan", "selector", "terminal"
NAMESPACE = "namespace"
MOVING = "moving"
TRACKED = "tracked"
CLAIM = "claim"
TARGET = "target"
LABEL, AGGREGATED = "label", "aggregated"
MIRRORED = "mirrored"
EVENTS = "events"
LEASES = "leases.coordination.k8s.io"
NAMESPACES = "namespaces"


class Named(msgspec.Struct, frozen=True):
    """An object of which only the metadata matters here."""

    meta: ObjectMeta
    revision: int


class Owned(Protocol):
    """Any view with metadata."""

    @property
    def meta(self) -> ObjectMeta:
        """The object's metadata."""
        ...


class OwnedDelta(Protocol):
    """A change of an object with metadata."""

    @property
    def key(self) -> ObjectKey:
        """Whose change."""
        ...

    @property
    def old(self) -> Owned | None:
        """Before; None for an addition."""
        ...

    @property
    def new(self) -> Owned | None:
        """After; None for a removal."""
        ...


class OwnedSubscription(Protocol):
    """Changes of objects with metadata."""

    async def next(self) -> Collection[OwnedDelta]:
        """Wait for changes and take them."""
        ...


class OwnedInformer(Protocol):
    """An informer of any view with metadata, indexed by owner."""

    def get(self, namespace: str, name: str) -> Owned | None:
        """Return the object of that name, or None."""
        ...

    def by_index(self, index: str, value: str) -> Collection[Owned]:
        """Return the objects whose indexer gave that value."""
        ...

    def having(self, index: str, values: Set[str]) -> Set[str]:
        """Return those of some index values that there are objects of."""
        ...

    def subscribe(self) -> OwnedSubscription:
        """Return a new subscription, which starts with the present objects."""
        ...

    def subscribe_samples(self) -> OwnedSubscription:
        """Return a subscription to which one pod of a cohort speaks for all."""
        ...

    async def run(self) -> None:
        """Keep current, forever."""
        ...

    async def synced(self) -> None:
        """Wait for the first list."""
        ...

    async def reached(self, revision: int) -> None:
        """Wait until everything committed up to the revision is here."""
        ...


def owner_uids(item: Owned) -> tuple[str, ...]:
    """Return the uids of an object's owners (index OWNER)."""
    owners = item.meta.owner_references
    return tuple([owner.uid for owner in owners]) if owners else ()


def nodes_of(delta: AnyDelta[Pod]) -> Collection[str]:
    """Return the nodes on which pods have come, gone or changed; no pod is looked at alone."""
    if isinstance(delta, CohortDelta):
        return delta.change.nodes
    return {pod.node for pod in (delta.old, delta.new) if pod is not None and pod.node}


def pair(namespace: str, key: str, value: str) -> str:
    """Return the index value of one label in one namespace."""
    return f"{namespace}/{key}={value}"


def orphan_labels(meta: ObjectMeta) -> tuple[str, ...]:
    """Return the labels of an object that no other controls (index ORPHAN)."""
    if meta.owner_references and meta.controller_owner() is not None:
        return ()
    return tuple([pair(meta.namespace, k, v) for k, v in meta.labels.items()])


def target_of(hpa: HorizontalPodAutoscaler) -> tuple[str, ...]:
    """Index an autoscaler by what it scales (index TARGET)."""
    wanted = hpa.spec.scale_target_ref
    return (f"{hpa.meta.namespace}/{wanted.group}/{wanted.kind}/{wanted.name}",)


def _claims(pod: Pod) -> tuple[str, ...]:
    """Index by the claims a pod mounts, as namespace/name."""
    return tuple([f"{pod.meta.namespace}/{name}" for name in claim_names(pod.spec)])


def mirrored_for(known: EndpointSlice) -> tuple[str, ...]:
    """Index the slices of Endpoints that somebody wrote by namespace/name of their Service."""
    if known.meta.labels.get(MANAGED_BY) != MIRROR:
        return ()
    return (f"{known.meta.namespace}/{known.meta.labels.get(SERVICE_NAME, '')}",)


def tracked_by(pod: Pod) -> tuple[str, ...]:
    """Index the pods that a Job has still to count by its namespace/name (index TRACKED)."""
    if TRACKING not in pod.meta.finalizers:
        return ()
    owner = pod.meta.controller_owner()
    return (f"{pod.meta.namespace}/{owner.name}",) if owner is not None else ()


def places(namespace: str, selector: Selector) -> tuple[str, ...]:
    """Return index values of which every object that matches has one, () where there are none.

    Of the first exact term only: an object that matches carries it, and few others do.
    """
    for term in selector.requirements:
        if term.operator in ("=", "in"):
            return tuple([pair(namespace, term.key, value) for value in term.values])
    return ()


def by_selector(item: PodOwner) -> tuple[str, ...]:
    """Index an owner by what its pods carry (index SELECTOR), or under no label at all."""
    if item.selector.nothing:
        return ()
    namespace = item.meta.namespace
    return places(namespace, item.selector) or (pair(namespace, "", ""),)


def orphans(pods: Informer[Pod], namespace: str, selector: Selector) -> list[Pod]:
    """Return the pods without a controller that a selector may find; a few more than it does.

    A selector that names no value of any label has all pods looked at.
    """
    if selector.nothing:
        return []
    found = places(namespace, selector)
    if found:
        return [pod for place in found for pod in pods.by_index(ORPHAN, place)]
    within = (pod for key, pod in pods.items.items() if key.namespace == namespace)
    return [pod for pod in within if pod.meta.controller_owner() is None]


POD_INDEXERS: Mapping[str, Callable[[Pod], tuple[str, ...]]] = {
    NODE: lambda pod: (pod.node,) if pod.node else (),
    OWNER: owner_uids,
    ORPHAN: lambda pod: () if pod.terminal else orphan_labels(pod.meta),
    TERMINAL: lambda pod: ("terminal",) if pod.terminal else (),
    CLAIM: _claims,
    TRACKED: tracked_by,
    MOVING: lambda pod: (MOVING,) if REPLACE_ON in pod.meta.annotations else (),
}
NODE_INDEXERS: Mapping[str, Callable[[Node], tuple[str, ...]]] = {OWNER: owner_uids}
BUDGET_INDEXERS: Mapping[str, Callable[[DisruptionBudget], tuple[str, ...]]] = {
    OWNER: owner_uids,
    NAMESPACE: lambda budget: (budget.meta.namespace,),
}
REPLICATION_INDEXERS: Mapping[str, Callable[[Replication], tuple[str, ...]]] = {
    OWNER: owner_uids,
    SELECTOR: by_selector,
    ORPHAN: lambda owner: orphan_labels(owner.meta),
}
DEPLOYMENT_INDEXERS: Mapping[str, Callable[[Deployment], tuple[str, ...]]] = {
    OWNER: owner_uids,
    SELECTOR: by_selector,
}
DAEMON_INDEXERS: Mapping[str, Callable[[DaemonSet], tuple[str, ...]]] = {
    OWNER: owner_uids,
    SELECTOR: by_selector,
}
STATEFUL_INDEXERS: Mapping[str, Callable[[StatefulSet], tuple[str, ...]]] = {
    OWNER: owner_uids,
    SELECTOR: by_selector,
}
SERVICE_INDEXERS: Mapping[str, Callable[[Service], tuple[str, ...]]] = {
    OWNER: owner_uids,
    NAMESPACE: lambda service: (service.meta.namespace,),
}
SLICE_INDEXERS: Mapping[str, Callable[[EndpointSlice], tuple[str, ...]]] = {
    OWNER: owner_uids,
    MIRRORED: mirrored_for,
}
ROLE_INDEXERS: Mapping[str, Callable[[ClusterRole], tuple[str, ...]]] = {
    OWNER: owner_uids,
    LABEL: lambda role: tuple([pair("", k, v) for k, v in role.meta.labels.items()]),
    AGGREGATED: lambda role: (AGGREGATED,) if role.selectors else (),
}
AUTOSCALER_INDEXERS: Mapping[str, Callable[[HorizontalPodAutoscaler], tuple[str, ...]]] = {
    OWNER: owner_uids,
    TARGET: target_of,
}
LIMIT_INDEXERS: Mapping[str, Callable[[LimitRange], tuple[str, ...]]] = {
    OWNER: owner_uids,
    NAMESPACE: lambda limits: (limits.meta.namespace,),
}
GROUP_INDEXERS: Mapping[str, Callable[[PodGroup], tuple[str, ...]]] = {OWNER: owner_uids}


@dataclass(frozen=True)
class Informers:
    """What the controllers look at.

    Args:
        pods: with POD_INDEXERS; nodes: with NODE_INDEXERS; both shared with others.
        replications: ReplicationControllers and ReplicaSets, with REPLICATION_INDEXERS.
        deployments: with DEPLOYMENT_INDEXERS.
        jobs, cron_jobs, revisions: indexed by owner.
        daemon_sets: with DAEMON_INDEXERS.
        stateful_sets: with STATEFUL_INDEXERS.
        budgets: PodDisruptionBudgets, with BUDGET_INDEXERS.
        autoscalers: HorizontalPodAutoscalers, with AUTOSCALER_INDEXERS.
        limits: LimitRanges, with LIMIT_INDEXERS.
        quotas: ResourceQuotas, indexed by owner.
        groups: PodGroups, with GROUP_INDEXERS.
        services: with SERVICE_INDEXERS.
        slices: EndpointSlices, with SLICE_INDEXERS.
        endpoints: as far as they are mirrored; indexed by owner.
        claims, volumes, classes: of storage; indexed by owner.
        hosts: DockerHosts as regards their maintenance; indexed by owner.
        cluster_roles: with ROLE_INDEXERS.
        config_maps: with content where they publish the cluster's CA; indexed by owner.
        others: the registry's remaining resources but events and those without objects, by
            resource, for owners and namespaces.
    """

    pods: Informer[Pod]
    nodes: Informer[Node]
    replications: Mapping[OwnerKind, Informer[Replication]]
    deployments: Informer[Deployment]
    jobs: Informer[Job]
    daemon_sets: Informer[DaemonSet]
    cron_jobs: Informer[CronJob]
    stateful_sets: Informer[StatefulSet]
    revisions: Informer[ControllerRevision]
    budgets: Informer[DisruptionBudget]
    autoscalers: Informer[HorizontalPodAutoscaler]
    limits: Informer[LimitRange]
    quotas: Informer[ResourceQuota]
    groups: Informer[PodGroup]
    services: Informer[Service]
    slices: Informer[EndpointSlice]
    endpoints: Informer[Endpoints]
    claims: Informer[Claim]
    volumes: Informer[PersistentVolume]
    classes: Informer[NamedClass]
    hosts: Informer[MaintainedHost]
    cluster_roles: Informer[ClusterRole]
    config_maps: Informer[ConfigMap]
    others: Mapping[str, Informer[Named]]

    @classmethod
    def open(
        cls,
        store: Store,
        registry: KindRegistry,
        pods: Informer[Pod] | None = None,
        nodes: Informer[Node] | None = None,
    ) -> "Informers":
        """Build the informers; those given are shared and run by whoever made them."""
        replicating = (REPLICATION_CONTROLLER, REPLICA_SET)
        known = {"pods", "nodes", EVENTS, disruption.RESOURCE, pod_group.RESOURCE}
        known |= {CLAIMS, VOLUMES, CLASSES, DEPLOYMENT.resource, JOB.resource, SERVICES, SLICES}
        known |= {DOCKER_HOSTS, horizontal_pod_autoscaler.RESOURCE, limit_range.RESOURCE}
        known |= {resource_quota.RESOURCE, ENDPOINTS, CLUSTER_ROLES, CONFIG_MAPS}
        known |= {
            CRON_JOB.resource,
            DAEMON_SET.resource,
            STATEFUL_SET.resource,
            controller_revision.RESOURCE,
        }
        known |= {kind.resource for kind in replicating}
        return cls(
            pods or Informer(store, "pods", pod_view, POD_INDEXERS),
            nodes or Informer(store, "nodes", node_view, NODE_INDEXERS),
            {
                kind: Informer(store, kind.resource, replication_view, REPLICATION_INDEXERS)
                for kind in replicating
            },
            Informer(store, DEPLOYMENT.resource, deployment_view, DEPLOYMENT_INDEXERS),
            Informer(store, JOB.resource, job_view, {OWNER: owner_uids}),
            Informer(store, DAEMON_SET.resource, daemon_set_view, DAEMON_INDEXERS),
            Informer(store, CRON_JOB.resource, cron_job_view, {OWNER: owner_uids}),
            Informer(store, STATEFUL_SET.resource, stateful_set_view, STATEFUL_INDEXERS),
            Informer(store, controller_revision.RESOURCE, revision_view, {OWNER: owner_uids}),
            Informer(store, disruption.RESOURCE, disruption_budget, BUDGET_INDEXERS),
            Informer(
                store, horizontal_pod_autoscaler.RESOURCE, autoscaler_view, AUTOSCALER_INDEXERS
            ),
            Informer(store, limit_range.RESOURCE, limit_range_view, LIMIT_INDEXERS),
            Informer(store, resource_quota.RESOURCE, quota_view, {OWNER: owner_uids}),
            Informer(store, pod_group.RESOURCE, pod_group.pod_group, GROUP_INDEXERS),
            Informer(store, SERVICES, service_view, SERVICE_INDEXERS),
            Informer(store, SLICES, slice_view, SLICE_INDEXERS),
            Informer(store, ENDPOINTS, endpoints_view, {OWNER: owner_uids}),
            Informer(store, CLAIMS, claim_view, {OWNER: owner_uids}),
            Informer(store, VOLUMES, volume_view, {OWNER: owner_uids}),
            Informer(store, CLASSES, class_view, {OWNER: owner_uids}),
            Informer(store, DOCKER_HOSTS, maintained_host, {OWNER: owner_uids}),
            Informer(store, CLUSTER_ROLES, cluster_role_view, ROLE_INDEXERS),
            Informer(store, CONFIG_MAPS, config_map_view, {OWNER: owner_uids}),
            {
                kind.resource: Informer(store, kind.resource, _named, {OWNER: owner_uids})
                for kind in registry.kinds
                if kind.resource not in known and "list" in kind.verbs and "create" in kind.verbs
            },
        )

    def all(self) -> Mapping[str, OwnedInformer]:
        """Return every informer by resource."""
        return {
            "pods": self.pods,
            "nodes": self.nodes,
            **{kind.resource: informer for kind, informer in self.replications.items()},
            DEPLOYMENT.resource: self.deployments,
            JOB.resource: self.jobs,
            DAEMON_SET.resource: self.daemon_sets,
            CRON_JOB.resource: self.cron_jobs,
            STATEFUL_SET.resource: self.stateful_sets,
            controller_revision.RESOURCE: self.revisions,
            disruption.RESOURCE: self.budgets,
            horizontal_pod_autoscaler.RESOURCE: self.autoscalers,
            limit_range.RESOURCE: self.limits,
            resource_quota.RESOURCE: self.quotas,
            pod_group.RESOURCE: self.groups,
            SERVICES: self.services,
            SLICES: self.slices,
            ENDPOINTS: self.endpoints,
            CLAIMS: self.claims,
            VOLUMES: self.volumes,
            CLASSES: self.classes,
            DOCKER_HOSTS: self.hosts,
            CLUSTER_ROLES: self.cluster_roles,
            CONFIG_MAPS: self.config_maps,
            **self.others,
        }

    async def run(self, shared: Collection[str] = ()) -> None:
        """Keep all current forever, but those of the resources `shared`, which others run."""
        async with asyncio.TaskGroup() as group:
            for resource, informer in self.all().items():
                if resource not in shared:
                    group.create_task(informer.run(), name=f"informer of {resource}")

    async def synced(self) -> None:
        """Wait until all have taken their first list."""
        for informer in self.all().values():
            await informer.synced()

    async def reached(self, revision: int) -> None:
        """Wait until all know everything committed up to the revision."""
        for informer in self.all().values():
            await informer.reached(revision)


def _named(stored: StoredObject) -> Named:
    return Named(stored.meta, stored.revision)
