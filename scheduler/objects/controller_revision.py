"""Typed view of ControllerRevisions: the templates that a DaemonSet or StatefulSet has had."""

import msgspec

from .json import JsonObject
from .meta import ObjectMeta
from .pod import View
from .pod_owner import PodTemplate
from .stored import StoredObject

RESOURCE = "controllerrevisions.apps"
LABEL = "controller-revision-hash"
"""Of a ControllerRevision and of the pods of its template."""


class ControllerRevision(msgspec.Struct, frozen=True):
    """A template that an owner has had.

    Args:
        number: later ones have higher numbers.
    """

    meta: ObjectMeta
    number: int
    template: PodTemplate
    stored: StoredObject

    @property
    def hash(self) -> str:
        """The template's name, as its pods carry it."""
        return self.meta.labels.get(LABEL, "")


class _Spec(View, frozen=True):
    template: PodTemplate = PodTemplate()


class _Data(View, frozen=True):
    spec: _Spec = _Spec()


class _Body(View, frozen=True):
    data: _Data = _Data()
    revision: int = 0


_body = msgspec.json.Decoder(_Body)


def revision_view(stored: StoredObject) -> ControllerRevision:
    """Return the typed view of a stored ControllerRevision."""
    body = _body.decode(stored.body.json)
    return ControllerRevision(stored.meta, body.revision, body.data.spec.template, stored)


def revision_body(template: PodTemplate, number: int) -> bytes:
    """Return the body of a ControllerRevision: a patch of its owner, for `rollout undo`."""
    patch: JsonObject = {
        "metadata": msgspec.to_builtins(template.metadata),
        "spec": msgspec.json.decode(template.spec),
        "$patch": "replace",
    }
    body: JsonObject = {"data": {"spec": {"template": patch}}, "revision": number}
    return msgspec.json.encode(body, order="deterministic")
