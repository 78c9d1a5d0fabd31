"""Keeps the status of PodGroups: their members, how far those are, and whether time has run out."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from ..informer import AnyDelta, CohortDelta, Delta
from ..objects.json import Json, JsonObject
from ..objects.pod import Condition, Pod
from ..objects.pod_group import (
    DEADLINE_EXCEEDED,
    RESOURCE,
    SCHEDULED,
    PodGroup,
    PodGroupStatus,
    group_name,
    incomplete,
    overdue,
)
from ..objects.stored import ObjectKey
from ..store.operations import Replace
from .clock import Clock
from .event_log import EventLog, note
from .fenced_store import FencedStore
from .informers import Informers
from .settings import ControllerSettings
from .work_queue import WorkQueue, follow

_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


class PodGroupController:
    """Looks at a group whenever it or one of its members changes."""

    def __init__(
        self,
        store: FencedStore,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._informers = informers
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "podgroup-controller")
        self._queue = WorkQueue[ObjectKey]("pod groups", clock)
        self._members: dict[ObjectKey, set[ObjectKey]] = {}  # group → pods
        self._group_of: dict[ObjectKey, ObjectKey] = {}  # those pods → their group

    async def run(self) -> None:
        """Keep the status, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._informers.groups, self._queue))
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_pods(self) -> None:
        async for deltas in self._informers.pods.subscribe_whole():
            for delta in _alone(deltas):
                self._belongs(delta.key, _group_key(delta.new))

    def _belongs(self, pod: ObjectKey, group: ObjectKey | None) -> None:
        """Note whose member a pod is now, and look at that group and at the one it has left."""
        before = self._group_of.pop(pod, None)
        if before is not None and before != group:
            self._members[before].discard(pod)
            if not self._members[before]:
                del self._members[before]
            self._queue.add(before)
        if group is not None:
            self._group_of[pod] = group
            self._members.setdefault(group, set()).add(pod)
            self._queue.add(group)

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        group = self._informers.groups.get(key.namespace, key.name)
        if group is None or group.meta.deletion_timestamp is not None:
            return None
        known = self._informers.pods.items
        pods = [known[pod] for pod in sorted(self._members.get(key, ())) if pod in known]
        now = self._clock.now()
        status = status_of(group, pods, now)
        if await self._write(group, status) and _expired(status) and not group.expired:
            late = note("PodGroup", group.meta, DEADLINE_EXCEEDED, overdue(group), warning=True)
            await self._events.tell(late)
        if status.scheduling_start_time is None or not group.spec.schedule_timeout_seconds:
            return None
        left = _deadline(group, status.scheduling_start_time) - now
        return left if left > timedelta(0) else None

    async def _write(self, group: PodGroup, status: PodGroupStatus) -> bool:
        """Write a status unless it is there already; a conflict brings the group back here."""
        stored = group.stored
        wanted = _document(status)
        if wanted == _object.decode(stored.status or b"{}"):
            return False
        encoded = msgspec.json.encode(wanted)
        written = await self._store.write(
            Replace(RESOURCE, stored.meta, stored.body, encoded, stored.revision)
        )
        await self._informers.groups.reached(written.revision)
        return True


def status_of(group: PodGroup, pods: Sequence[Pod], now: datetime) -> PodGroupStatus:
    """Return the status of a group. Pure.

    Args:
        pods: all its members, ended ones too.
    """
    ended = [pod for pod in pods if pod.terminal]
    live = [pod for pod in pods if _lives(pod)]
    bound = [pod for pod in live if pod.node]
    waiting = [pod for pod in live if not pod.node]
    since = group.status.scheduling_start_time
    if not waiting or not group.wanting(len(bound)):
        since = None
    elif since is None or _begins_anew(group, live):
        since = now
    succeeded = sum(pod.status.phase == "Succeeded" for pod in ended)
    status = PodGroupStatus(
        members=len(live),
        scheduled=len(bound),
        running=sum(pod.status.phase == "Running" for pod in bound),
        succeeded=succeeded,
        failed=len(ended) - succeeded,
        scheduling_start_time=since,
        observed_generation=group.meta.generation,
    )
    condition = _condition(group, status, waiting, now)
    phase = _phase(group, status, condition)
    return msgspec.structs.replace(status, phase=phase, conditions=(condition,))


