"""Tells people what became of their pods: Events, the PodScheduled condition, decision records.

Reports follow behind bindings at a bounded pace and from bounded queues: when pods are placed
faster than events can be written, the oldest "Scheduled" events are dropped and counted (the
binding itself and the decision record say the same). Nothing here is needed for placement to work.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

import msgspec

from ..errors import Conflict, Fenced, StatusError, Unavailable
from ..informer import Informer
from ..objects.event import EventSeries, Note
from ..objects.json import Json, JsonObject
from ..objects.meta import now_seconds
from ..objects.pod import Pod
from ..objects.stored import ObjectKey, StoredObject
from ..store.decisions import DecisionRecord
from ..store.operations import Bind, Create, Remove, Replace, Write
from ..store.store import Store
from .plan import PendingPod

logger = logging.getLogger(__name__)

COMPONENT = "default-scheduler"
_CHUNK = 200
_PACE = 0.2  # seconds between chunks: at most 1,000 events and 1,000 conditions a second
_MOST_NOTES = 10_000
_MOST_FAILURES = 50_000
_MOST_RECORDS = 10_000


@dataclass(frozen=True, slots=True)
class _Placed:
    """Pods that were bound, and what follows what kube-scheduler would say of each."""

    pods: Sequence[PendingPod]
    nodes: Sequence[str]
    why: str

    def notes(self) -> Iterator[Note]:
        for pod, node in zip(self.pods, self.nodes, strict=True):
            key = pod.key
            message = f"Successfully assigned {key.namespace}/{key.name} to {node}{self.why}"
            yield _note(pod, "Scheduled", message)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A pod without a node.

    Args:
        told: an Event says so already.
    """

    pod: PendingPod
    message: str
    told: bool = False


