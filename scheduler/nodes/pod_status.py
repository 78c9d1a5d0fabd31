"""The status a pod shows, from what is observed, as kubelet computes it.

Phase follows kubelet's getPhase, conditions its status/generate.go.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec.structs import replace

from ..drivers import ContainerStatus, EngineState
from ..objects.pod import (
    Condition,
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    PodContainerStatus,
    PodIP,
    PodStatus,
)
from .health import Health

OWNED_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
)


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """All that is known of one container of the pod.

    Args:
        latest: the engine's newest attempt, if it has one.
        previous: the newest attempt before it that has ended.
        waiting: why it does not run, when the machine knows better than the engine.
        lost: the end of an attempt that ran but that the engine no longer has.
        before: the status shown until now.
        health: of a running attempt; None counts as started and ready.
    """

    container: Container
    latest: ContainerStatus | None = None
    previous: ContainerStatus | None = None
    waiting: ContainerStateWaiting | None = None
    lost: ContainerStateTerminated | None = None
    before: PodContainerStatus | None = None
    health: Health | None = None


@dataclass(frozen=True, slots=True)
class PodFailure:
    """Why a pod has failed as a whole, whatever its containers did."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class PodReport:
    """All that goes into a pod's status.

    Args:
        again: an app has ended and will be started once more.
        ended: the pod's containers will not be started again, whatever its policy says.
        hold: do not show a final phase yet (the sandbox still holds its ports).
        pod_ip: "" while there is no running sandbox.
        gates: condition types that readiness waits for.
        failure: the pod is Failed, and why.
    """

    apps: Sequence[ContainerReport]
    inits: Sequence[ContainerReport]
    restart_policy: str
    runtime: str
    pod_ip: str
    host_ip: str
    bound_at: datetime
    generation: int
    again: bool = False
    ephemerals: Sequence[ContainerReport] = ()
    ended: bool = False
    hold: bool = False
    gates: tuple[str, ...] = ()
    failure: PodFailure | None = None


def failed_start(status: ContainerStatus) -> bool:
    """Return whether the engine created the container but could not start it."""
    return status.state is EngineState.CREATED and bool(status.reason or status.exit_code)


def ended(status: ContainerStatus) -> bool:
    """Return whether the attempt is over."""
    return status.state is EngineState.EXITED or failed_start(status)


def terminated(status: ContainerStatus, runtime: str) -> ContainerStateTerminated:
    """Return how an attempt ended, in Kubernetes' words."""
    exit_code = status.exit_code or (128 if failed_start(status) else 0)
    if status.oom_killed:
        reason = "OOMKilled"
    elif failed_start(status):
        reason = status.reason or "StartError"
    else:
        reason = status.reason or ("Error" if exit_code else "Completed")
    return ContainerStateTerminated(
        exit_code=exit_code,
        reason=reason,
        message=status.message,
        started_at=_seconds(status.started_at),
        finished_at=_seconds(status.finished_at),
        container_id=f"{runtime}://{status.id}",
    )


def restartable(container: Container) -> bool:
    """Return whether an init container is a sidecar (restartPolicy Always)."""
    return container.restart_policy == "Always"


def build_status(report: PodReport, before: PodStatus, now: datetime) -> PodStatus:
    """Return the status to show.

    Args:
        before: the status shown until now; what is not the node's to say is kept.
        now: UTC; becomes the transition time of conditions that change.
    """
    waiting = "PodInitializing" if report.inits else "ContainerCreating"
    apps = [_container_status(r, report.runtime, waiting) for r in report.apps]
    inits = [_container_status(r, report.runtime, waiting, init=True) for r in report.inits]
    ephemerals = [_container_status(r, report.runtime, waiting) for r in report.ephemerals]
    failure = report.failure
    phase = "Failed" if failure else _phase(report, apps, inits)
    if report.hold and phase in {"Succeeded", "Failed"}:
        phase = before.phase if before.phase in {"Pending", "Running"} else "Running"
        failure = None
    pod_ip = report.pod_ip or before.pod_ip
    return replace(
        before,
        phase=phase,
        reason=failure.reason if failure else before.reason,
        message=failure.message if failure else before.message,
        conditions=_conditions(report, phase, (apps, inits), before, now),
        host_ip=report.host_ip,
        pod_ip=pod_ip,
        pod_ips=(PodIP(pod_ip),) if pod_ip else (),
        start_time=before.start_time or now.replace(microsecond=0),
        container_statuses=tuple(sorted(apps, key=lambda s: s.name)),
        init_container_statuses=tuple(inits),
        ephemeral_container_statuses=tuple(replace(s, ready=False) for s in ephemerals),
        observed_generation=report.generation,
    )


