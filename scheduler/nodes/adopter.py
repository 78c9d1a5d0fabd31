"""Binds pods to the hosts where the containers that they are to be run already."""

import asyncio
import contextlib
from collections.abc import Callable

from ..drivers import Host
from ..errors import Conflict, DriverError, NotFound, StatusError
from ..foreign import AdoptingHost
from ..objects.pod import Pod
from ..objects.pod_class import pod_class
from ..objects.stored import ObjectKey
from ..store.operations import Bind
from ..store.store import Store
from .adoption import adopts, refusal
from .event_recorder import EventRecorder

_AGAIN, _REFUSED = 0.5, 5.0  # seconds, until a pod is tried again: after a lost race, a refusal
_WITHIN = 10.0  # seconds for a host to answer; the others wait for it
_MOST = 1024  # pods that wait at once; further ones are seen to when the service starts again


class Adopter:
    """One per leader.

    Args:
        host: the open connection of a node, if there is one.
    """

    def __init__(
        self, store: Store, epoch: int, host: Callable[[str], Host | None], events: EventRecorder
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._host = host
        self._events = events
        self._waiting: dict[str, Pod] = {}
        self._said: dict[str, str] = {}
        self._pods: dict[str, str] = {}  # container's id → uid of the pod that it is
        self._news = asyncio.Event()

    def notice(self, old: Pod | None, new: Pod | None) -> None:
        """Take in a pod's present state in the store."""
        if old is not None and (new is None or new.meta.uid != old.meta.uid):
            self._forget(old)
        if new is None or not adopts(new):
            return
        if new.meta.deletion_timestamp is not None and not new.node:
            self._forget(new)
        elif new.node:
            self._pods.setdefault(adopts(new), new.meta.uid)
            self._waiting.pop(new.meta.uid, None)
        elif new.spec.node_name and (len(self._waiting) < _MOST or new.meta.uid in self._waiting):
            self._waiting[new.meta.uid] = new
            self._news.set()

    def _forget(self, pod: Pod) -> None:
        self._waiting.pop(pod.meta.uid, None)
        self._said.pop(pod.meta.uid, None)
        if self._pods.get(adopts(pod)) == pod.meta.uid:
            del self._pods[adopts(pod)]

    async def run(self) -> None:
        """Bind pods, until cancelled.

        Raises:
            Fenced: another leader has taken over.
        """
        pause = _REFUSED
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if self._waiting else None):
                    await self._news.wait()
            self._news.clear()
            outcomes = [await self._try(pod) for pod in list(self._waiting.values())]
            pause = _AGAIN if None in outcomes else _REFUSED

    async def _try(self, pod: Pod) -> str | None:
        try:
            async with asyncio.timeout(_WITHIN):
                why = await self._adopt(pod)
        except TimeoutError:
            why = f"host {pod.spec.node_name} does not answer"
        except (DriverError, StatusError) as error:
            why = str(error)
        self._tell(pod, why)
        return why

    async def _adopt(self, pod: Pod) -> str | None:
        """Bind a pod if its container runs where it says.

        Returns:
            Why it cannot be, "" when it is, None when it is to be tried again.
        """
        container, node = adopts(pod), pod.spec.node_name
        revision = await self._store.revision()
        host = self._host(node)
        if host is None:
            return f"host {node} is not connected"
        if not isinstance(host, AdoptingHost):
            return f"host {node} is of a sort whose containers cannot be adopted"
        holder = self._pods.get(container, pod.meta.uid)
        if holder != pod.meta.uid:
            return f"another pod (uid {holder}) is this container"
        found = {each.holds.id: each for each in await host.describe((container,), "")}
        why = refusal(pod, found.get(container))
        if why:
            return why
        wanted = pod_class(pod)
        ports = tuple((p.host_ip, p.protocol, p.port) for p in wanted.host_ports)
        key = ObjectKey("pods", pod.meta.namespace, pod.meta.name)
        requests = wanted.requests.amounts
        bind = Bind(key, pod.meta.uid, node, revision, requests, ports, epoch=self._epoch)
        try:
            await self._store.write(bind)
        except NotFound:
            return None  # news of that comes
        except Conflict as error:
            taken = "host port" in str(error)
            return str(error) if taken else None  # else the Node has been written meanwhile
        self._pods[container] = pod.meta.uid
        self._waiting.pop(pod.meta.uid, None)
        return ""

    def _tell(self, pod: Pod, why: str | None) -> None:
        """Record an event when a pod has been bound, or the reason why it waits has changed."""
        before = self._said.pop(pod.meta.uid, "")
        if why:
            self._said[pod.meta.uid] = why
        if why is None or (why and why == before):
            return
        what = f"is not adopted: {why}" if why else "is this pod from now on; it was not restarted"
        kind, reason = ("Warning", "FailedAdoption") if why else ("Normal", "Adopted")
        words = (kind, reason, f"The container {adopts(pod)[:12]} {what}")
        self._events.record(pod, pod.spec.node_name, words)
