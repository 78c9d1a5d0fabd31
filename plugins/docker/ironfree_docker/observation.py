"""From what the engine says to the values of scheduler.drivers."""

from collections.abc import Iterable
from datetime import UTC, datetime

from scheduler.drivers import ContainerStatus, EngineState, PodObservation, SandboxStatus

from . import wire
from .labels import (
    ADOPTED,
    API_ACCESS,
    ATTEMPT,
    CONTAINER,
    INFRA,
    RUNTIME,
    SPEC_HASH,
    identity_of,
    number,
)

RUNNING = frozenset({"running", "paused", "restarting"})
"""The engine's states of containers that run, or will without anybody's doing."""
_STATES = {"created": EngineState.CREATED} | dict.fromkeys(RUNNING, EngineState.RUNNING)


def is_infra(labels: dict[str, str]) -> bool:
    """Whether these are the labels of an infra container."""
    return labels.get(CONTAINER) == INFRA


def container_status(found: wire.Container) -> ContainerStatus:
    """One app container; a start that failed has reason StartError and the engine's words."""
    state = found.state
    engine_state = _STATES.get(state.status, EngineState.EXITED)
    started, finished = _time(state.started_at), _time(state.finished_at)
    if engine_state is not EngineState.EXITED:
        finished = None  # of the run before, if someone started it again
    elif started and finished:
        started = min(started, finished)  # the engine notes a start late: after a quick end
    return ContainerStatus(
        name=found.labels.get(CONTAINER, ""),
        id=found.id,
        attempt=number(found.labels, ATTEMPT),
        spec_hash=found.labels.get(SPEC_HASH, ""),
        state=engine_state,
        image=found.config.image,
        image_id=found.digest or found.image,
        exit_code=state.exit_code,
        oom_killed=state.oom_killed,
        created_at=_time(found.created),
        started_at=started,
        finished_at=finished,
        reason="StartError" if start_failed(found) else "",
        message=state.error,
    )


def start_failed(found: wire.Container) -> bool:
    """Whether the engine tried to start it and could not."""
    return found.state.status == "created" and found.state.exit_code != 0


def sandbox_status(found: wire.Container) -> SandboxStatus:
    """An infra container."""
    networks = found.network_settings.networks if found.network_settings else None
    addresses = [each.ip_address for each in (networks or {}).values() if each is not None]
    return SandboxStatus(
        identity=identity_of(found.labels),
        id=found.id,
        attempt=number(found.labels, ATTEMPT),
        running=_STATES.get(found.state.status) is EngineState.RUNNING,
        ip=next((address for address in addresses if address), ""),
        created_at=_time(found.created),
        runtime=found.labels.get(RUNTIME, ""),
        api_access=API_ACCESS in found.labels,
    )


def observations(found: Iterable[wire.Container]) -> tuple[PodObservation, ...]:
    """Group a host's containers by pod; of several sandboxes the newest attempt counts.

    An adopted container is its pod's sandbox for as long as it runs.
    """
    pods: dict[str, list[wire.Container]] = {}
    for container in found:
        pods.setdefault(identity_of(container.labels).uid, []).append(container)
    return tuple(_observation(pods[uid]) for uid in sorted(pods))


def _observation(parts: list[wire.Container]) -> PodObservation:
    sandboxes = [sandbox_status(part) for part in parts if _is_sandbox(part)]
    containers = [container_status(part) for part in parts if not is_infra(part.labels)]
    newest = max(sandboxes, key=lambda sandbox: sandbox.attempt, default=None)
    return PodObservation(
        identity=newest.identity if newest else identity_of(parts[0].labels),
        sandbox=newest,
        containers=tuple(sorted(containers, key=lambda each: (each.name, each.attempt))),
    )


def _is_sandbox(part: wire.Container) -> bool:
    runs = _STATES.get(part.state.status) is EngineState.RUNNING
    return is_infra(part.labels) or (ADOPTED in part.labels and runs)


def _time(time: datetime | None) -> datetime | None:
    """Go's zero time means never."""
    return None if time is None or time.year <= 1 else time.astimezone(UTC)
