"""A bound pod with all a node agent needs of it: the typed view, and the stored form to write."""

from datetime import datetime

import msgspec

from ..objects.pod import Pod
from ..objects.stored import ObjectKey, StoredObject

BY_NODE = "node"


class AssignedPod(msgspec.Struct, frozen=True):
    """A pod of the store that is bound to a node."""

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


def assigned(pod: Pod) -> AssignedPod:
    """Return an informer's pod with its stored form."""
    assert pod.stored is not None, "an informer's pods come from the store"
    return AssignedPod(pod.stored, pod)


class _Account(msgspec.Struct, rename="camel", frozen=True):
    service_account_name: str = ""


class _AccountBody(msgspec.Struct):
    spec: _Account = _Account()


_account = msgspec.json.Decoder(_AccountBody)


def service_account(stored: StoredObject) -> str:
    """Return the pod's service account name."""
    return _account.decode(stored.body.json).spec.service_account_name or "default"
