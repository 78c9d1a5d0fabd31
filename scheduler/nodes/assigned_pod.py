"""A bound pod with all a node agent needs of it: the typed view, and the stored form to write."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from ..objects.pod import Pod, pod_view
from ..objects.stored import ObjectKey, StoredObject

BY_NODE = "node"


class AssignedPod(msgspec.Struct, frozen=True):
    """A pod as the node agents' informer keeps it (unbound ones too; agents never see those)."""

    stored: StoredObject
    pod: Pod

    @property
    def key(self) -> ObjectKey:
        """The pod's key."""
        return self.stored.key

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return self.pod.meta.uid

    @property
    def bound_at(self) -> datetime | None:
        """When its binding was written."""
        return self.stored.binding.bound_at if self.stored.binding else None


def assigned_pod_view(stored: StoredObject) -> AssignedPod:
    """Return the view an informer keeps."""
    return AssignedPod(stored, pod_view(stored))


def nodes_of(assigned: AssignedPod) -> Iterable[str]:
    """Return the node a pod is bound to, for an index."""
    return (assigned.pod.node,) if assigned.pod.node else ()


class _Account(msgspec.Struct, rename="camel", frozen=True):
    service_account_name: str = ""


class _AccountBody(msgspec.Struct):
    spec: _Account = _Account()


_account = msgspec.json.Decoder(_AccountBody)


def service_account(stored: StoredObject) -> str:
    """Return the pod's service account name."""
    return _account.decode(stored.body.json).spec.service_account_name or "default"
