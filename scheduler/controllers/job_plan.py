"""What a Job's pods should become, and how those that have ended are counted, each once. Pure.

Kubernetes' job controller. A pod carries the finalizer TRACKING until it is counted: its uid is put
into status.uncountedTerminatedPods, then the finalizer is taken off, and when that is seen the uid
becomes a number. So no pod is lost that is deleted at once, and none counts twice after a crash
between two writes. Pods that the Job itself takes away are let go uncounted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from ..objects.job import (
    COMPLETE,
    FAILED,
    FAILURE_TARGET,
    INDEX,
    SUCCESS_MET,
    SUSPENDED,
    TRACKING,
    ConditionPattern,
    ExitCodes,
    FailureRule,
    Job,
    JobStatus,
    Uncounted,
    read_indexes,
    write_indexes,
)
from ..objects.lots import Crowd
from ..objects.pod import Condition, Pod
from .replication_plan import deletion_order, is_ready

_AT_ONCE = 500  # ended pods whose uids the status holds
_FIRST_DELAY, _LONGEST_DELAY = 10.0, 360.0  # seconds after a failure, doubled each time


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What to write for one Job, in this order.

    Args:
        status: to be; equal to the present one when nothing has changed.
        release: pods to take the finalizer from, once the status is written.
        deletes: pods to delete, with the finalizer taken off.
        creates: number of pods to create now.
        indexes: of the pods to create, where they have any.
        look_again: when to look without a cause.
        expired: the Job has been over for long enough, and is to be deleted.
        needs_each: pods of the crowds may have to go: plan again with each of them.
    """

    status: JobStatus
    release: tuple[Pod, ...] = ()
    deletes: tuple[Pod, ...] = ()
    creates: int = 0
    indexes: tuple[int, ...] = ()
    look_again: timedelta | None = None
    expired: bool = False
    needs_each: bool = False


def plan(
    job: Job,
    pods: Sequence[Pod],
    now: datetime,
    burst: int = 5000,
    crowds: Sequence[Crowd[Pod]] = (),
) -> JobPlan:
    """Return what brings a Job on.

    Args:
        pods: all it owns, but those of the crowds.
        crowds: further pods it owns, all active.
    """
    over = job.status.finished is not None or job.meta.deletion_timestamp is not None
    if crowds and (over or job.spec.suspend or job.indexed):
        return JobPlan(job.status, needs_each=True)
    counting = _Counting(job)
    counting.add(pods)
    status = counting.status()
    if job.status.finished is not None:
        left = _expires_in(job, now)
        expired = left is not None and left <= timedelta(0)
        return JobPlan(status, counting.release, look_again=left, expired=expired)
    staffing = _Staffing(job, pods, crowds, counting, now, burst)
    return staffing.plan(status)


class _Counting:
    """Counts ended pods."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.succeeded, self.failed = job.status.succeeded, job.status.failed
        self.indexes = set(read_indexes(job.status.completed_indexes))
        self.waiting_succeeded: list[str] = []
        self.waiting_failed: list[str] = []
        self.release: tuple[Pod, ...] = ()
        self.refusal = ""

    def add(self, pods: Sequence[Pod]) -> None:
        """Count those that can be, and find those whose finalizer may go."""
        tracked = {pod.meta.uid: pod for pod in pods if TRACKING in pod.meta.finalizers}
        before = self._job.status.uncounted_terminated_pods
        for uid in before.succeeded:
            if uid in tracked:
                self.waiting_succeeded.append(uid)
            else:
                self.succeeded += 1
        for uid in before.failed:
            if uid in tracked:
                self.waiting_failed.append(uid)
            else:
                self.failed += 1
        known = {*before.succeeded, *before.failed}
        release = [tracked[uid] for uid in (*before.succeeded, *before.failed) if uid in tracked]
        for uid, pod in tracked.items():
            if uid in known or len(known) >= _AT_ONCE:
                continue
            if self._count(pod):
                known.add(uid)
                release.append(pod)
        if self._job.indexed:
            self.succeeded = len(self.indexes)
        self.release = tuple(release)

    def _count(self, pod: Pod) -> bool:
        """Take in a pod if it has ended; tell whether it has."""
        over = self._job.status.finished is not None or self._job.meta.deletion_timestamp
        if pod.status.phase == "Succeeded":
            index = index_of(pod)
            if not self._job.indexed:
                self.waiting_succeeded.append(pod.meta.uid)
            elif index is not None and index < (self._job.spec.completions or 0):
                self.indexes.add(index)
            return True
        if has_failed(self._job, pod):
            rule = matching_rule(self._job, pod)
            action = rule.action if rule is not None else "Count"
            if action == "FailJob" and not self.refusal:
                self.refusal = _refusal(pod, self._job)
            if action != "Ignore":
                self.waiting_failed.append(pod.meta.uid)
            return True
        return bool(over)

    @property
    def successes(self) -> int:
        """Pods that have succeeded, those included that are in no number yet."""
        return self.succeeded + len(self.waiting_succeeded)

    @property
    def failures(self) -> int:
        """Pods that have failed, those included that are in no number yet."""
        return self.failed + len(self.waiting_failed)

    def status(self) -> JobStatus:
        """Return the Job's status with these counts."""
        return replace(
            self._job.status,
            succeeded=self.succeeded,
            failed=self.failed,
            completed_indexes=write_indexes(self.indexes) if self._job.indexed else "",
            uncounted_terminated_pods=Uncounted(
                tuple(self.waiting_succeeded), tuple(self.waiting_failed)
            ),
        )


