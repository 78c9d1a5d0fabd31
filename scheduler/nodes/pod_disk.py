"""What a pod keeps on its host's disk, and whether that is more than its spec allows. Pure.

Source: kubelet's eviction manager (localStorageEviction): limits of emptyDir volumes, of all
containers together, and of each.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..drivers import EngineState, PodObservation
from ..objects.pod import Container, Pod, Volume
from ..objects.quantity import format_binary, value
from ..objects.resources import EPHEMERAL_STORAGE
from ..streams import DiskUsage


@dataclass(frozen=True, slots=True)
class PodDisk:
    """Bytes that a pod keeps on disk.

    Args:
        containers: of those that run, by name.
        volumes: of its own volumes, by name.
        ended: of all containers that have ended.
    """

    containers: Mapping[str, int] = field(default_factory=dict[str, int])
    volumes: Mapping[str, int] = field(default_factory=dict[str, int])
    ended: int = 0

    @property
    def counted(self) -> int:
        """Bytes that its limits are about: without what has ended (kubelet)."""
        return sum(self.containers.values()) + sum(self.volumes.values())

    @property
    def total(self) -> int:
        """All that would be free without it."""
        return self.counted + self.ended


def container_ids(seen: Iterable[PodObservation | None]) -> list[str]:
    """Return the ids of all containers of pods, but not of their sandboxes."""
    return [each.id for pod in seen if pod is not None for each in pod.containers]


def disk_of(uid: str, seen: PodObservation | None, usage: DiskUsage) -> PodDisk:
    """Return what one pod keeps, of what was measured."""
    containers = seen.containers if seen is not None else ()
    running = [each for each in containers if each.state is EngineState.RUNNING]
    layers = {each.id: usage.layers.get(each.id, 0) for each in containers}
    names = {each.name: layers.pop(each.id) for each in running}
    volumes = {name: size for (owner, name), size in usage.volumes.items() if owner == uid}
    return PodDisk(names, volumes, sum(layers.values()))


def is_limited(pod: Pod) -> bool:
    """Return whether the spec limits what a pod keeps on disk."""
    spec = pod.spec
    return _pod_limit(pod) is not None or any(_size_limit(volume) for volume in spec.volumes)


def has_disk_volumes(pods: Collection[Pod]) -> bool:
    """Return whether some of the pods have volumes that count."""
    return any(
        volume.empty_dir is not None and volume.empty_dir.medium != "Memory"
        for pod in pods
        for volume in pod.spec.volumes
    )


def excess(pod: Pod, disk: PodDisk) -> str:
    """Return how a pod exceeds its limits, in kubelet's words; "" when it does not."""
    for volume in pod.spec.volumes:
        size = _size_limit(volume)
        if size and disk.volumes.get(volume.name, 0) > size:
            return (
                f'Usage of EmptyDir volume "{volume.name}" exceeds the limit '
                f'"{format_binary(size)}". '
            )
    limit = _pod_limit(pod)
    if limit is None:
        return ""
    if disk.counted > limit:
        return (
            "Pod ephemeral local storage usage exceeds the total limit of containers "
            f"{format_binary(limit)}. "
        )
    for container in pod.spec.containers:
        own = _limit(container)
        if own is not None and disk.containers.get(container.name, 0) > own:
            return (
                f"Container {container.name} exceeded its local ephemeral storage limit "
                f'"{format_binary(own)}". '
            )
    return ""


def _size_limit(volume: Volume) -> int:
    """Return the limit of an emptyDir on disk, 0 for none; the kernel limits one in memory."""
    empty = volume.empty_dir
    if empty is None or empty.medium == "Memory" or empty.size_limit is None:
        return 0
    return value(str(empty.size_limit))


def _limit(container: Container) -> int | None:
    found = container.resources.limits.get(EPHEMERAL_STORAGE)
    return None if found is None else value(str(found))


def _pod_limit(pod: Pod) -> int | None:
    """Return what the limits of containers add up to, None without any (resource.PodLimits).

    Those without a limit add nothing, as with kubelet.
    """
    spec, some = pod.spec, False
    sidecars = peak = 0
    for container in spec.init_containers:
        own = _limit(container)
        some = some or own is not None
        if container.restart_policy == "Always":
            sidecars += own or 0
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + (own or 0))
    limits = [_limit(container) for container in spec.containers]
    if not some and all(each is None for each in limits):
        return None
    return max(peak, sidecars + sum(each or 0 for each in limits))
