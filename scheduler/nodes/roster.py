"""The pods of one host while a session runs: which the store has there, and who works on them."""

from collections.abc import Iterator

from ..objects.cohort import Cohort
from ..objects.pod import Pod
from .assigned_pod import BY_NODE, AssignedPod, assigned
from .memory import PodMemory, as_left
from .office import Office, Question
from .pod_worker import Desk, PodWorker


class Roster:
    """One per session.

    Args:
        memories: of the host's pods by uid; outlive the session.
        desk: that the workers work for.
    """

    def __init__(
        self, office: Office, node: str, memories: dict[str, PodMemory], desk: Desk
    ) -> None:
        self.assigned: dict[str, AssignedPod] = {}
        self.workers: dict[str, PodWorker] = {}
        self.looked = 0  # the last look whose findings the workers have
        self._office = office
        self._node = node
        self._memories = memories
        self._desk = desk

    def read(self) -> None:
        """Take in the pods that the store has on the host."""
        pods = self._office.pods.by_index(BY_NODE, self._node)
        self.assigned = {pod.meta.uid: assigned(pod) for pod in pods}

    def begin(self) -> None:
        """Take them in as the session begins; what is remembered of others is forgotten."""
        self.read()
        for gone in self._memories.keys() - self.assigned.keys():
            del self._memories[gone]

    def put(self, uid: str, current: AssignedPod | None) -> None:
        """Take in a pod's present state in the store, None when it is not on this host."""
        if current is None:
            self.assigned.pop(uid, None)
        else:
            self.assigned[uid] = current

    def take_over(self, cohort: Cohort, ordinal: int) -> None:
        """Take in a pod of a cohort, if it is on this host."""
        pod = self._office.pods.get(cohort.namespace, cohort.name(ordinal))
        uid = cohort.pod_uid(ordinal)
        if pod is not None and pod.meta.uid == uid and pod.node == self._node:
            self.assigned[uid] = assigned(pod)

    def worker(self, uid: str, memory: PodMemory | None = None) -> PodWorker:
        """Return the worker of a pod, which is made if it has none.

        Args:
            memory: for a new one; None for what is remembered of the pod.
        """
        worker = self.workers.get(uid)
        if worker is None:
            worker = PodWorker(self._desk, uid, memory or self._memories.get(uid, PodMemory()))
            self.workers[uid] = worker
        return worker

    def lodges(self, cohort: Cohort, ordinal: int) -> bool:
        """Return whether a pod is as its cohort has it, and has no worker."""
        worked_on = cohort.pod_uid(ordinal) in self.workers
        return not worked_on and self._office.pods.lodges(cohort, ordinal)

    def asked(self, question: Question) -> Iterator[Pod]:
        """Yield the host's pods whose spec answers with yes; it is asked once for a cohort."""
        pods = self._office.pods
        single, crowds = pods.in_crowds(BY_NODE, self._node)
        yield from filter(question, single)
        for crowd in crowds:
            for ordinal in tuple(crowd.ordinals) if self._office.answer(question, crowd) else ():
                pod = pods.get(crowd.cohort.namespace, crowd.cohort.name(ordinal))
                if pod is not None:
                    yield pod

    def rested(self, worker: PodWorker) -> None:
        """Forget a worker that came to rest, if its pod is gone from both sides."""
        uid = worker.uid
        if uid not in self.assigned and worker.nothing_there and worker.idle:
            self.workers.pop(uid, None)
            self._memories.pop(uid, None)
            self._office.sources.forget(uid)

    def close(self) -> None:
        """End all work, and remember how it was left."""
        for worker in self.workers.values():
            worker.close()
            self._office.sources.forget(worker.uid)
            self._memories[worker.uid] = as_left(worker.memory)
