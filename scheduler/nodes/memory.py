"""What an agent remembers of a pod between two looks: failures, crashes and their delays.

All of it may be lost (the scheduler was restarted): then a delay starts over, nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .health import UNKNOWN, Doom, Health
from .instructions import (
    EnsureContainer,
    EnsureSandbox,
    Instruction,
    PullImage,
    RemovePod,
    RunPostStart,
    WriteVolumes,
)

STEADY = timedelta(minutes=10)  # a container that ran this long starts over with no delay


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from `initial` up to `limit` seconds."""

    initial: float
    limit: float

    def delay(self, count: int) -> timedelta:
        """Return the delay after the count-th failure in a row (1, 2, …)."""
        return timedelta(seconds=min(self.limit, self.initial * 2.0 ** min(count - 1, 32)))


CRASH = Backoff(1, 300)
PULL = Backoff(10, 300)  # kubelet's image back-off
CREATE = Backoff(1, 60)


@dataclass(frozen=True, slots=True)
class Failure:
    """An instruction that the host refused.

    Args:
        reason: as Kubernetes names it, e.g. "ErrImagePull".
        attempt: of the container or sandbox it was for.
        count: of failures in a row.
        backoff: by which the next try is delayed.
    """

    reason: str
    message: str
    attempt: int
    count: int
    at: datetime
    retry_at: datetime
    backoff: Backoff = CREATE

    def holds(self, now: datetime) -> bool:
        """Return whether it is too early to try again."""
        return _ahead(self.retry_at, self.retry_at - self.at, now)


@dataclass(frozen=True, slots=True)
class Crash:
    """The end of an attempt that will be followed by another.

    Args:
        count: of short runs in a row before this one; 0 restarts at once.
        until: when the next attempt may start.
    """

    attempt: int
    count: int
    until: datetime

    @property
    def delay_seconds(self) -> int:
        """The delay, for messages."""
        return int(CRASH.delay(self.count).total_seconds()) if self.count else 0

    def holds(self, now: datetime) -> bool:
        """Return whether it is too early for the next attempt."""
        return _ahead(self.until, CRASH.delay(self.count), now)


def _ahead(until: datetime, delay: timedelta, now: datetime) -> bool:
    """Return whether a moment is ahead; one that lies too far ahead is of a clock since set back.

    Args:
        delay: after which it was to come, when it was set.
    """
    return timedelta(0) < until - now <= 2 * delay


@dataclass(frozen=True, slots=True)
class ContainerMemory:
    """What is remembered of one container; `pulled` is the attempt whose image is ensured."""

    pulled: int = -1
    failure: Failure | None = None
    crash: Crash | None = None
    health: Health = UNKNOWN


@dataclass(frozen=True, slots=True)
class Eviction:
    """Why a pod is stopped, and fails.

    Args:
        disrupts: it makes room though it did nothing it may not, as DisruptionTarget then says.
    """

    why: str
    disrupts: bool = True


@dataclass(frozen=True, slots=True)
class PodMemory:
    """What is remembered of one pod.

    Args:
        sandbox_attempts: sandboxes seen or made so far; the next one's attempt.
        sandbox_crash: the death of the newest sandbox, which another will follow.
        volumes: the version of the volumes' files that was written, "" when they are stale.
        volumes_attempt: the sandbox they were written for, be they stale or not.
        sandbox_made: this process made the present sandbox, so nothing ran in it before.
        eviction: why it has to go, None if it has not.
        cleared: once it has ended, what is left of it on the host is to go, too.
    """

    containers: Mapping[str, ContainerMemory] = field(default_factory=dict[str, ContainerMemory])
    sandbox_failure: Failure | None = None
    sandbox_crash: Crash | None = None
    sandbox_attempts: int = 0
    sandbox_made: bool = False
    volumes: str = ""
    volumes_attempt: int = -1
    volumes_failure: Failure | None = None
    eviction: Eviction | None = None
    cleared: bool = False

    def of(self, container: str) -> ContainerMemory:
        """Return what is remembered of a container."""
        return self.containers.get(container, _NOTHING)

    def with_health(self, name: str, health: Health) -> "PodMemory":
        """Return this memory with what is known of a running container replaced."""
        return self.with_container(name, replace(self.of(name), health=health))

    def with_container(self, name: str, memory: ContainerMemory) -> "PodMemory":
        """Return this memory with one container's replaced."""
        return replace(self, containers={**self.containers, name: memory})


_NOTHING = ContainerMemory()


def as_left(memory: PodMemory) -> PodMemory:
    """Return what holds when a session has ended: nobody heard what changed from then on."""
    return replace(memory, volumes="")


def succeeded(memory: PodMemory, done: Instruction) -> PodMemory:
    """Return the memory after the host did what it was asked."""
    match done:
        case PullImage(container, attempt):
            known = memory.of(container)
            # Of a container that cannot be created it tells nothing that its image is there.
            still = known.failure if known.failure and known.failure.backoff == CREATE else None
            return memory.with_container(container, replace(known, pulled=attempt, failure=still))
        case EnsureContainer(container, _):
            kept = replace(memory.of(container), pulled=-1, failure=None)
            return memory.with_container(container, kept)
        case EnsureSandbox(attempt):
            return replace(
                memory,
                sandbox_failure=None,
                sandbox_attempts=max(memory.sandbox_attempts, attempt + 1),
                sandbox_made=True,
            )
        case WriteVolumes(attempt, version):
            return replace(memory, volumes=version, volumes_attempt=attempt, volumes_failure=None)
        case RunPostStart(container, _, attempt):
            health = memory.of(container).health.of(attempt)
            return memory.with_health(container, replace(health, hooked=True))
        case RemovePod():
            return PodMemory()
        case _:
            return memory


def failed(
    memory: PodMemory, tried: Instruction, reason: str, message: str, now: datetime
) -> PodMemory:
    """Return the memory after the host refused; an unknown outcome is not remembered."""
    match tried:
        case PullImage(container, attempt) | EnsureContainer(container, attempt):
            backoff = PULL if isinstance(tried, PullImage) else CREATE
            known = memory.of(container)
            before = known.failure if known.failure and known.failure.attempt == attempt else None
            failure = _again(before, backoff, reason, message, attempt, now)
            # A container that cannot be created pulls again: its image may have been removed.
            return memory.with_container(container, replace(known, failure=failure, pulled=-1))
        case EnsureSandbox(attempt):
            failure = _again(memory.sandbox_failure, CREATE, reason, message, attempt, now)
            return replace(memory, sandbox_failure=failure)
        case WriteVolumes(attempt, _):
            failure = _again(memory.volumes_failure, CREATE, reason, message, attempt, now)
            return replace(memory, volumes_failure=failure)
        case RunPostStart(container, _, attempt):
            health = memory.of(container).health.of(attempt)
            return memory.with_health(container, replace(health, doom=Doom(reason)))
        case _:
            return memory


def _again(
    before: Failure | None,
    backoff: Backoff,
    reason: str,
    message: str,
    attempt: int,
    now: datetime,
) -> Failure:
    count = before.count + 1 if before and before.backoff == backoff else 1
    return Failure(reason, message, attempt, count, now, now + backoff.delay(count), backoff)


def crashed(before: Crash | None, attempt: int, ran: timedelta, now: datetime) -> Crash:
    """Return the delay after an attempt has ended: the first restart is immediate (kubelet).

    Args:
        before: the crash remembered of an earlier attempt.
        ran: for how long this attempt ran.
    """
    count = before.count + 1 if before and ran < STEADY else 0
    return Crash(attempt, count, now + CRASH.delay(count) if count else now)
