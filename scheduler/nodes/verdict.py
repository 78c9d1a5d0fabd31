"""What should become of one container of a pod: kept, awaited, started, replaced or done."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from ..drivers import ContainerStatus, EngineState
from ..objects.pod import Container, ContainerStateTerminated, PodContainerStatus
from .health import Doom
from .memory import Crash, PodMemory, crashed
from .pod_status import ended, failed_start


class Fate(Enum):
    """The next thing to happen to a container."""

    KEEP = auto()  # it runs as it should
    DONE = auto()  # it has ended and will not be started again
    START = auto()  # start `attempt` now
    WAIT = auto()  # start `attempt` not before `until`
    REPLACE = auto()  # it runs, but not what or where it should


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a container, and why.

    Args:
        attempt: the one that runs, has ended, or is to be started.
        until: for WAIT.
        crash: the crash that a restart follows, for the pod's memory.
        crashed_now: the crash is seen for the first time.
        lost: the end of an attempt that ran but that the host no longer has.
        succeeded: for DONE, whether it ended with exit code 0.
        doom: for REPLACE, why what runs must go, when it is not that something else should run.
    """

    fate: Fate
    attempt: int
    until: datetime | None = None
    crash: Crash | None = None
    crashed_now: bool = False
    lost: ContainerStateTerminated | None = None
    succeeded: bool = False
    doom: Doom | None = None


def judge(  # noqa: PLR0913 - keyword-only facts of one container
    container: Container,
    latest: ContainerStatus | None,
    *,
    policy: str,
    current: bool,
    shown: PodContainerStatus | None,
    memory: PodMemory,
    now: datetime,
) -> Verdict:
    """Judge one container.

    Args:
        latest: its newest attempt on the host, None when the host has none.
        policy: "Always", "OnFailure" or "Never"; for init containers "InitNever" or
            "InitOnFailure", with "Fresh" added when nothing can have run in the present sandbox.
        current: latest is what the spec asks for, in the sandbox that runs now.
        shown: the status shown until now; tells of attempts the host no longer has.
    """
    if latest is None:
        verdict = _absent(container, policy, shown)
    elif latest.state is EngineState.RUNNING:
        doom = memory.of(container.name).health.of(latest.attempt).doom
        kept = current and doom is None
        return Verdict(Fate.KEEP if kept else Fate.REPLACE, latest.attempt, doom=doom)
    elif not ended(latest):
        verdict = Verdict(Fate.START, latest.attempt if current else latest.attempt + 1)
    else:
        verdict = _after_end(container, latest, policy, current, memory, now)
    return _after_failure(container, verdict, memory, now)


def _absent(container: Container, policy: str, shown: PodContainerStatus | None) -> Verdict:
    """Judge a container that the host does not have: never started, or lost after it was."""
    if shown is None or not shown.container_id:
        return Verdict(Fate.START, 0)
    before = shown.last_state.terminated if shown.state.waiting else None
    end = (
        shown.state.terminated
        or before
        or ContainerStateTerminated(
            exit_code=137,
            reason="ContainerStatusUnknown",
            message="The host no longer has the container; how it ended is unknown",
            container_id=shown.container_id,
        )
    )
    attempt = shown.restart_count or 0
    success = end.exit_code == 0
    if policy.endswith("Fresh") or _restarts(container, policy, end.exit_code or 0):
        return Verdict(Fate.START, attempt + 1, lost=end)
    return Verdict(Fate.DONE, attempt, lost=end, succeeded=success)


def _after_end(
    container: Container,
    latest: ContainerStatus,
    policy: str,
    current: bool,
    memory: PodMemory,
    now: datetime,
) -> Verdict:
    doomed = memory.of(container.name).health.of(latest.attempt).doom is not None
    success = latest.exit_code == 0 and not failed_start(latest)
    exit_code = latest.exit_code or (0 if success and not doomed else 1)
    if not _restarts(container, policy, exit_code):
        # What an init container did for an earlier sandbox counts for nothing in this one.
        if current or not policy.startswith("Init") or not success:
            return Verdict(Fate.DONE, latest.attempt, succeeded=success)
        return Verdict(Fate.START, latest.attempt + 1)
    if not current:
        return Verdict(Fate.START, latest.attempt + 1)
    crash = memory.of(container.name).crash
    new = crash is None or crash.attempt != latest.attempt
    if crash is None or new:
        crash = crashed(crash, latest.attempt, _ran(latest), now)
    fate = Fate.WAIT if crash.holds(now) else Fate.START
    return Verdict(fate, latest.attempt + 1, until=crash.until, crash=crash, crashed_now=new)


def _after_failure(
    container: Container, verdict: Verdict, memory: PodMemory, now: datetime
) -> Verdict:
    """Hold a start back while the last refusal of the same attempt is fresh."""
    failure = memory.of(container.name).failure
    if verdict.fate is not Fate.START or failure is None or failure.attempt != verdict.attempt:
        return verdict
    if not failure.holds(now):
        return verdict
    return Verdict(Fate.WAIT, verdict.attempt, until=failure.retry_at, lost=verdict.lost)


def _restarts(container: Container, policy: str, exit_code: int) -> bool:
    """Return whether a container that ended so is started again (ShouldContainerBeRestarted)."""
    for rule in container.restart_policy_rules:
        codes = rule.exit_codes
        if codes is not None and (exit_code in codes.values) == (codes.operator == "In"):
            return True
    if policy == "Always":
        return True
    return exit_code != 0 and policy.removeprefix("Init").removesuffix("Fresh") == "OnFailure"


def _ran(status: ContainerStatus) -> timedelta:
    if status.started_at is None or status.finished_at is None:
        return timedelta(0)
    return status.finished_at - status.started_at