@dataclass
class _Staffing:
    """Decides how many pods there are to be."""

    job: Job
    pods: Sequence[Pod]
    crowds: Sequence[Crowd[Pod]]
    counting: _Counting
    now: datetime
    burst: int
    active: list[Pod] = field(default_factory=list[Pod])
    terminating: int = 0

    def plan(self, status: JobStatus) -> JobPlan:
        """Return the whole plan, given the counts."""
        counted = {pod.meta.uid for pod in self.counting.release}
        self.active = [p for p in self.pods if p.active and p.meta.uid not in counted]
        self.terminating = sum(
            p.meta.deletion_timestamp is not None and not p.terminal for p in self.pods
        )
        status = self._begun(status)
        ending = self._ending(status)
        if ending is not None:
            return self._end(status, ending)
        if self.job.meta.deletion_timestamp is not None or self.job.spec.suspend:
            gone = () if self.job.meta.deletion_timestamp is not None else tuple(self.active)
            status = self._numbered(status, 0 if gone else self._size)
            return JobPlan(status, self.counting.release, gone[: self.burst])
        return self._staff(status)

    @property
    def _awaited(self) -> list[Pod]:
        """Pods that are being deleted, and have no successor before they have ended."""
        going = (pod for pod in self.pods if not pod.active and not pod.terminal)
        return [pod for pod in going if _replaced_when_over(self.job, pod)]

    @property
    def _size(self) -> int:
        return len(self.active) + sum(crowd.count for crowd in self.crowds)

    def _numbered(self, status: JobStatus, active: int, gone: int = 0) -> JobStatus:
        ready = sum(is_ready(pod) for pod in self.active) if active else 0
        ready += sum(c.count for c in self.crowds if is_ready(c.sample))
        return replace(
            status,
            active=active,
            ready=min(ready, active),
            terminating=self.terminating + gone,
        )

    def _begun(self, status: JobStatus) -> JobStatus:
        """Note whether the Job is suspended, and when it began or went on."""
        suspended = status.condition(SUSPENDED) is not None
        if self.job.spec.suspend:
            if not suspended:
                status = _with(status, SUSPENDED, "JobSuspended", "Job suspended", self.now)
            return replace(status, start_time=None)
        if suspended:
            said = Condition(SUSPENDED, "False", "JobResumed", "Job resumed")
            status = _put(status, replace(said, last_transition_time=self.now))
            return replace(status, start_time=self.now)
        return replace(status, start_time=status.start_time or self.now)

    def _ending(self, status: JobStatus) -> Condition | None:
        """Return the condition that the Job is about to have, None while it goes on."""
        for kind, final in ((FAILURE_TARGET, FAILED), (SUCCESS_MET, COMPLETE)):
            begun = status.condition(kind)
            if begun is not None:
                return Condition(final, "True", begun.reason, begun.message)
        spec, counting = self.job.spec, self.counting
        if counting.refusal:
            return Condition(FAILED, "True", "PodFailurePolicy", counting.refusal)
        restarts = self._restarts()
        if counting.failures > spec.backoff_limit or restarts > max(spec.backoff_limit - 1, 0):
            words = "Job has reached the specified backoff limit"
            return Condition(FAILED, "True", "BackoffLimitExceeded", words)
        if self._deadline(status) == timedelta(0):
            words = "Job was active longer than specified deadline"
            return Condition(FAILED, "True", "DeadlineExceeded", words)
        if spec.completions is None:
            done = counting.successes > 0 and not self._size
        else:
            done = counting.successes >= spec.completions
        if done and self.job.meta.deletion_timestamp is None:
            words = "Reached expected number of succeeded pods"
            return Condition(COMPLETE, "True", "CompletionsReached", words)
        return None

    def _restarts(self) -> int:
        """Return how often containers of live pods were started again (restartPolicy OnFailure)."""
        template = self.job.template.spec
        if b'"OnFailure"' not in bytes(template):
            return 0
        return sum(
            each.restart_count or 0
            for pod in self.active
            for each in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        )

    def _deadline(self, status: JobStatus) -> timedelta | None:
        """Return how long the Job may still go on, None for ever."""
        seconds = self.job.spec.active_deadline_seconds
        if seconds is None or status.start_time is None:
            return None
        return max(status.start_time + timedelta(seconds=seconds) - self.now, timedelta(0))

    def _end(self, status: JobStatus, final: Condition) -> JobPlan:
        """Have the pods go that are left, and say that it is over when none is."""
        if self.crowds:
            return JobPlan(status, needs_each=True)
        interim = FAILURE_TARGET if final.type == FAILED else SUCCESS_MET
        if status.condition(interim) is None:
            status = _with(status, interim, final.reason, final.message, self.now)
        uncounted = status.uncounted_terminated_pods != Uncounted()
        if self.active or self.terminating or uncounted:
            gone = tuple(self.active[: self.burst])
            status = self._numbered(status, self._size - len(gone))
            return JobPlan(status, self.counting.release, gone)
        status = self._numbered(status, 0)
        status = _with(status, final.type, final.reason, final.message, self.now)
        if final.type == COMPLETE:
            status = replace(status, completion_time=self.now)
        left = self.job.spec.ttl_seconds_after_finished
        again = None if left is None else timedelta(seconds=left)
        return JobPlan(status, self.counting.release, look_again=again)

    def _staff(self, status: JobStatus) -> JobPlan:
        wanted, deadline = self._wanted(), self._deadline(status)
        excess = self._size - wanted
        if excess > 0:
            if self.crowds:
                return JobPlan(status, needs_each=True)
            doomed = self._doomed(excess)
            status = self._numbered(status, self._size - len(doomed), len(doomed))
            return JobPlan(status, self.counting.release, doomed, look_again=deadline)
        room = min(max(-excess - len(self._awaited), 0), self.burst)
        delay = self._delay()
        if room and delay > timedelta(0):
            status = self._numbered(status, self._size)
            again = delay if deadline is None else min(delay, deadline)
            return JobPlan(status, self.counting.release, look_again=again)
        indexes = self._free_indexes(room) if self.job.indexed else ()
        creates = len(indexes) if self.job.indexed else room
        doomed = self._duplicates() if self.job.indexed else ()
        status = self._numbered(status, self._size + creates - len(doomed))
        release = self.counting.release
        return JobPlan(status, release, doomed, creates, indexes, deadline)

    def _wanted(self) -> int:
        spec, done = self.job.spec, self.counting.successes
        if spec.completions is None:
            return min(self._size, spec.parallelism) if done else spec.parallelism
        return min(spec.parallelism, max(0, spec.completions - done))

    def _doomed(self, excess: int) -> tuple[Pod, ...]:
        """Return pods beyond the number: doubles of an index first, then the highest indexes."""
        if not self.job.indexed:
            return tuple(deletion_order(self.active, self.now)[: min(excess, self.burst)])
        doubles = self._duplicates()
        doubled = {pod.meta.uid for pod in doubles}
        ordered = sorted(
            (pod for pod in self.active if pod.meta.uid not in doubled),
            key=lambda pod: -(index_of(pod) or 0),
        )
        return (*doubles, *ordered)[: min(excess, self.burst)]

    def _duplicates(self) -> tuple[Pod, ...]:
        """Return live pods whose index is done, out of range, or another's."""
        taken, found = set(self.counting.indexes), list[Pod]()
        for pod in sorted(self.active, key=_made):
            index = index_of(pod)
            if index is None or index in taken or index >= (self.job.spec.completions or 0):
                found.append(pod)
            else:
                taken.add(index)
        return tuple(found)

    def _free_indexes(self, count: int) -> tuple[int, ...]:
        taken = self.counting.indexes | {i for p in self.active if (i := index_of(p)) is not None}
        taken |= {i for p in self._awaited if (i := index_of(p)) is not None}
        free = (i for i in range(self.job.spec.completions or 0) if i not in taken)
        return tuple(i for i, _ in zip(free, range(count), strict=False))

    def _delay(self) -> timedelta:
        """Return how long the next pod waits, for those that failed since the last success."""
        good = [ended_at(p) for p in self.pods if p.status.phase == "Succeeded"]
        since = max((at for at in good if at is not None), default=None)
        bad = [ended_at(p) for p in self.pods if p.status.phase == "Failed"]
        failed = [at for at in bad if at is not None and (since is None or at > since)]
        if not failed:
            return timedelta(0)
        seconds = min(_FIRST_DELAY * 2.0 ** (min(len(failed), 16) - 1), _LONGEST_DELAY)
        return max(failed) + timedelta(seconds=seconds) - self.now


