"""What a DockerHost says of its engine: whether it is reached, what was examined, what to mend."""

import logging
from datetime import datetime

import msgspec
from msgspec.structs import replace

from ..drivers import HostInfo
from ..errors import ConfigurationError, Conflict, HostUnreachable, NotFound, Unavailable
from ..objects.maintenance import CONDITION
from ..objects.meta import now_seconds
from ..objects.pod import Condition
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Replace
from .docker_host import RESOURCE, DockerHost, DockerHostStatus, docker_host_view
from .office import Office

_log = logging.getLogger(__name__)
_RACES = 8  # optimistic writes tried before giving up until the next occasion


async def tell_reached(
    office: Office, host: DockerHost, info: HostInfo, latest: StoredObject | None = None
) -> None:
    """Put on a DockerHost that its engine answers, and what that says.

    Args:
        latest: what the DockerHost is in the store, if that was read just now.

    Raises:
        Unavailable: the store does not answer.
    """
    reason, message = "EngineReady", f"{info.engine} answers"
    if info.warnings:
        reason, message = "EngineReadyWithWarnings", "; ".join(info.warnings)
    await _tell(office, host, info, (reason, message), latest)


async def tell_failure(office: Office, host: DockerHost, error: Exception, message: str) -> None:
    """Put on a DockerHost why its engine is not reached; if the store does not answer, log that.

    Args:
        error: tells the reason.
        message: why, and what to mend.
    """
    try:
        await _tell(office, host, None, (_reason(error), message))
    except Unavailable as unavailable:
        _log.warning("host %s: %s", host.name, unavailable)


def _reason(error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return "InvalidConfiguration"
    return "Unreachable" if isinstance(error, HostUnreachable) else "EngineRefused"


async def _tell(
    office: Office,
    host: DockerHost,
    info: HostInfo | None,
    words: tuple[str, str],
    latest: StoredObject | None = None,
) -> None:
    """Write what has changed, if that is still this DockerHost; a lost race is run again."""
    key = ObjectKey(RESOURCE, "", host.name)
    for _ in range(_RACES):
        stored, latest = latest or await office.store.get(key), None
        if stored is None or stored.meta.uid != host.meta.uid:
            return
        status = reachability(docker_host_view(stored), info, *words, now_seconds())
        if status is None:
            return
        try:
            await office.store.write(_write(stored, status, office.epoch))
        except Conflict:
            continue
        except NotFound:
            return
        return


def _write(stored: StoredObject, status: DockerHostStatus, epoch: int) -> Replace:
    raw = msgspec.json.encode(status)
    return Replace(
        RESOURCE, stored.meta, stored.body, raw, expected_revision=stored.revision, epoch=epoch
    )


def reachability(
    host: DockerHost, info: HostInfo | None, reason: str, message: str, now: datetime
) -> DockerHostStatus | None:
    """Return the DockerHost's new status, or None when nothing has changed.

    Args:
        info: of the engine, None while it does not answer.
        reason, message: why it does not, and what to mend; or a word of content.
    """
    before = host.status
    status = "True" if info is not None else "False"
    said = [(kind, (status, reason, message)) for kind in ("Ready", "Reachable")]
    said += _examined(host, info)
    told = {kind for kind, _ in said}
    kept = (c for c in before.conditions if c.type not in told)
    fresh = replace(
        before,
        conditions=(
            *(_reached(before, host, kind, words, now) for kind, words in said),
            *(c for c in kept if info is None or c.type == CONDITION),
        ),
        node_name=host.name if info else before.node_name,
        engine_version=info.engine if info else before.engine_version,
        api_version=info.api_version if info else before.api_version,
        observed_generation=host.meta.generation,
    )
    return None if fresh == before else fresh


def _examined(host: DockerHost, info: HostInfo | None) -> list[tuple[str, tuple[str, str, str]]]:
    """Return the conditions of what the driver has examined, and on whose demand."""
    if info is None:
        return []
    said = [
        (f.check, ("True", "Sound", f.message) if f.sound else ("False", "ToMend", f.message))
        for f in info.findings
    ]
    demand = host.examine
    return [*said, ("Examined", ("True", "OnDemand", demand))] if demand else said


def _reached(
    before: DockerHostStatus,
    host: DockerHost,
    kind: str,
    words: tuple[str, str, str],
    now: datetime,
) -> Condition:
    status, reason, message = words
    old = next((c for c in before.conditions if c.type == kind), None)
    moved = old.last_transition_time if old and old.status == status else now
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=moved or now,
        observed_generation=host.meta.generation,
    )