def _begins_anew(group: PodGroup, live: Sequence[Pod]) -> bool:
    """Tell whether a group whose time had run out has changed since.

    A member that came within the second in which it ran out starts it anew, too: once.
    """
    said = _said(group)
    if said is None or said.reason != DEADLINE_EXCEEDED:
        return False
    at = said.last_transition_time
    came = [pod.meta.creation_timestamp for pod in live]
    new = at is not None and any(moment is not None and moment >= at for moment in came)
    return not group.expired or len(live) != group.status.members or new


def _condition(
    group: PodGroup, status: PodGroupStatus, waiting: Sequence[Pod], now: datetime
) -> Condition:
    """Return whether enough members have nodes, and why not."""
    word, reason, message = "False", "Unschedulable", ""
    since, timeout = status.scheduling_start_time, group.spec.schedule_timeout_seconds
    missing = incomplete(group, len(waiting), status.scheduled)
    if not group.wanting(status.scheduled):
        word, reason = "True", SCHEDULED
    elif since is not None and timeout and _deadline(group, since) <= now:
        reason, message = DEADLINE_EXCEEDED, overdue(group)
    elif missing:
        reason, message = "WaitingForMembers", missing
    else:
        message = _told(waiting)
    before = _said(group)
    at = now
    same = before is not None and (before.status, before.reason) == (word, reason)
    if before is not None and same and before.last_transition_time is not None:
        at = before.last_transition_time
    return Condition(
        SCHEDULED,
        word,
        reason,
        message,
        last_transition_time=at,
        observed_generation=group.meta.generation,
    )


def _phase(group: PodGroup, status: PodGroupStatus, condition: Condition) -> str:
    least, ended = group.spec.min_member, status.succeeded + status.failed
    if condition.reason == DEADLINE_EXCEEDED:
        return "Failed"
    if not status.members and ended:
        return "Failed" if status.failed else "Succeeded"
    if status.members == status.scheduled and status.scheduled + ended >= least:
        return "Running" if status.running + ended >= least else "Scheduled"
    if not group.wanting(status.scheduled):
        return "Running" if status.running >= least else "Scheduled"
    return "Scheduling" if status.members >= least else "Pending"


def _told(waiting: Sequence[Pod]) -> str:
    """Return what placement says of a member."""
    for pod in waiting:
        said = pod.status.condition("PodScheduled")
        if said is not None and said.status == "False":
            return said.message
    return ""


def _said(group: PodGroup) -> Condition | None:
    return next((c for c in group.status.conditions if c.type == SCHEDULED), None)


def _expired(status: PodGroupStatus) -> bool:
    return any(each.reason == DEADLINE_EXCEEDED for each in status.conditions)


def _deadline(group: PodGroup, since: datetime) -> datetime:
    return since + timedelta(seconds=group.spec.schedule_timeout_seconds)


def _document(status: PodGroupStatus) -> JsonObject:
    """Return a status as JSON, conditions as meta/v1 has them."""
    document = _object.decode(msgspec.json.encode(status))
    if status.scheduling_start_time is None:
        del document["schedulingStartTime"]
    whole: JsonObject = {"message": "", "observedGeneration": 0}
    conditions: list[Json] = [
        {**whole, **_object.decode(msgspec.json.encode(each))} for each in status.conditions
    ]
    document["conditions"] = conditions
    return document


def _lives(pod: Pod) -> bool:
    """Tell whether a pod has a node or may be given one."""
    held = pod.spec.scheduling_gates and not pod.node
    return not (pod.terminal or pod.meta.deletion_timestamp is not None or held)


def _alone(deltas: Iterable[AnyDelta[Pod]]) -> Iterator[Delta[Pod]]:
    """Yield changes pod by pod, those of cohorts only where they are members."""
    for delta in deltas:
        if not isinstance(delta, CohortDelta):
            yield delta
        elif _group_key(delta.one(0).new) is not None:
            yield from delta.each()


def _group_key(pod: Pod | None) -> ObjectKey | None:
    if pod is None:
        return None
    name = group_name(pod.meta.labels, pod.spec)
    return ObjectKey(RESOURCE, pod.meta.namespace, name) if name else None