def has_failed(job: Job, pod: Pod) -> bool:
    """Tell whether a pod counts as failed: it has, or it is being deleted (isPodFailed).

    Where only failed pods are replaced, or this one may run once at most, one that is being deleted
    counts when its host has stopped it.
    """
    if pod.status.phase == "Failed":
        return True
    if pod.meta.deletion_timestamp is None or pod.status.phase == "Succeeded":
        return False
    if not _replaced_when_over(job, pod):
        return True
    return not pod.node or not pod.meta.deletion_grace_period_seconds


def _replaced_when_over(job: Job, pod: Pod) -> bool:
    """Tell whether a pod that is being deleted has a successor only once it has ended."""
    return pod.at_most_once or job.spec.pod_replacement_policy == "Failed"


def matching_rule(job: Job, pod: Pod) -> FailureRule | None:
    """Return the first rule of the Job's podFailurePolicy that a failed pod meets."""
    policy = job.spec.pod_failure_policy
    if policy is None or pod.status.phase != "Failed":
        return None
    for rule in policy.rules:
        if rule.on_exit_codes is not None:
            if _exits(pod, rule.on_exit_codes):
                return rule
        elif any(_meets(pod, pattern) for pattern in rule.on_pod_conditions):
            return rule
    return None


def _exits(pod: Pod, wanted: ExitCodes) -> bool:
    for each in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        if wanted.container_name not in ("", each.name) or each.state.terminated is None:
            continue
        code = each.state.terminated.exit_code or 0
        if code and (code in wanted.values) == (wanted.operator == "In"):
            return True
    return False