_SOUND = Health(started=True, ready=True)


def _container_status(
    report: ContainerReport, runtime: str, waiting: str, *, init: bool = False
) -> PodContainerStatus:
    latest, before = report.latest, report.before
    state = _state(report, runtime, waiting)
    running = state.running is not None
    health = report.health or _SOUND
    # A regular init container is ready when it has succeeded, all others while they run.
    regular = init and not restartable(report.container)
    done = state.terminated is not None and state.terminated.exit_code == 0
    known_id = f"{runtime}://{latest.id}" if latest else before.container_id if before else ""
    attempt = latest.attempt if latest else (before.restart_count or 0) if before else 0
    return PodContainerStatus(
        name=report.container.name,
        ready=done if regular else running and bool(health.ready),
        restart_count=attempt,
        image=latest.image if latest and latest.image else report.container.image,
        image_id=latest.image_id if latest else (before.image_id or "") if before else "",
        container_id=known_id,
        started=running and bool(health.started),
        state=state,
        last_state=_last_state(report, state, runtime, attempt),
    )


def _state(report: ContainerReport, runtime: str, waiting: str) -> ContainerState:
    latest = report.latest
    if report.waiting is not None:
        return ContainerState(waiting=report.waiting)
    if latest is not None and latest.state is EngineState.RUNNING:
        started = _seconds(latest.started_at)
        return ContainerState(running=ContainerStateRunning(started))
    if latest is not None and ended(latest):
        return ContainerState(terminated=terminated(latest, runtime))
    if report.lost is not None:
        return ContainerState(terminated=report.lost)
    return ContainerState(waiting=ContainerStateWaiting(reason=waiting))


def _last_state(
    report: ContainerReport, state: ContainerState, runtime: str, attempt: int
) -> ContainerState:
    latest = report.latest
    if state.waiting is not None and latest is not None and ended(latest):
        return ContainerState(terminated=terminated(latest, runtime))
    if state.waiting is not None and report.lost is not None:
        return ContainerState(terminated=report.lost)
    if report.previous is not None:
        return ContainerState(terminated=terminated(report.previous, runtime))
    if report.before is not None and report.before.restart_count == attempt:
        return report.before.last_state
    return ContainerState()


def _phase(
    report: PodReport, apps: Sequence[PodContainerStatus], inits: Sequence[PodContainerStatus]
) -> str:
    sidecars = [s for s, r in zip(inits, report.inits, strict=True) if restartable(r.container)]
    regular = [s for s, r in zip(inits, report.inits, strict=True) if not restartable(r.container)]
    ends = [_end(s) for s in regular]
    own = [r.container.restart_policy for r in report.inits if not restartable(r.container)]
    for end, policy in zip(ends, own, strict=True):
        if end and end.exit_code and (policy or report.restart_policy) == "Never":
            return "Failed"
    begun = _any_started(apps)
    fresh = [
        s
        for s in sidecars
        if (s.state.waiting and s.last_state.terminated is None)
        or (s.state.running and not s.started and not begun)
    ]
    waiting = [s for s in apps if s.state.running is None and _end(s) is None]
    running = any(s.state.running for s in (*apps, *sidecars))
    stopped = [s for s in apps if _end(s) is not None]
    if None in ends or fresh or waiting:
        return "Failed" if report.ended and not running and stopped else "Pending"
    if running:
        return "Running"
    if stopped:
        succeeded = [s for s in apps if s.state.terminated and s.state.terminated.exit_code == 0]
        return _phase_of_stopped(report, len(stopped), len(succeeded))
    return "Pending"


