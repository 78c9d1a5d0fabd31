"""One open connection to a host: looks at it, pings it, and runs a worker for each of its pods."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace as with_fields

from ..drivers import CrowdHost, EngineState, Host, PodObservation
from ..errors import Conflict, DriverError, HostUnreachable, NotFound
from ..foreign import FOREIGN, Adopted, AdoptingHost, ForeignContainer
from ..objects.cohort import Cohort
from ..objects.disruption import BY_KUBELET, TARGET
from ..objects.node import ContainerImage
from ..objects.pod import Pod, PodStatus
from ..objects.stored import ObjectKey
from ..store.operations import Remove, Replace
from .adoption import adopted, adopts
from .assigned_pod import BY_NODE, AssignedPod, assigned
from .circuit import Circuit
from .container_limits import node_limits
from .environment import no_links
from .execution import Workshop
from .foreign_watch import ForeignWatch
from .health import Watch
from .host_storage import HostStorage
from .image_pulling import Words
from .lifecycle import Decision, DesiredPod
from .memory import Backoff, Eviction, PodMemory, as_left
from .muster import STARTED, Settled
from .network_telling import NetworkTelling
from .office import Office, Question, anybody
from .pod_worker import PodWorker
from .pressure import Shortage, pressure_limits
from .pressure_watch import Before, PressureWatch
from .probing import ProbedPod, Prober
from .registration import Registration, allocatable
from .storage_limit_watch import StorageLimitWatch

_log = logging.getLogger(__name__)
_OWN = frozenset({"create", "start"})  # actions the workers know of, having caused them


@dataclass(frozen=True, slots=True)
class Told:
    """Who hears what a session finds out of its host.

    Args:
        stored: takes in which images the host has.
        stuck: told when the engine stops doing what it is told (why), and when it does again ("").
        shared: takes in what runs there that Ironfree does not manage.
        pressed: takes in which of MemoryPressure, PIDPressure and DiskPressure hold.
        sized: takes in how large its disk is, in bytes.
        networked: takes in why Services are not served there, "" when they are.
    """

    stored: Callable[[tuple[ContainerImage, ...]], Awaitable[None]]
    stuck: Callable[[str], Coroutine[None, None, None]]
    shared: Callable[[tuple[ForeignContainer, ...]], Awaitable[None]]
    pressed: Callable[[frozenset[str]], Awaitable[None]]
    sized: Callable[[int], Awaitable[None]]
    networked: Callable[[str], Awaitable[None]]


class Session:
    """Runs until the connection breaks.

    Args:
        memories: of the host's pods by uid; outlive the session.
    """

    def __init__(
        self,
        office: Office,
        made: Registration,
        host: Host,
        memories: dict[str, PodMemory],
        told: Told,
    ) -> None:
        self._told = told
        self._office = office
        self._node = made.host.name
        self._runtime = made.info.engine.partition(":")[0]
        self._memories = memories
        self._workers: dict[str, PodWorker] = {}
        self._assigned: dict[str, AssignedPod] = {}
        self._stale: set[str] = set()
        self._settled: dict[str, Settled] = {}
        self._claimed: set[str] = set()
        self._adopted: dict[str, tuple[str, Adopted]] = {}  # by pod: its container's id
        self._wanted = asyncio.Event()
        self._done = 0
        self._ended = False
        self._looked = asyncio.Condition()
        self._group = asyncio.TaskGroup()
        self.host = host
        alone = made.network is None  # elsewhere pods have addresses and tokens of their own
        self._crowd_host = host if isinstance(host, CrowdHost) and alone else None
        self.alive_at = asyncio.get_running_loop().time()
        self.looks = 0
        self.fence = asyncio.Event()
        pace = Backoff(office.settings.reconnect_initial, office.settings.reconnect_limit)
        self.pacer = office.work
        self.circuit = Circuit(self._circuit_changed, pace)
        self.shop = self._workshop(made)
        self._prober = Prober(host, self._tell)
        settings = office.settings
        self._storage = HostStorage(
            self._node, host.images, told.stored, settings.collection, settings.storage
        )
        self.others = ForeignWatch(
            self._node, host, made.foreign, told.shared, settings.storage, settings.foreign_settle
        )
        limits = pressure_limits(made.host.spec)
        self.pressure = PressureWatch(
            self._node, host, limits, Before(made.pressures, made.disk), self, settings.pressure
        )
        self._limits = StorageLimitWatch(self._node, host, self, settings.storage_limits)
        self._network = NetworkTelling(host, made.network, office.network, told.networked, pace)

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
        self.pressure.limits = pressure_limits(made.host.spec)

    async def run(self) -> None:
        """Look, listen and ping until the host does not answer.

        The informer of pods must have seen what was bound before this leader.

        Raises:
            ExceptionGroup: of HostUnreachable and other DriverErrors, or Unavailable.
        """
        pods = self._office.pods
        async with self._group as group:
            group.create_task(self._listen(), name=f"{self._node} events")
            await asyncio.sleep(0)  # events first, then the list: nothing falls in between
            self._assigned = {p.meta.uid: assigned(p) for p in pods.by_index(BY_NODE, self._node)}
            for gone in self._memories.keys() - self._assigned.keys():
                del self._memories[gone]
            try:
                group.create_task(self._ping(), name=f"{self._node} ping")
                group.create_task(self._prober.run(group), name=f"{self._node} probes")
                group.create_task(self._storage.run(), name=f"{self._node} disk")
                group.create_task(self.others.run(), name=f"{self._node} others")
                group.create_task(self.pressure.run(), name=f"{self._node} pressure")
                group.create_task(self._limits.run(), name=f"{self._node} limits of storage")
                group.create_task(self._network.run(), name=f"{self._node} network")
                await self._look_forever()
            finally:
                self._ended = True
                for worker in self._workers.values():
                    worker.close()
                    self._office.sources.forget(worker.uid)
                    self._memories[worker.uid] = as_left(worker.memory)

    # --- the pods the store has on this host ------------------------------------------------

    def notice(self, uid: str, current: AssignedPod | None) -> None:
        """Take in a pod's present state in the store, None when it is not on this host."""
        if current is None:
            self._assigned.pop(uid, None)
        else:
            self._assigned[uid] = current
        settled = self._settled.pop(uid, None)
        if settled is not None:
            self._worker(uid, STARTED).see(self._done, settled.observed)
        worker = self._workers.get(uid)
        if worker is not None:
            worker.poke()
        elif current is not None and adopts(current.pod):
            self.look_soon()  # its container is there, but the driver has not been told
        elif current is not None and self._done:
            self._worker(uid).see(self._done, None)  # the last look found nothing of it

    def assigned(self, uid: str) -> AssignedPod | None:
        """Return the pod if the store has it on this host."""
        return self._assigned.get(uid)

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
        if self._ended:
            return
        self._group.create_task(self._told.stuck(str(failure) if failure else ""))

    def _tell(self, pod: Pod, words: Words, container: str) -> None:
        self._office.events.record(pod, self._node, words, container)

    # --- workers ----------------------------------------------------------------------------

    def _worker(self, uid: str, memory: PodMemory | None = None) -> PodWorker:
        worker = self._workers.get(uid)
        if worker is None:
            worker = PodWorker(self, uid, memory or self._memories.get(uid, PodMemory()))
            self._workers[uid] = worker
        return worker

    def spawn(self, worker: PodWorker) -> asyncio.Task[None]:
        """Run a worker as a task of this session."""
        return self._group.create_task(worker.run())

    def spawn_action(self, worker: PodWorker, decision: Decision) -> asyncio.Task[bool]:
        """Run a decision's instructions as a task of this session."""
        return self._group.create_task(worker.carry_out(decision))

    def settled(self, worker: PodWorker) -> None:
        """Hear that a worker came to rest; forget it when its pod is gone from both sides."""
        uid, assigned = worker.uid, self._assigned.get(worker.uid)
        self._fence_off(uid, worker.observed)
        if assigned is None and worker.nothing_there and worker.idle:
            self._workers.pop(uid, None)
            self._memories.pop(uid, None)
            self._office.sources.forget(uid)

    def _fence_off(self, uid: str, observed: PodObservation | None) -> None:
        if uid in self._stale and not _runs(observed):
            self._stale.discard(uid)
            if not self._stale:
                self.fence.set()

    # --- pods that make room (see pressure_watch) -------------------------------------------

    def evictable(self, wanted: Question = anybody) -> Iterable[tuple[Pod, PodObservation | None]]:
        """Return the pods that are not on their way out, and what runs of them.

        Args:
            wanted: by its spec; one pod speaks for all that have the same.
        """
        for pod in self._pods(wanted):
            if self._may_go(pod) and pod.meta.uid not in self._claimed:
                yield pod, self._observed(pod.meta.uid)

    def _pods(self, wanted: Question) -> Iterator[Pod]:
        pods = self._office.pods
        single, crowds = pods.in_crowds(BY_NODE, self._node)
        yield from filter(wanted, single)
        for crowd in crowds:
            for ordinal in tuple(crowd.ordinals) if self._office.answer(wanted, crowd) else ():
                pod = pods.get(crowd.cohort.namespace, crowd.cohort.name(ordinal))
                if pod is not None:
                    yield pod

    def _may_go(self, pod: Pod) -> bool:
        worker, target = self._workers.get(pod.meta.uid), pod.status.condition(TARGET)
        evicted = target is not None and target.reason == BY_KUBELET
        evicted = evicted or (worker is not None and worker.memory.eviction is not None)
        return pod.active and not evicted

    def _observed(self, uid: str) -> PodObservation | None:
        if uid in self._settled:
            return self._settled[uid].observed
        return self._workers[uid].observed if uid in self._workers else None

    def evict(self, uid: str, resource: str, eviction: Eviction) -> None:
        """Have a pod stopped, and fail, unless it is on its way out meanwhile."""
        settled = self._settled.pop(uid, None)
        if settled is not None:
            self._take_over(settled.cohort, settled.ordinal)
            self._worker(uid, STARTED).see(self._done, settled.observed)
        assigned = self._assigned.get(uid)
        if assigned is not None and self._may_go(assigned.pod):
            self._tell(assigned.pod, ("Warning", "Evicted", eviction.why), "")
            self._office.evictions[resource] += 1
            self._worker(uid).evict(eviction)

    def is_over(self, uid: str) -> bool:
        """Return whether a pod has ended or is gone, and is off the host's disk if it has to be."""
        assigned, worker = self._assigned.get(uid), self._workers.get(uid)
        going = worker is not None and worker.memory.cleared and not worker.nothing_there
        return assigned is None or (assigned.pod.terminal and not going)

    async def reclaim(self, wanted: int) -> bool:
        """Have disk freed that nobody needs, so many bytes; returns whether some will be.

        Ended pods that are kept for their logs go first, then images that are not used.
        """
        cleared = [*filter(self._clear, tuple(self._workers.values()))]
        try:
            return await self._storage.reclaim(wanted) or bool(cleared)
        except DriverError:
            if cleared:
                return True
            raise

    def _clear(self, worker: PodWorker) -> bool:
        """Have what an ended pod left removed; returns whether there was something new to do."""
        assigned = self._assigned.get(worker.uid)
        if assigned is None or not assigned.pod.terminal or adopts(assigned.pod):
            return False
        if worker.memory.cleared or worker.observed is None:
            return False
        worker.clear()
        return True

    async def pressed(self, conditions: frozenset[str]) -> None:
        """Put on the Node which of its resources run short."""
        await self._told.pressed(conditions)

    async def sized(self, disk: int) -> None:
        """Put on the Node how large its disk is."""
        await self._told.sized(disk)

    def short(self, shortage: Shortage) -> None:
        """Tell that pods are evicted for want of a resource."""
        message = f"Attempting to reclaim {shortage.resource}"
        self._office.events.record_node(self._node, ("Warning", "EvictionThresholdMet", message))

    # --- pods that start together (see muster) ---------------------------------------------

    @property
    def crowd_host(self) -> CrowdHost | None:
        """The host, if it can start many pods at once and is ready to."""
        return self._crowd_host if self._done and self.fence.is_set() else None

    @property
    def host_ip(self) -> str:
        """The node's address."""
        return self.shop.host_ip

    @property
    def runtime(self) -> str:
        """The engine's word."""
        return self._runtime

    def claim(self, cohort: Cohort, ordinals: Iterable[int]) -> list[int]:
        """Return those who are as their cohort has them and have no worker; looks spare them."""
        claimed: list[int] = []
        for ordinal in ordinals:
            uid = cohort.pod_uid(ordinal)
            if uid not in self._workers and self._office.pods.lodges(cohort, ordinal):
                self._claimed.add(uid)
                claimed.append(ordinal)
        return claimed

    def settle(self, settled: Settled) -> None:
        """Take over a claimed pod that runs and has been reported."""
        cohort, ordinal = settled.cohort, settled.ordinal
        uid = cohort.pod_uid(ordinal)
        if uid not in self._workers and self._office.pods.lodges(cohort, ordinal):
            self._claimed.discard(uid)
            self._settled[uid] = settled
        else:
            self.fall_out(cohort, (ordinal,))

    def disband(self) -> None:
        """Have every further pod started by a worker of its own: the host is too slow."""
        self._crowd_host = None

    def fall_out(self, cohort: Cohort, ordinals: Iterable[int]) -> None:
        """Have workers see to pods, from whatever state they are in: a look will tell."""
        for ordinal in ordinals:
            self._claimed.discard(cohort.pod_uid(ordinal))
            self._take_over(cohort, ordinal)
            self.look_soon()

    def _take_over(self, cohort: Cohort, ordinal: int) -> None:
        pod = self._office.pods.get(cohort.namespace, cohort.name(ordinal))
        uid = cohort.pod_uid(ordinal)
        if pod is not None and pod.meta.uid == uid and pod.node == self._node:
            self._assigned[uid] = assigned(pod)

    async def look_around(self) -> None:
        """Find out what else runs on the host, before the session runs."""
        pods = self._office.pods.by_index(BY_NODE, self._node)
        self._assigned = {p.meta.uid: assigned(p) for p in pods}
        await self._adopt()
        await self.others.look()

    # --- looking ----------------------------------------------------------------------------

    def look_soon(self) -> None:
        """Ask for a look at the host."""
        self._wanted.set()

    async def looked(self) -> None:
        """Wait for a look that begins after this call."""
        wanted = self.looks + 1
        self.look_soon()
        async with self._looked:
            await self._looked.wait_for(lambda: self._done >= wanted)

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
        quiet = {uid for uid, each in self._settled.items() if found.get(uid) == each.observed}
        for uid in self._settled.keys() - quiet:
            settled = self._settled.pop(uid)
            self._take_over(settled.cohort, settled.ordinal)
            self._worker(uid, STARTED)
        unknown = {uid for uid, each in self._assigned.items() if adopts(each.pod)}
        unknown -= self._adopted.keys()  # bound meanwhile: the driver has not been told
        for uid in {*found, *self._workers, *self._assigned} - quiet - self._claimed - unknown:
            self._worker(uid).see(look, found.get(uid))
        async with self._looked:
            self._done = look
            self._looked.notify_all()

    async def _adopt(self) -> None:
        """Tell the driver which containers are pods that were not made as such."""
        epoch = self._office.epoch
        wanted = {uid: each for uid, each in self._adopted.items() if uid in self._workers}
        for uid, each in self._assigned.items():
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
        for uid, observed in found.items():
            assigned = self._assigned.get(uid)
            if _over(assigned) and _runs(observed):
                self._stale.add(uid)
        if self._stale:
            _log.info("host %s: removing %d stale pods first", self._node, len(self._stale))
        else:
            self.fence.set()

    async def _listen(self) -> None:
        async for event in self.host.events():
            if event.action == FOREIGN:
                self.others.look_soon()
                continue
            if event.action in _OWN:
                continue
            worker = self._workers.get(event.pod_uid)
            if worker is not None:
                worker.hear()
            self.look_soon()
        raise HostUnreachable(f"host {self._node}: the event stream ended")

    async def _ping(self) -> None:
        await self._office.pulse.watch(self._node, self.host, self._answered)

    def _answered(self) -> None:
        self.alive_at = asyncio.get_running_loop().time()


def _over(assigned: AssignedPod | None) -> bool:
    """Return whether a pod should not run here any more: gone, ended, or deleted long ago."""
    if assigned is None or assigned.pod.terminal:
        return True
    deadline = assigned.pod.meta.deletion_timestamp
    return deadline is not None and deadline <= datetime.now(UTC)


def _runs(observed: PodObservation | None) -> bool:
    if observed is None:
        return False
    running = any(c.state is EngineState.RUNNING for c in observed.containers)
    return running or (observed.sandbox is not None and observed.sandbox.running)
