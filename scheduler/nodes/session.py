"""One open connection to a host: looks at it, pings it, and runs a worker for each of its pods."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from msgspec.structs import replace as with_fields

from ..drivers import Host, PodObservation
from ..errors import Conflict, DriverError, HostUnreachable, NotFound
from ..foreign import FOREIGN, Adopted, AdoptingHost
from ..objects.pod import Pod, PodStatus
from ..objects.stored import ObjectKey
from ..store.operations import Remove, Replace
from . import network_part
from .adoption import adopted, adopts
from .api_gateway import ApiGateway
from .assigned_pod import AssignedPod
from .circuit import Circuit
from .company import HostCompany
from .container_limits import node_limits
from .environment import no_links
from .evictions import Evictions
from .execution import Workshop
from .fence import Fence, is_stale
from .foreign_watch import ForeignWatch
from .health import Watch
from .host_storage import HostStorage
from .image_pulling import Words
from .lifecycle import Decision, DesiredPod
from .memory import Backoff, PodMemory
from .network_telling import NetworkTelling
from .office import Office
from .pod_worker import PodWorker
from .pressure import pressure_limits
from .pressure_watch import Before, PressureWatch
from .probing import ProbedPod, Prober
from .registrar import Registrar
from .registration import Part, Registration, allocatable
from .roster import Roster
from .storage_limit_watch import StorageLimitWatch

_log = logging.getLogger(__name__)
_OWN = frozenset({"create", "start"})  # actions the workers know of, having caused them

Answer = TypeVar("Answer")


class Session:
    """Runs until the connection breaks.

    Args:
        memories: of the host's pods by uid; outlive the session.
        registrar: takes in what the session finds out of the host.
    """

    def __init__(
        self,
        office: Office,
        made: Registration,
        host: Host,
        memories: dict[str, PodMemory],
        registrar: Registrar,
    ) -> None:
        self._registrar = registrar
        self._office = office
        self._node = made.host.name
        self._runtime = made.info.engine.partition(":")[0]
        self._adopted: dict[str, tuple[str, Adopted]] = {}  # by pod: its container's id
        self._wanted = asyncio.Event()
        self._ended = False
        self._looked = asyncio.Condition()
        self._group = asyncio.TaskGroup()
        self.host = host
        self.alive_at = asyncio.get_running_loop().time()
        self.looks = 0
        self._fence = Fence()
        self.fence = self._fence.opened
        self._roster = Roster(office, self._node, memories, self)
        self.company = HostCompany(
            host, self._roster, self._fence, self._runtime, made.address, self.look_soon
        )
        if made.network is not None:
            self.company.disband()  # there pods have addresses and tokens of their own
        pace = Backoff(office.settings.reconnect_initial, office.settings.reconnect_limit)
        self.pacer = office.work
        self.circuit = Circuit(self._circuit_changed, pace)
        self.shop = self._workshop(made)
        self._prober = Prober(host, self._tell)
        settings = office.settings
        self._storage = HostStorage(
            self._node, host.images, registrar.stored, settings.collection, settings.storage
        )
        self.others = ForeignWatch(
            self._node,
            host,
            made.foreign,
            registrar.shared,
            settings.storage,
            settings.foreign_settle,
        )
        desk = Evictions(office, self._node, self._roster, self.company, self._storage, registrar)
        limits = pressure_limits(made.host.spec)
        self.pressure = PressureWatch(
            self._node, host, limits, Before(made.pressures, made.disk), desk, settings.pressure
        )
        self._limits = StorageLimitWatch(self._node, host, desk, settings.storage_limits)
        self._leaves = made.part is Part.LEAVING
        self._network = NetworkTelling(
            host, made.network, office.network, registrar.networked, pace, office.tellings
        )
        service = office.gateway if made.network is not None else None
        self._api = ApiGateway(self._node, host, service, self._network.have, pace, office.tellings)

    def _workshop(self, made: Registration) -> Workshop:
        network = self._office.network
        return Workshop(
            node=self._node,
            host=self.host,
            puller=self._office.puller,
            objects=self._office.store,
            news=self._office.sources.news,
            settings=self._office.settings,
            epoch=self._office.epoch,
            host_ip=made.address,
            allocatable=allocatable(made),
            limits=node_limits(made),
            network=made.network,
            links=network.links if network is not None and made.network is not None else no_links,
            api=self._office.api,
            account=self._office.sources.account,
            tell=self._tell,
        )

    def remade(self, made: Registration) -> None:
        """Take in a changed DockerHost (addresses and allocatable reach new containers)."""
        self.shop = self._workshop(made)
        self.company.host_ip = made.address
        self.pressure.limits = pressure_limits(made.host.spec)

    async def run(self) -> None:
        """Look, listen and ping until the host does not answer.

        The informer of pods must have seen what was bound before this leader.

        Raises:
            ExceptionGroup: of HostUnreachable and other DriverErrors, or Unavailable.
        """
        async with self._group as group:
            group.create_task(self._listen(), name=f"{self._node} events")
            await asyncio.sleep(0)  # events first, then the list: nothing falls in between
            self._roster.begin()
            try:
                group.create_task(self._ping(), name=f"{self._node} ping")
                group.create_task(self._prober.run(group), name=f"{self._node} probes")
                group.create_task(self._storage.run(), name=f"{self._node} disk")
                group.create_task(self.others.run(), name=f"{self._node} others")
                group.create_task(self.pressure.run(), name=f"{self._node} pressure")
                group.create_task(self._limits.run(), name=f"{self._node} limits of storage")
                group.create_task(self._network.run(), name=f"{self._node} network")
                group.create_task(self._api.run(), name=f"{self._node} API of pods")
                if self._leaves:
                    leave = partial(self._registrar.leave, self.host)
                    leaving = network_part.leaving(self._node, leave)
                    group.create_task(leaving, name=f"{self._node} old subnet")
                await self._look_forever()
            finally:
                self._ended = True
                self._roster.close()

    # --- the pods the store has on this host ------------------------------------------------

    def notice(self, uid: str, current: AssignedPod | None) -> None:
        """Take in a pod's present state in the store, None when it is not on this host."""
        if self._ended:
            return  # the next session reads it
        self._roster.put(uid, current)
        self.company.leave(uid)
        worker = self._roster.workers.get(uid)
        if worker is not None:
            worker.poke()
        elif current is not None and adopts(current.pod):
            self.look_soon()  # its container is there, but the driver has not been told
        elif current is not None and self._roster.looked:
            # The last look found nothing of it.
            self._roster.worker(uid).see(self._roster.looked, None)

    def assigned(self, uid: str) -> AssignedPod | None:
        """Return the pod if the store has it on this host."""
        return self._roster.assigned.get(uid)

    def desired(self, assigned: AssignedPod, shown: PodStatus) -> DesiredPod:
        """Return the pod as the lifecycle wants it."""
        return DesiredPod(
            pod=with_fields(assigned.pod, status=shown),
            bound_at=assigned.bound_at or datetime.now(UTC),
            host_ip=self.shop.host_ip,
            runtime=self._runtime,
        )

    def report(self, assigned: AssignedPod, status: PodStatus) -> None:
        """Have a status written."""
        self._office.statuses.put(assigned.key, assigned.uid, status)

    def probe(self, uid: str, probed: ProbedPod | None, watches: Sequence[Watch]) -> None:
        """Have exactly these probes of a pod go on; a pod that is gone has none."""
        self._prober.watch(uid, probed, watches)

    def follow(
        self,
        uid: str,
        keys: frozenset[ObjectKey],
        changed: Callable[[], None],
        renewal: float | None = None,
    ) -> None:
        """Have a pod hear of changes of what its volumes are made of."""
        self._office.sources.register(uid, keys, changed, renewal)

    async def finish(self, assigned: AssignedPod) -> None:
        """Remove a deleted pod from the store; finalizers keep it, then only its grace ends."""
        stored, epoch = assigned.stored, self._office.epoch
        with contextlib.suppress(NotFound, Conflict):  # gone or changed: news will come
            if not stored.meta.finalizers:
                await self._office.store.write(Remove(stored.key, uid=stored.meta.uid, epoch=epoch))
            elif stored.meta.deletion_grace_period_seconds:
                meta = with_fields(stored.meta, deletion_grace_period_seconds=0)
                await self._office.store.write(
                    Replace("pods", meta, stored.body, stored.status, stored.revision, epoch)
                )

    def _circuit_changed(self, failure: DriverError | None) -> None:
        self._begin(self._registrar.stuck(str(failure) if failure else ""))

    def _tell(self, pod: Pod, words: Words, container: str) -> None:
        self._office.events.record(pod, self._node, words, container)

    # --- workers ----------------------------------------------------------------------------

    def spawn(self, worker: PodWorker) -> asyncio.Task[None] | None:
        """Run a worker as a task of this session; None when the session is ending."""
        return self._begin(worker.run())

    def spawn_action(self, worker: PodWorker, decision: Decision) -> asyncio.Task[bool] | None:
        """Run a decision's instructions as a task of this session; None when it is ending."""
        return self._begin(worker.carry_out(decision))

    def _begin(self, work: Coroutine[None, None, Answer]) -> asyncio.Task[Answer] | None:
        """Run some work as a task of this session; None when the session is ending.

        That a task has failed is known to the group at once, here only when `run` goes on; and
        what comes in between, news of a pod say, must not end more than this session.
        """
        try:
            return self._group.create_task(work)
        except RuntimeError:
            work.close()
            return None

    def settled(self, worker: PodWorker) -> None:
        """Hear that a worker came to rest; forget it when its pod is gone from both sides."""
        self._fence.hear(worker.uid, worker.observed)
        self._roster.rested(worker)

    # --- looking ----------------------------------------------------------------------------

    async def look_around(self) -> None:
        """Find out what else runs on the host, before the session runs."""
        self._roster.read()
        await self._adopt()
        await self.others.look()

    def look_soon(self) -> None:
        """Ask for a look at the host."""
        self._wanted.set()

    async def looked(self) -> None:
        """Wait for a look that begins after this call."""
        wanted = self.looks + 1
        self.look_soon()
        async with self._looked:
            await self._looked.wait_for(lambda: self._roster.looked >= wanted)

    async def _look_forever(self) -> None:
        settings = self._office.settings
        while True:
            wanted = self._wanted.is_set()
            await self._office.looks.send(self._look, first=wanted)
            await asyncio.sleep(settings.settle)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.resync * random.uniform(0.75, 1.25)):
                    await self._wanted.wait()

    async def _look(self) -> None:
        """List everything on the host once and hand it to the workers."""
        self._wanted.clear()
        self.looks += 1
        look = self.looks
        await self._adopt()
        found = await self._observe()
        if look == 1:
            self._find_stale(found)
        roster, quiet = self._roster, self.company.quiet(found)
        unknown = {uid for uid, each in roster.assigned.items() if adopts(each.pod)}
        unknown -= self._adopted.keys()  # bound meanwhile: the driver has not been told
        spared = quiet | self.company.claimed | unknown
        for uid in {*found, *roster.workers, *roster.assigned} - spared:
            roster.worker(uid).see(look, found.get(uid))
        async with self._looked:
            self._roster.looked = look
            self._looked.notify_all()

    async def _adopt(self) -> None:
        """Tell the driver which containers are pods that were not made as such."""
        epoch = self._office.epoch
        workers = self._roster.workers
        wanted = {uid: each for uid, each in self._adopted.items() if uid in workers}
        for uid, each in self._roster.assigned.items():
            container = adopts(each.pod)
            if container and uid not in wanted:
                wanted[uid] = (container, adopted(each.pod, epoch))
        if wanted != self._adopted and isinstance(self.host, AdoptingHost):
            await self.host.adopt(dict(wanted.values()))
            self.others.look_soon()  # they are no longer others
        self._adopted = wanted

    async def _observe(self) -> Mapping[str, PodObservation]:
        try:
            async with asyncio.timeout(self._office.settings.list_timeout):
                return {seen.identity.uid: seen for seen in await self.host.observe()}
        except TimeoutError as error:
            raise HostUnreachable(
                f"host {self._node} did not list its containers in time"
            ) from error

    def _find_stale(self, found: Mapping[str, PodObservation]) -> None:
        """Keep new pods out until what should not run here any more is gone."""
        present = self._roster.assigned
        stale = {uid for uid, each in found.items() if is_stale(present.get(uid), each)}
        if stale:
            _log.info("host %s: removing %d stale pods first", self._node, len(stale))
        self._fence.hold(stale)

    async def _listen(self) -> None:
        async for event in self.host.events():
            if event.action == FOREIGN:
                self.others.look_soon()
                continue
            if event.action in _OWN:
                continue
            worker = self._roster.workers.get(event.pod_uid)
            if worker is not None:
                worker.hear()
            self.look_soon()
        raise HostUnreachable(f"host {self._node}: the event stream ended")

    async def _ping(self) -> None:
        await self._office.pulse.watch(self._node, self.host, self._answered)

    def _answered(self) -> None:
        self.alive_at = asyncio.get_running_loop().time()