class Reporter:
    """Queues reports and writes them in the background."""

    def __init__(self, store: Store, pods: Informer[Pod], epoch: int) -> None:
        self._store = store
        self._pods = pods
        self._epoch = epoch
        self._placements = EventSeries(COMPONENT)  # apart: a flood of them must not make the
        self._refusals = EventSeries(COMPONENT)  # others forget what they have told
        self._notes: deque[Note] = deque()
        self._placed: deque[_Placed] = deque()
        self._held = 0  # pods in _placed
        self._failures: OrderedDict[str, _Failure] = OrderedDict()
        self._records: deque[DecisionRecord] = deque(maxlen=_MOST_RECORDS)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.dropped = 0

    def scheduled(self, pods: Sequence[PendingPod], nodes: Sequence[str], why: str = "") -> None:
        """Pods were bound; `why` follows what kube-scheduler would say."""
        self._placed.append(_Placed(pods, nodes, why))
        self._held += len(pods)
        while self._held > _MOST_NOTES and len(self._placed) > 1:
            lost = len(self._placed.popleft().pods)
            self._held -= lost
            self.dropped += lost
        self._awake()

    def unschedulable(self, pods: Iterable[PendingPod], message: str) -> None:
        """Pods have no node; the last message about a pod counts."""
        for pod in pods:
            if len(self._failures) >= _MOST_FAILURES and pod.uid not in self._failures:
                self.dropped += 1
                continue
            self._failures[pod.uid] = _Failure(pod, message)
        self._awake()

    def preempted(self, pod: ObjectKey, uid: str, why: str) -> None:
        """A pod is made to go so that another one has room."""
        self._note(_note(PendingPod(pod, uid), "Preempted", why))
        self._awake()

    def hopeless(self, pod: PendingPod, proof: str) -> None:
        """It is proved that nothing that may be done gives a pod a node."""
        self._note(_note(pod, "NoAssignment", proof, warning=True))
        self._awake()

    def decided(self, records: Iterable[DecisionRecord]) -> None:
        """Decisions were made."""
        self._records.extend(records)
        self._awake()

    async def flushed(self) -> None:
        """Wait until nothing is left to report."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write reports until cancelled; raises Fenced when another leader has taken over."""
        while True:
            await self._wake.wait()
            try:
                await self._report()
            except Unavailable as error:
                logger.warning("reports wait: %s", error)
            if not (self._notes or self._placed or self._failures or self._records):
                self._wake.clear()
                self._idle.set()
            await asyncio.sleep(_PACE)

    async def _report(self) -> None:
        if self._records:
            records = tuple(self._records)
            await self._store.record_decisions(records)
            for _ in records:
                self._records.popleft()
        failures = list(islice(self._failures.values(), _CHUNK))
        conditions = self._conditions(failures)
        writes: list[Write] = [write for _, write in conditions]
        writes += [self._event(self._refusals, note) for note in _untold(failures)]
        notes = self._taken()
        writes += [self._event(self._placements, note) for note in notes]
        if not writes:
            return
        try:
            outcomes = await self._store.write_many(writes)
        except Unavailable:
            self._forget(writes)
            self._notes.extendleft(reversed(notes))
            raise
        for write, outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, Fenced):
                raise outcome
            if isinstance(outcome, StatusError):  # the pod or its namespace went, or changed
                logger.debug("a report was not written: %s", outcome)
                self._forget([write])
        self._told(failures)
        for (failure, _), outcome in zip(conditions, outcomes, strict=False):
            if isinstance(outcome, Conflict):  # with what the informer has yet to hear of
                self._failures.setdefault(failure.pod.uid, replace(failure, told=True))

    def _told(self, failures: Iterable[_Failure]) -> None:
        """Forget failures, but for pods of which something newer is to be said."""
        for failure in failures:
            if self._failures.get(failure.pod.uid) is failure:
                del self._failures[failure.pod.uid]

    def _taken(self) -> list[Note]:
        """Take the next notes: of pods that were bound as many as there is room for."""
        notes = [self._notes.popleft() for _ in range(min(_CHUNK, len(self._notes)))]
        while self._placed and len(notes) < _CHUNK:
            placed, room = self._placed.popleft(), _CHUNK - len(notes)
            notes += replace(placed, pods=placed.pods[:room], nodes=placed.nodes[:room]).notes()
            self._held -= min(room, len(placed.pods))
            if len(placed.pods) > room:
                rest = replace(placed, pods=placed.pods[room:], nodes=placed.nodes[room:])
                self._placed.appendleft(rest)
        return notes

    def _event(self, series: EventSeries, note: Note) -> Create | Replace:
        telling = series.tell(note, now_seconds())
        if telling.repeated:
            return Replace("events", telling.meta, telling.body, b"", None, self._epoch)
        return Create("events", telling.meta, telling.body, b"", self._epoch)

    def _forget(self, writes: Iterable[Write]) -> None:
        for write in writes:
            if not isinstance(write, (Remove, Bind)) and write.resource == "events":
                self._placements.forget(write.meta.uid)
                self._refusals.forget(write.meta.uid)

    def _conditions(self, failures: Sequence[_Failure]) -> list[tuple[_Failure, Write]]:
        """Return writes of PodScheduled=False for pods that do not say so yet."""
        found: list[tuple[_Failure, Write]] = []
        for failure in failures:
            pod = self._pods.items.get(failure.pod.key)
            if pod is not None and pod.stored is not None and _unsaid(failure, pod):
                found.append((failure, _unscheduled(pod.stored, failure.message, self._epoch)))
        return found

    def _note(self, note: Note) -> None:
        if len(self._notes) >= _MOST_NOTES:
            self._notes.popleft()
            self.dropped += 1
        self._notes.append(note)

    def _awake(self) -> None:
        self._idle.clear()
        self._wake.set()


def _untold(failures: Iterable[_Failure]) -> Iterator[Note]:
    """Yield what an Event is yet to say."""
    for failure in failures:
        if not failure.told:
            yield _note(failure.pod, "FailedScheduling", failure.message, warning=True)


def _unsaid(failure: _Failure, pod: Pod) -> bool:
    if pod.meta.uid != failure.pod.uid or pod.node:
        return False
    said = pod.status.condition("PodScheduled")
    return said is None or said.status != "False" or said.message != failure.message


def _note(pod: PendingPod, reason: str, message: str, *, warning: bool = False) -> Note:
    return Note("Pod", pod.key.namespace, pod.key.name, pod.uid, reason, message, warning)


def _unscheduled(pod: StoredObject, message: str, epoch: int) -> Replace:
    status = cast(JsonObject, msgspec.json.decode(pod.status or b"{}"))
    conditions = cast(list[JsonObject], status.get("conditions") or [])
    before = next((c for c in conditions if c.get("type") == "PodScheduled"), JsonObject())
    since: Json = now_seconds().strftime("%Y-%m-%dT%H:%M:%SZ")
    if before.get("status") == "False":
        since = before.get("lastTransitionTime", since)
    condition: JsonObject = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": since,
    }
    rest: list[Json] = [c for c in conditions if c.get("type") != "PodScheduled"]
    status["conditions"] = [condition, *rest]
    return Replace(
        pod.resource, pod.meta, pod.body, msgspec.json.encode(status), pod.revision, epoch
    )
