"""The kinds that own pods, and how an owner's selector finds them."""

from functools import lru_cache
from typing import Protocol

import msgspec

from ..errors import BadRequest
from .meta import ObjectMeta, OwnerReference
from .pod import AT_MOST_ONCE, View
from .pod_class import REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS
from .selectors import NOTHING, Selector, from_label_selector, from_map
from .stored import ObjectKey


class OwnerKind(msgspec.Struct, frozen=True):
    """A kind whose objects control others: as owner references and as keys name it."""

    api_version: str
    kind: str
    resource: str

    def reference(self, meta: ObjectMeta) -> OwnerReference:
        """Return the reference that makes an object of this kind control another one."""
        return OwnerReference(
            self.api_version,
            self.kind,
            meta.name,
            meta.uid,
            controller=True,
            block_owner_deletion=True,
        )

    def key(self, meta: ObjectMeta) -> ObjectKey:
        """Return the key of an object of this kind."""
        return ObjectKey(self.resource, meta.namespace, meta.name)


REPLICATION_CONTROLLER = OwnerKind("v1", "ReplicationController", REPLICATION_CONTROLLERS)
REPLICA_SET = OwnerKind("apps/v1", "ReplicaSet", REPLICA_SETS)
DEPLOYMENT = OwnerKind("apps/v1", "Deployment", "deployments.apps")
DAEMON_SET = OwnerKind("apps/v1", "DaemonSet", "daemonsets.apps")
STATEFUL_SET = OwnerKind("apps/v1", "StatefulSet", STATEFUL_SETS)
CRON_JOB = OwnerKind("batch/v1", "CronJob", "cronjobs.batch")
JOB = OwnerKind("batch/v1", "Job", "jobs.batch")

REPLACING = frozenset({REPLICATION_CONTROLLER.kind, REPLICA_SET.kind})
"""Kinds that make a pod's replacement before it goes, where its annotations ask for it."""


class TemplateMeta(View, frozen=True):
    """The metadata of a pod template that pods inherit."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


class PodTemplate(View, frozen=True):
    """core/v1 PodTemplateSpec; the spec stays JSON, because pods keep all of it."""

    metadata: TemplateMeta = TemplateMeta()
    spec: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def at_most_once(self) -> bool:
        """True when none of its pods has a successor before it has ended or is gone."""
        return self.metadata.annotations.get(AT_MOST_ONCE) == "true"


class PodOwner(Protocol):
    """What makes pods of a template, and counts those that its selector finds."""

    @property
    def meta(self) -> ObjectMeta:
        """Its metadata."""
        ...

    @property
    def owner_kind(self) -> OwnerKind:
        """Its kind."""
        ...

    @property
    def selector(self) -> Selector:
        """Which pods are its own."""
        ...

    @property
    def template(self) -> PodTemplate | None:
        """What its pods are like."""
        ...


@lru_cache(maxsize=8192)
def label_selector(raw: bytes) -> Selector:
    """Return the selector of a LabelSelector as JSON; one that was stored malformed finds nothing.

    An empty one finds nothing, too: no owner may claim every pod of its namespace.
    """
    try:
        found = from_label_selector(msgspec.json.decode(raw or b"null"))
    except BadRequest:
        return NOTHING
    return NOTHING if found.everything else found


def map_selector(labels: dict[str, str]) -> Selector:
    """Return the selector of a map of labels; an empty one finds nothing."""
    return from_map(labels) if labels else NOTHING