def _meets(pod: Pod, pattern: ConditionPattern) -> bool:
    found = pod.status.condition(pattern.type)
    return found is not None and found.status == pattern.status


def _refusal(pod: Pod, job: Job) -> str:
    policy = job.spec.pod_failure_policy
    rule = matching_rule(job, pod)
    at = policy.rules.index(rule) if policy is not None and rule is not None else 0
    return f"Pod {pod.meta.namespace}/{pod.meta.name} matches FailJob rule at index {at}"


def index_of(pod: Pod) -> int | None:
    """Return the number of the completion that a pod works at, None for none."""
    said = pod.meta.annotations.get(INDEX, "")
    return int(said) if said.isdigit() else None


def ended_at(pod: Pod) -> datetime | None:
    """Return when the last container of an ended pod was over."""
    ends = [
        each.state.terminated.finished_at
        for each in pod.status.container_statuses
        if each.state.terminated is not None and each.state.terminated.finished_at is not None
    ]
    return max(ends, default=pod.meta.creation_timestamp)


def _made(pod: Pod) -> tuple[float, str]:
    at = pod.meta.creation_timestamp
    return (at.timestamp() if at is not None else 0.0, pod.meta.uid)


def _expires_in(job: Job, now: datetime) -> timedelta | None:
    """Return how long a Job that is over is kept, None for ever."""
    seconds, over = job.spec.ttl_seconds_after_finished, job.status.finished
    if seconds is None or over is None or over.last_transition_time is None:
        return None
    return max(over.last_transition_time + timedelta(seconds=seconds) - now, timedelta(0))


def _with(status: JobStatus, kind: str, reason: str, message: str, now: datetime) -> JobStatus:
    return _put(
        status,
        Condition(kind, "True", reason, message, last_transition_time=now, last_probe_time=now),
    )


def _put(status: JobStatus, condition: Condition) -> JobStatus:
    kept = tuple(c for c in status.conditions if c.type != condition.type)
    return replace(status, conditions=(*kept, condition))
