"""Makes room on a host: which of its pods may go, how they do, and what else can be freed."""

from collections.abc import Iterable

from ..drivers import PodObservation
from ..errors import DriverError
from ..objects.disruption import BY_KUBELET, TARGET
from ..objects.pod import Pod
from .adoption import adopts
from .company import HostCompany
from .host_storage import HostStorage
from .memory import Eviction
from .office import Office, Question, anybody
from .pod_worker import PodWorker
from .pressure import Shortage
from .registrar import Registrar
from .roster import Roster


class Evictions:
    """The desk of a session's PressureWatch and StorageLimitWatch."""

    def __init__(
        self,
        office: Office,
        node: str,
        roster: Roster,
        company: HostCompany,
        storage: HostStorage,
        registrar: Registrar,
    ) -> None:
        self._office = office
        self._node = node
        self._roster = roster
        self._company = company
        self._storage = storage
        self._registrar = registrar

    def evictable(self, wanted: Question = anybody) -> Iterable[tuple[Pod, PodObservation | None]]:
        """Return the pods that are not on their way out, and what runs of them.

        Args:
            wanted: by its spec; one pod speaks for all that have the same.
        """
        for pod in self._roster.asked(wanted):
            if self._may_go(pod) and pod.meta.uid not in self._company.claimed:
                yield pod, self._observed(pod.meta.uid)

    def _may_go(self, pod: Pod) -> bool:
        worker, target = self._roster.workers.get(pod.meta.uid), pod.status.condition(TARGET)
        evicted = target is not None and target.reason == BY_KUBELET
        evicted = evicted or (worker is not None and worker.memory.eviction is not None)
        return pod.active and not evicted

    def _observed(self, uid: str) -> PodObservation | None:
        worker = self._roster.workers.get(uid)
        return self._company.observed(uid) or (worker.observed if worker is not None else None)

    def evict(self, uid: str, resource: str, eviction: Eviction) -> None:
        """Have a pod stopped, and fail, unless it is on its way out meanwhile."""
        self._company.send_out(uid)
        assigned = self._roster.assigned.get(uid)
        if assigned is not None and self._may_go(assigned.pod):
            words = ("Warning", "Evicted", eviction.why)
            self._office.events.record(assigned.pod, self._node, words, "")
            self._office.evictions[resource] += 1
            self._roster.worker(uid).evict(eviction)

    def is_over(self, uid: str) -> bool:
        """Return whether a pod has ended or is gone, and is off the host's disk if it has to be."""
        assigned, worker = self._roster.assigned.get(uid), self._roster.workers.get(uid)
        going = worker is not None and worker.memory.cleared and not worker.nothing_there
        return assigned is None or (assigned.pod.terminal and not going)

    async def reclaim(self, wanted: int) -> bool:
        """Have disk freed that nobody needs, so many bytes; returns whether some will be.

        Ended pods that are kept for their logs go first, then images that are not used.
        """
        cleared = [*filter(self._clear, tuple(self._roster.workers.values()))]
        try:
            return await self._storage.reclaim(wanted) or bool(cleared)
        except DriverError:
            if cleared:
                return True
            raise

    def _clear(self, worker: PodWorker) -> bool:
        """Have what an ended pod left removed; returns whether there was something new to do."""
        assigned = self._roster.assigned.get(worker.uid)
        if assigned is None or not assigned.pod.terminal or adopts(assigned.pod):
            return False
        if worker.memory.cleared or worker.observed is None:
            return False
        worker.clear()
        return True

    async def pressed(self, conditions: frozenset[str]) -> None:
        """Put on the Node which of its resources run short."""
        await self._registrar.pressed(conditions)

    async def sized(self, disk: int) -> None:
        """Put on the Node how large its disk is."""
        await self._registrar.sized(disk)

    def short(self, shortage: Shortage) -> None:
        """Tell that pods are evicted for want of a resource."""
        message = f"Attempting to reclaim {shortage.resource}"
        self._office.events.record_node(self._node, ("Warning", "EvictionThresholdMet", message))
