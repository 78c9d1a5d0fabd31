"""Keeps the numbered pods of StatefulSets, and the claims that go with each number (apps/v1).

The decision is stateful_plan.plan. A claim is made before its pod, and stays when the pod goes.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from ..errors import AlreadyExists, Forbidden, Invalid, StatusError
from ..objects.controller_revision import LABEL, ControllerRevision
from ..objects.json import Json, JsonObject
from ..objects.kind import KindRegistry
from ..objects.kinds.fields import child, children, text
from ..objects.kinds.limit_admission import claim_refusals
from ..objects.meta import ObjectMeta, new_uid
from ..objects.pod_owner import STATEFUL_SET
from ..objects.stateful_set import (
    POD_INDEX,
    POD_NAME,
    ClaimTemplate,
    StatefulSet,
)
from ..objects.storage import CLAIM_PROTECTION, CLAIMS
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create
from .clock import Clock
from .fenced_store import FencedStore, raise_failures
from .informers import NAMESPACE, OWNER, Informers, orphans
from .owned_pods import OwnedPods
from .pod_claims import pod_claims
from .pod_control import PodControl
from .pod_template import PodMold
from .revisions import History, Revisions
from .settings import ControllerSettings
from .stateful_plan import Place, StatefulPlan, plan
from .status_writes import write_status
from .work_queue import WorkQueue, follow

_UNBOUND = b'{"phase":"Pending"}'


class StatefulSetController:
    """Runs the plans of all StatefulSets."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sets = informers.stateful_sets
        self._pods = informers.pods
        self._limits = informers.limits
        self._settings = settings
        self._clock = clock
        self._control = PodControl(
            store, registry, informers, settings, clock, "statefulset-controller"
        )
        self._revisions = Revisions(store, informers.revisions, clock)
        self._queue = WorkQueue[ObjectKey](STATEFUL_SET.resource, clock)

    def enrol(self, pods: OwnedPods) -> None:
        """Hear of pods."""
        pods.enrol(STATEFUL_SET, self._queue.add, self._sets)

    async def run(self) -> None:
        """Keep the pods, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._sets, self._queue))
            group.create_task(self._control.waits.follow(self._queue.add))
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._control.certainty.of(key):
            stateful = self._sets.get(key.namespace, key.name)
            if stateful is None:
                self._control.forget(key)
                return None
            return await self._keep(stateful)

    async def _keep(self, stateful: StatefulSet) -> timedelta | None:
        namespace, uid = stateful.meta.namespace, stateful.meta.uid
        owned = (p for p in self._pods.by_index(OWNER, uid) if p.meta.namespace == namespace)
        strays = orphans(self._pods, namespace, stateful.selector)
        found = pod_claims(
            stateful,
            [*owned, *strays],
            lambda pod: stateful.ordinal_of(pod.meta.name) is not None,
        )
        if found.adopt or found.release:
            await self._control.adopt(stateful, found.adopt)
            await self._control.release(stateful, found.release)
            return timedelta(0)
        if stateful.meta.deletion_timestamp is not None:
            return None
        history = await self._revisions.history(stateful)
        update = history.present.meta.name
        names = {each.meta.name for each in history.revisions}
        current = stateful.status.current_revision
        current = current if current in names else update
        planned = plan(stateful, found.owned, current, update, self._clock.now())
        again = await self._carry_out(stateful, planned, history)
        live = {pod.meta.labels.get(LABEL, "") for pod in found.owned} | {current}
        kept = {each.hash for each in history.revisions if each.meta.name in live}
        await self._revisions.tidy(history, stateful.spec.revision_history_limit, kept)
        return again

    async def _carry_out(
        self, stateful: StatefulSet, planned: StatefulPlan, history: History
    ) -> timedelta | None:
        failure: StatusError | None = None
        await self._control.delete(stateful, planned.deletes)
        try:
            if planned.creates:
                await self._create(stateful, planned.creates, history)
        except (Invalid, Forbidden) as error:
            failure = error
        if planned.status != stateful.status:
            written = await write_status(self._store, STATEFUL_SET, stateful.meta, planned.status)
            await self._sets.reached(written)
        if failure is not None:
            await self._control.tell_failure(stateful, failure)
        return planned.look_again

    async def _create(
        self, stateful: StatefulSet, places: Sequence[Place], history: History
    ) -> None:
        revisions = {each.meta.name: each for each in history.revisions}
        writes: list[Create] = []
        for place in places:
            shape = await self._shape(stateful, revisions[place.revision])
            writes.append(self._pod(stateful, place, shape))
            await self._make_claims(stateful, place.ordinal)
        await self._control.create(stateful, writes)

    async def _shape(self, stateful: StatefulSet, revision: ControllerRevision) -> PodMold:
        """Return what pods of a template have in common; it is checked with its claims."""
        spec: JsonObject = msgspec.json.decode(revision.template.spec)
        spec["volumes"] = with_claims(stateful, spec, stateful.spec.ordinals.start)
        encoded = msgspec.Raw(msgspec.json.encode(spec))
        template = replace(revision.template, spec=encoded)
        made = replace(stateful, spec=replace(stateful.spec, template=template))
        return await self._control.shape(made)

    def _pod(self, stateful: StatefulSet, place: Place, shape: PodMold) -> Create:
        name = f"{stateful.meta.name}-{place.ordinal}"

        def change(spec: JsonObject) -> None:
            spec["hostname"] = name
            if stateful.spec.service_name:
                spec["subdomain"] = stateful.spec.service_name
            spec["volumes"] = with_claims(stateful, spec, place.ordinal)
            if not spec["volumes"]:
                del spec["volumes"]

        said = {LABEL: place.revision, POD_NAME: name, POD_INDEX: str(place.ordinal)}
        meta = replace(shape.meta, labels={**shape.meta.labels, **said})
        varied = shape.varied(change, meta)
        meta = replace(
            varied.meta,
            name=name,
            namespace=stateful.meta.namespace,
            uid=new_uid(),
            generation=1,
            creation_timestamp=self._clock.now(),
            owner_references=(STATEFUL_SET.reference(stateful.meta),),
        )
        return Create("pods", meta, varied.body, varied.status)

    async def _make_claims(self, stateful: StatefulSet, ordinal: int) -> None:
        writes: list[Create] = []
        for template in stateful.spec.volume_claim_templates:
            name = claim_name(stateful, template, ordinal)
            if await self._store.get(ObjectKey(CLAIMS, stateful.meta.namespace, name)) is None:
                writes.append(self._claim(stateful, template, name))
        results = await self._store.write_many(writes)
        made = [r.meta.name for r in results if isinstance(r, StoredObject)]
        await self._control.tell(stateful, "SuccessfulCreate", "Created claim: ", made)
        raise_failures([r for r in results if not isinstance(r, AlreadyExists)])

    def _claim(self, stateful: StatefulSet, template: ClaimTemplate, name: str) -> Create:
        matched = child(msgspec.json.decode(stateful.spec.selector), "matchLabels")
        labels = {key: str(value) for key, value in matched.items()}
        meta = ObjectMeta(
            name=name,
            namespace=stateful.meta.namespace,
            uid=new_uid(),
            generation=1,
            creation_timestamp=self._clock.now(),
            labels={**template.metadata.labels, **labels},
            annotations=template.metadata.annotations,
            finalizers=(CLAIM_PROTECTION,),
        )
        body: JsonObject = {"spec": msgspec.json.decode(template.spec)}
        limits = self._limits.by_index(NAMESPACE, meta.namespace)
        refusals = [*claim_refusals(child(body, "spec"), limits)]
        if refusals:
            raise Forbidden(f"claim {name} is forbidden: {', '.join(refusals)}")
        encoded = Body(msgspec.json.encode(body, order="deterministic"))
        return Create(CLAIMS, meta, encoded, _UNBOUND)


def claim_name(stateful: StatefulSet, template: ClaimTemplate, ordinal: int) -> str:
    """Return the name of the claim of a number."""
    return f"{template.metadata.name}-{stateful.meta.name}-{ordinal}"


def with_claims(stateful: StatefulSet, spec: JsonObject, ordinal: int) -> list[Json]:
    """Return a pod's volumes with the claims of its number in place of those of the same names."""
    templates = stateful.spec.volume_claim_templates
    named = {each.metadata.name for each in templates}
    kept: list[Json] = [v for v in children(spec, "volumes") if text(v, "name") not in named]
    for each in templates:
        claim: Json = {"claimName": claim_name(stateful, each, ordinal)}
        kept.append({"name": each.metadata.name, "persistentVolumeClaim": claim})
    return kept