def _end(status: PodContainerStatus) -> ContainerStateTerminated | None:
    """Return how a container that waits or has terminated ended last, None if it never did."""
    if status.state.running is not None:
        return None
    return status.state.terminated or status.last_state.terminated


def _phase_of_stopped(report: PodReport, stopped: int, succeeded: int) -> str:
    if report.ended:
        return "Succeeded" if stopped == succeeded else "Failed"
    if report.again or report.restart_policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if report.restart_policy == "Never" else "Running"


def _any_started(apps: Iterable[PodContainerStatus]) -> bool:
    return any(
        s.state.running is not None
        or s.state.terminated is not None
        or s.last_state.terminated is not None
        for s in apps
    )


def _conditions(
    report: PodReport,
    phase: str,
    statuses: tuple[Sequence[PodContainerStatus], Sequence[PodContainerStatus]],
    before: PodStatus,
    now: datetime,
) -> tuple[Condition, ...]:
    apps, inits = statuses
    sidecars = [s for s, r in zip(inits, report.inits, strict=True) if restartable(r.container)]
    ready = _containers_ready(phase, [*sidecars, *apps])
    fresh = (
        ("PodReadyToStartContainers", "True" if report.pod_ip else "False", "", ""),
        ("Initialized", *_initialized(report, phase, apps, inits)),
        ("Ready", *_ready(report, before, ready)),
        ("ContainersReady", *ready),
        ("PodScheduled", "True", "", ""),
    )
    kept = [c for c in before.conditions if c.type not in OWNED_CONDITIONS]
    built = [_condition(report, before, now, each) for each in fresh]
    return (*built, *kept)


def _condition(
    report: PodReport, before: PodStatus, now: datetime, fresh: tuple[str, str, str, str]
) -> Condition:
    kind, status, reason, message = fresh
    old = before.condition(kind)
    moved = report.bound_at if kind == "PodScheduled" else now
    if old is not None and old.status == status and old.last_transition_time is not None:
        moved = old.last_transition_time
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=moved.replace(microsecond=0),
        last_probe_time=old.last_probe_time if old else None,
    )


def _containers_ready(phase: str, apps: Sequence[PodContainerStatus]) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "False", "PodCompleted", ""
    if phase == "Failed":
        return "False", "PodFailed", ""
    unready = [s.name for s in apps if not s.ready]
    if unready:
        return (
            "False",
            "ContainersNotReady",
            f"containers with unready status: [{' '.join(unready)}]",
        )
    return "True", "", ""


def _ready(
    report: PodReport, before: PodStatus, containers: tuple[str, str, str]
) -> tuple[str, str, str]:
    """Return the Ready condition: the containers', and every readiness gate's."""
    if containers[0] != "True":
        return containers
    unmet: list[str] = []
    for gate in report.gates:
        found = before.condition(gate)
        if found is None:
            unmet.append(f'corresponding condition of pod readiness gate "{gate}" does not exist.')
        elif found.status != "True":
            text = f'the status of pod readiness gate "{gate}" is not "True", but {found.status}'
            unmet.append(text)
    return ("False", "ReadinessGatesNotReady", ", ".join(unmet)) if unmet else containers


def _initialized(
    report: PodReport,
    phase: str,
    apps: Sequence[PodContainerStatus],
    inits: Sequence[PodContainerStatus],
) -> tuple[str, str, str]:
    if phase == "Succeeded":
        return "True", "PodCompleted", ""
    pairs = zip(inits, report.inits, strict=True)
    unready = [s.name for s, r in pairs if not (s.started if restartable(r.container) else s.ready)]
    if unready and not _any_started(apps):
        return (
            "False",
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(unready)}]",
        )
    return "True", "", ""


def _seconds(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC).replace(microsecond=0) if moment else None
