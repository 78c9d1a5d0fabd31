"""What is known of a running container beyond that it runs: its hooks, its probes, its doom.

Pure. Kubernetes: kubelet's prober and results manager; a container without a probe of a kind counts
as if it had succeeded. What this process does not know (another led before) is taken from the
status that was shown last.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from ..drivers import ContainerStatus
from ..objects.handlers import LifecycleHandler, Probe
from ..objects.pod import Container, PodContainerStatus


class ProbeKind(StrEnum):
    """The three probes, as events name them."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True, slots=True)
class Watch:
    """A probe that should be going on."""

    container: str
    container_id: str
    attempt: int
    kind: ProbeKind
    probe: Probe


@dataclass(frozen=True, slots=True)
class Doom:
    """Why a running container must be stopped, and restarted if its policy allows.

    Args:
        message: for the Killing event.
        grace_seconds: the probe's own, None for the pod's.
    """

    message: str
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Of one attempt of a container; None where nothing is known yet.

    Args:
        hooked: the postStart hook is over.
        started: the startup probe has succeeded.
        ready: what the readiness probe says.
    """

    attempt: int = -1
    hooked: bool | None = None
    started: bool | None = None
    ready: bool | None = None
    doom: Doom | None = None

    def of(self, attempt: int) -> "Health":
        """Return this if it is of that attempt, else that nothing is known of it."""
        return self if self.attempt == attempt else Health(attempt)


UNKNOWN = Health()


def post_start(container: Container) -> LifecycleHandler | None:
    """Return the hook that runs right after a start, None without one."""
    return container.lifecycle.post_start if container.lifecycle else None


def pre_stop(container: Container) -> LifecycleHandler | None:
    """Return the hook that runs before a stop, None without one."""
    return container.lifecycle.pre_stop if container.lifecycle else None


def known_health(
    container: Container,
    status: ContainerStatus,
    remembered: Health,
    shown: PodContainerStatus | None,
    runtime: str,
) -> Health:
    """Return the health of a running container with every question answered.

    A container has started once its postStart hook is over and its startup probe has succeeded,
    and can only be ready once it has started.
    """
    health = remembered.of(status.attempt)
    same = shown is not None and shown.container_id == f"{runtime}://{status.id}"
    was_started = same and shown is not None and bool(shown.started)
    was_ready = same and shown is not None and bool(shown.ready)
    hooked = _either(health.hooked, post_start(container) is None or was_started)
    started = _either(health.started, container.startup_probe is None or was_started)
    ready = _either(health.ready, container.readiness_probe is None or was_ready)
    return replace(
        health, hooked=hooked, started=hooked and started, ready=hooked and started and ready
    )


def _either(known: bool | None, otherwise: bool) -> bool:
    return otherwise if known is None else known


def watches(container: Container, status: ContainerStatus, health: Health) -> Iterator[Watch]:
    """Yield the probes of a running container: startup first, the others once it has started."""
    wanted = [(ProbeKind.STARTUP, container.startup_probe)]
    if health.started or container.startup_probe is None:
        wanted = [
            (ProbeKind.LIVENESS, container.liveness_probe),
            (ProbeKind.READINESS, container.readiness_probe),
        ]
    for kind, probe in wanted:
        if probe is not None and health.hooked:
            yield Watch(container.name, status.id, status.attempt, kind, probe)


def after_probe(health: Health, watch: Watch, *, success: bool) -> Health:
    """Return the health after a probe has reached one of its thresholds."""
    health = health.of(watch.attempt)
    if watch.kind is ProbeKind.READINESS:
        return replace(health, ready=success)
    if success:
        return replace(health, started=True)
    message = f"Container {watch.container} failed {watch.kind.lower()} probe"
    grace = watch.probe.termination_grace_period_seconds
    return replace(health, doom=Doom(message, grace))


@dataclass(frozen=True, slots=True)
class Tally:
    """Results of one probe in a row.

    Args:
        told: the last verdict given, None before the first.
    """

    success: bool = False
    run: int = 0
    told: bool | None = None

    def count(self, probe: Probe, *, success: bool) -> "tuple[Tally, bool | None]":
        """Return the tally after a result, and a verdict when one is reached that is news."""
        run = self.run + 1 if self.run and self.success == success else 1
        threshold = probe.success_threshold if success else probe.failure_threshold
        news = run >= threshold and success is not self.told
        return Tally(success, run, success if news else self.told), success if news else None
