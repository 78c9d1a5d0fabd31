"""Volumes that the engine's local driver makes: lasting ones, and mounts of file servers."""

from scheduler.drivers import PodIdentity
from scheduler.errors import EngineRejected
from scheduler.volumes import NamedVolume

from .labels import CLUSTER, LASTING, belongs, engine_volume, pod_labels
from .volumes import Making, Volumes


class NamedVolumes:
    """Of one host.

    Args:
        cluster: this installation's id.
    """

    def __init__(self, volumes: Volumes, cluster: str) -> None:
        self._volumes = volumes
        self._cluster = cluster

    async def ensure(self, identity: PodIdentity, volume: NamedVolume) -> bool:
        """Have a volume; returns whether it is a lasting one made just now.

        Raises:
            EngineRejected: one of that name is there and another installation's.
        """
        name = engine_volume(identity.uid, volume)
        if not volume.lasting:
            labels = pod_labels(identity, self._cluster)
            await self._volumes.create(Making(name, labels, dict(volume.options)))
            return False
        found = await self._volumes.inspect(name)
        if found is not None:
            if not belongs(found.labels or {}, self._cluster):
                raise EngineRejected(f"volume {name} on the host is of another installation", 409)
            return False
        labels = {LASTING: "true"} | ({CLUSTER: self._cluster} if self._cluster else {})
        await self._volumes.create(Making(name, labels, dict(volume.options)))
        return True

    async def remove(self, name: str) -> None:
        """Remove a lasting volume that was made here; gone is fine.

        Raises:
            EngineRejected: it is in use, or none of ours.
        """
        found = await self._volumes.inspect(name)
        if found is None:
            return
        labels = found.labels or {}
        if LASTING not in labels or not belongs(labels, self._cluster):
            raise EngineRejected(f"volume {name} on the host was not made by this installation")
        await self._volumes.remove(name)
