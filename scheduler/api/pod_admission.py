"""Pod Security admission: namespaces say by label what their pods may ask for (Kubernetes PSA).

`enforce` refuses pods; `warn` tells the client, also of workloads whose template would be refused;
`audit` goes to the log. Labels that this process wrote count at once, others' within moments.
"""

import copy
import logging

import msgspec

from ..errors import Forbidden
from ..informer import Informer
from ..objects.json import JsonObject
from ..objects.kind import Kind
from ..objects.kinds.apparmor_annotations import are_named, fill_profiles
from ..objects.kinds.fields import child
from ..objects.kinds.pod_security import PREFIX, complaint, level_of
from ..objects.meta import ObjectMeta
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.store import Store

_log = logging.getLogger(__name__)


_body: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


class PodAdmission:
    """Judges pods and pod templates by the labels of their namespace."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._namespaces = Informer(store, "namespaces", _itself)

    async def run(self) -> None:
        """Keep current until cancelled."""
        await self._namespaces.run()

    async def reached(self, revision: int) -> None:
        """Wait until a namespace written at that revision counts."""
        await self._namespaces.reached(revision)

    async def judge_body(self, kind: Kind, meta: ObjectMeta, body: Body) -> list[str]:
        """As `judge`, for an object whose stored form is at hand; decoded only where it matters."""
        labels = await self._labels(meta.namespace)
        return await self.judge(kind, meta, _body.decode(body.json)) if labels else []

    async def _labels(self, namespace: str) -> dict[str, str]:
        """Return the labels of a namespace that are about this."""
        await self._namespaces.synced()
        found = self._namespaces.get("", namespace)
        if found is None:
            found = await self._store.get(ObjectKey("namespaces", "", namespace))
        labels = found.meta.labels if found is not None else {}
        return {key: value for key, value in labels.items() if key.startswith(PREFIX)}

    async def judge(self, kind: Kind, meta: ObjectMeta, obj: JsonObject) -> list[str]:
        """Return warnings for the client.

        Args:
            obj: a whole object; only its pod spec is looked at, of a template also what its
                annotations add to it.

        Raises:
            Forbidden: it is a pod, and the namespace's level forbids it.
        """
        pod = kind.resource == "pods"
        spec = child(obj, "spec")
        if not pod:
            spec = child(child(spec, "jobTemplate"), "spec") or spec
            template = child(spec, "template")
            if are_named(child(child(template, "metadata"), "annotations")):
                template = copy.deepcopy(template)
                fill_profiles(template)
            spec = child(template, "spec")
        if not spec or not meta.namespace:
            return []
        labels = await self._labels(meta.namespace)
        if not labels:
            return []
        name = meta.name or meta.generate_name
        if pod:
            refusal = complaint(spec, level_of(labels, "enforce"))
            if refusal:
                raise Forbidden(
                    f'pods "{name}" is forbidden: violates {refusal}', kind="pods", name=name
                )
        audit = complaint(spec, level_of(labels, "audit"))
        if audit:
            _log.warning("%s %s/%s would violate %s", kind.kind, meta.namespace, name, audit)
        warning = complaint(spec, level_of(labels, "warn"))
        return [f"would violate {warning}"] if warning else []


def _itself(stored: StoredObject) -> StoredObject:
    return stored
