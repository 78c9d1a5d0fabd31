"""metrics.k8s.io/v1beta1: what nodes and pods use, for `kubectl top` and autoscalers.

A node's usage is that of its pods, sandboxes included; an engine does not tell what else the host
does. Source: Kubernetes k8s.io/metrics/pkg/apis/metrics/v1beta1, metrics-server's behaviour (what
has no measurement yet is left out of lists, and not found).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from aiohttp import web

from ..errors import NotFound
from ..meter import WINDOW, Rate, Rates, measured
from ..objects.json import Json, JsonObject
from ..objects.kind import Kind
from ..objects.meta import ObjectMeta, now_seconds
from ..objects.pod import Pod, pod_view
from ..objects.stored import StoredObject
from .backend import Backend
from .listing import Lister
from .request import Call
from .selection import select
from .status_errors import JSON
from .updating import Updater

_STRETCH = 500  # pods looked at before others get a turn
_MOST = 50_000  # pods in one answer


@dataclass(frozen=True, slots=True)
class ResourceMetrics:
    """Answers GET on nodes and pods of metrics.k8s.io."""

    backend: Backend

    async def answer(self, call: Call) -> web.Response:
        """Return one measurement or a list of them.

        Raises:
            NotFound: there is no such object, or it has not been measured.
        """
        objects = await self._objects(call)
        measure = self._nodes if call.kind.kind == "NodeMetrics" else self._pods
        items = await measure(objects)
        version = call.kind.group_version
        if not call.name:
            listed: list[Json] = [*items]
            body: JsonObject = {
                "kind": f"{call.kind.kind}List",
                "apiVersion": version,
                "metadata": {},
                "items": listed,
            }
        elif items:
            body = {"kind": call.kind.kind, "apiVersion": version, **items[0]}
        else:
            raise NotFound(
                f'{call.kind.plural}.{call.kind.group} "{call.name}" has no measurement: '
                "nothing of it runs, or its host does not answer",
                kind=call.kind.plural,
                group=call.kind.group,
                name=call.name,
            )
        return web.Response(body=msgspec.json.encode(body), headers={"Content-Type": JSON})

    async def _objects(self, call: Call) -> Sequence[StoredObject]:
        """Return the nodes or pods themselves that are asked about."""
        kind = self._measured(call.kind)
        if call.name:
            about = replace(call, kind=kind)
            return (await Updater(self.backend).current(about),)
        selection = select(kind, call.namespace, "", call.query)
        _revision, found = await Lister(self.backend).select(selection)
        return found[:_MOST]

    def _measured(self, kind: Kind) -> Kind:
        return self.backend.registry.by_resource(kind.plural)

    async def _nodes(self, nodes: Sequence[StoredObject]) -> list[JsonObject]:
        rates = await self.backend.meter.rates(stored.meta.name for stored in nodes)
        found: list[JsonObject] = []
        for stored in nodes:
            if stored.meta.name in rates:
                each = tuple(rates[stored.meta.name].values())
                found.append({**_head(stored.meta, each), "usage": _usage(each)})
        return found

    async def _pods(self, stored: Sequence[StoredObject]) -> list[JsonObject]:
        pods: list[Pod] = []
        for start in range(0, len(stored), _STRETCH):
            views = map(pod_view, stored[start : start + _STRETCH])
            pods += [pod for pod in views if pod.node and pod.status.phase == "Running"]
            await asyncio.sleep(0)
        rates = await self.backend.meter.rates(pod.node for pod in pods)
        found = (_pod(pod, rates.get(pod.node, {})) for pod in pods)
        return [each for each in found if each is not None]


def _pod(pod: Pod, rates: Rates) -> JsonObject | None:
    """Return a pod's measurement, None until every running container has one."""
    found = measured(pod, rates)
    if found is None:
        return None
    containers: list[Json] = [
        {"name": name, "usage": _usage((rate,))} for name, rate in found.items()
    ]
    return {**_head(pod.meta, [*found.values()]), "containers": containers}


def _head(meta: ObjectMeta, rates: Sequence[Rate]) -> JsonObject:
    now = now_seconds().strftime("%Y-%m-%dT%H:%M:%SZ")
    shown: JsonObject = {"name": meta.name, "creationTimestamp": now}
    if meta.namespace:
        shown["namespace"] = meta.namespace
    if meta.labels:
        shown["labels"] = dict(meta.labels)
    seconds = max((rate.seconds for rate in rates), default=WINDOW)
    return {"metadata": shown, "timestamp": now, "window": f"{seconds:.3f}s"}


def _usage(rates: Sequence[Rate]) -> JsonObject:
    cores, memory = sum(r.nanocores for r in rates), sum(r.memory_bytes for r in rates)
    return {"cpu": f"{cores}n", "memory": f"{memory // 1024}Ki"}
