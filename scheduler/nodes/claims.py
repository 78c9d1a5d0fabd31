"""What a pod's claims stand for: its volumes with the volumes that the claims are bound to."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from msgspec.structs import replace

from ..objects.pod import Pod, Volume, claim_names
from ..objects.storage import (
    VOLUMES,
    PersistentVolume,
    claim_key,
    claim_view,
    volume_view,
)
from ..objects.stored import ObjectKey, StoredObject
from ..objects.volumes import HostPathSource

_PATIENCE = 2.0  # seconds for a volume that is being made just now

Read = Callable[[ObjectKey], Awaitable[StoredObject | None]]
News = Callable[[ObjectKey], AbstractContextManager[asyncio.Event]]
"""Has an event set at every change of an object, for as long as the context lasts."""


@dataclass(frozen=True, slots=True)
class ClaimProblem:
    """Why a claim cannot be mounted yet."""

    volume: str
    message: str


async def with_claims(read: Read, news: News, pod: Pod) -> Pod | ClaimProblem:
    """Return a pod with what its claims are bound to in place of nothing.

    Args:
        read: an object of the store.
        news: of a claim.
    """
    if not claim_names(pod.spec):
        return pod
    volumes: list[Volume] = []
    for volume in pod.spec.volumes:
        claim = volume.persistent_volume_claim
        if claim is None:
            volumes.append(volume)
            continue
        found = await _bound(read, news, claim_key(pod.meta.namespace, claim.claim_name))
        if isinstance(found, str):
            return ClaimProblem(volume.name, found)
        volumes.append(standing_for(volume, found))
    return replace(pod, spec=replace(pod.spec, volumes=tuple(volumes)))


async def _bound(read: Read, news: News, key: ObjectKey) -> PersistentVolume | str:
    """Return a claim's volume, or why there is none; waits a little for one that is on its way."""
    with news(key) as changed:
        try:
            async with asyncio.timeout(_PATIENCE):
                while (found := await _look(read, key)) is None:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return f'PersistentVolumeClaim is not bound: "{key.namespace}/{key.name}"'
    return found


async def _look(read: Read, key: ObjectKey) -> PersistentVolume | str | None:
    """Return a claim's volume, why there will be none, or None for not yet."""
    stored = await read(key)
    if stored is None:
        return f'persistentvolumeclaim "{key.name}" not found'
    claim = claim_view(stored)
    if claim.phase == "Lost":
        return f'persistentvolumeclaim "{key.name}" has lost its volume {claim.spec.volume_name}'
    if not claim.bound:
        return None
    found = await read(ObjectKey(VOLUMES, "", claim.spec.volume_name))
    volume = volume_view(found) if found is not None else None
    if volume is None or not volume.meant_for(claim):
        return f'volume {claim.spec.volume_name} of claim "{key.name}" is not the claim\'s'
    return volume


def standing_for(volume: Volume, found: PersistentVolume) -> Volume:
    """Return a pod's volume with the source that its claim's volume has."""
    spec = found.spec
    if spec.local is not None:
        return replace(volume, host_path=HostPathSource(spec.local.path, "Directory"))
    if spec.host_path is not None:
        return replace(volume, host_path=spec.host_path)
    if spec.nfs is not None:
        return replace(volume, nfs=replace(spec.nfs, mount_options=spec.mount_options))
    assert spec.csi is not None, "validation allows nothing else"
    return replace(volume, csi=spec.csi)
