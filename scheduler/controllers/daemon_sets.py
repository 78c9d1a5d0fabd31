"""Keeps a pod of every DaemonSet on every node that it is for (apps/v1).

The decision is daemon_plan.plan. Each pod names its node in its affinity, as upstream's do, so that
placement decides and binds; nothing is bound here.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from ..errors import Forbidden, Invalid, StatusError
from ..objects.controller_revision import LABEL
from ..objects.daemon_set import DaemonSet, daemon_tolerations
from ..objects.json import Json, JsonObject
from ..objects.kind import KindRegistry
from ..objects.kinds.fields import children, ensure
from ..objects.node import Node
from ..objects.pod_owner import DAEMON_SET
from ..objects.stored import ObjectKey
from ..store.operations import Create
from .clock import Clock
from .daemon_plan import DaemonPlan, plan
from .fenced_store import FencedStore
from .informers import OWNER, Informers, orphans
from .owned_pods import OwnedPods
from .pod_claims import pod_claims
from .pod_control import PodControl
from .pod_template import PodSeries
from .revisions import History, Revisions, marked
from .settings import ControllerSettings
from .status_writes import write_status
from .work_queue import WorkQueue, follow


class DaemonSetController:
    """Runs the plans of all DaemonSets."""

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sets = informers.daemon_sets
        self._nodes = informers.nodes
        self._pods = informers.pods
        self._settings = settings
        self._clock = clock
        self._control = PodControl(
            store, registry, informers, settings, clock, "daemonset-controller"
        )
        self._revisions = Revisions(store, informers.revisions, clock)
        self._queue = WorkQueue[ObjectKey](DAEMON_SET.resource, clock)

    def enrol(self, pods: OwnedPods) -> None:
        """Hear of pods."""
        pods.enrol(DAEMON_SET, self._queue.add, self._sets)

    async def run(self) -> None:
        """Keep the pods, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._sets, self._queue))
            group.create_task(self._control.waits.follow(self._queue.add))
            group.create_task(self._follow_nodes())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_nodes(self) -> None:
        async for deltas in self._nodes.subscribe():
            if any(_matters(delta.old, delta.new) for delta in deltas):
                for key in self._sets.items:
                    self._queue.add(key)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        async with self._control.certainty.of(key):
            daemons = self._sets.get(key.namespace, key.name)
            if daemons is None:
                self._control.forget(key)
                return None
            return await self._keep(daemons)

    async def _keep(self, daemons: DaemonSet) -> timedelta | None:
        namespace, uid = daemons.meta.namespace, daemons.meta.uid
        owned = (p for p in self._pods.by_index(OWNER, uid) if p.meta.namespace == namespace)
        found = pod_claims(daemons, [*owned, *orphans(self._pods, namespace, daemons.selector)])
        if found.adopt or found.release:
            await self._control.adopt(daemons, found.adopt)
            await self._control.release(daemons, found.release)
            return timedelta(0)
        if daemons.meta.deletion_timestamp is not None:
            return None
        history = await self._revisions.history(daemons)
        nodes, now = list(self._nodes.items.values()), self._clock.now()
        planned = plan(daemons, nodes, found.owned, history.present.hash, now, self._settings.burst)
        again = await self._carry_out(daemons, planned, history)
        live = {pod.meta.labels.get(LABEL, "") for pod in found.owned}
        await self._revisions.tidy(history, daemons.spec.revision_history_limit, live)
        return again

    async def _carry_out(
        self, daemons: DaemonSet, planned: DaemonPlan, history: History
    ) -> timedelta | None:
        failure: StatusError | None = None
        await self._control.delete(daemons, planned.deletes)
        try:
            if planned.creates:
                await self._control.create(
                    daemons, await self._made(daemons, planned.creates, history)
                )
        except (Invalid, Forbidden) as error:
            failure = error
        if planned.status != daemons.status:
            await write_status(self._store, DAEMON_SET, daemons.meta, planned.status)
        if failure is not None:
            await self._control.tell_failure(daemons, failure)
        return planned.look_again

    async def _made(
        self, daemons: DaemonSet, nodes: tuple[str, ...], history: History
    ) -> list[Create]:
        template = _tolerant(marked_template(daemons, history.present.hash))
        shape = await self._control.shape(template)
        taken = {pod.meta.name for pod in self._pods.by_index(OWNER, daemons.meta.uid)}
        owner = DAEMON_SET.reference(daemons.meta)
        series = PodSeries(shape, owner, daemons.meta.namespace, taken, self._clock.now())
        return [series.next(shape.varied(on_node(node), shape.meta)) for node in nodes]


def marked_template(daemons: DaemonSet, named: str) -> DaemonSet:
    """Return a DaemonSet whose template's pods carry its name."""
    template = marked(daemons.template, named)
    return replace(daemons, spec=replace(daemons.spec, template=template))


def _tolerant(daemons: DaemonSet) -> DaemonSet:
    """Return a DaemonSet whose template says what every daemon pod tolerates."""
    spec: JsonObject = msgspec.json.decode(daemons.template.spec)
    present = children(spec, "tolerations")
    added = daemon_tolerations(host_network=bool(spec.get("hostNetwork")))
    listed: list[Json] = [msgspec.to_builtins(each) for each in added]
    spec["tolerations"] = [*present, *(each for each in listed if each not in present)]
    template = replace(daemons.template, spec=msgspec.Raw(msgspec.json.encode(spec)))
    return replace(daemons, spec=replace(daemons.spec, template=template))


def on_node(name: str) -> Callable[[JsonObject], None]:
    """Return what has a pod go to one node (ReplaceDaemonSetPodNodeNameNodeAffinity)."""

    def change(spec: JsonObject) -> None:
        field: Json = {"key": "metadata.name", "operator": "In", "values": [name]}
        terms: list[Json] = [{"matchFields": [field]}]
        affinity = ensure(ensure(spec, "affinity"), "nodeAffinity")
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}

    return change


def _matters(old: Node | None, new: Node | None) -> bool:
    """Tell whether a change of a node may change which pods are to be there."""
    if old is None or new is None:
        return True
    before = (old.meta.labels, old.spec.taints, old.spec.unschedulable)
    return before != (new.meta.labels, new.spec.taints, new.spec.unschedulable)
