"""The volumes that a pod needs with its sandbox: its own, and those that outlast it.

Its own are made by the engine in the call that creates the infra container, which mounts them all.
"""

from collections.abc import Callable, Iterable, Iterator

from scheduler.drivers import SandboxSpec
from scheduler.objects.json import JsonObject
from scheduler.volumes import EmptyDir, FilesVolume, NamedVolume, SandboxVolume

from .labels import CONTENT, POD_UID, belongs, pod_labels, volume_name
from .named_volumes import NamedVolumes
from .pause import VOLUME_DIRECTORIES
from .termination_messages import messages_volume
from .together import together
from .volumes import Making, Volumes


class PodVolumes:
    """Of one host.

    Args:
        cluster: this installation's id.
        lasting: volumes that outlast pods.
        messages: whether pods have a volume for termination messages.
        forgetful: whether the engine, restarted under its containers, forgets what is in memory.
    """

    def __init__(
        self,
        volumes: Volumes,
        cluster: str,
        lasting: NamedVolumes,
        *,
        messages: bool,
        forgetful: Callable[[], bool],
    ) -> None:
        self._volumes = volumes
        self._cluster = cluster
        self._lasting = lasting
        self._messages = messages
        self._forgetful = forgetful

    def making(self, spec: SandboxSpec) -> dict[str, JsonObject]:
        """How the engine is to make volumes that it is told to mount, by their names."""
        if not self._volumes.made_with_containers:
            return {}
        return {each.name: each.mounted() for each in self._mounted(spec)}

    async def ensure(self, spec: SandboxSpec) -> list[NamedVolume]:
        """Have the volumes that are not made with the infra container.

        Returns the lasting ones that were made just now.
        """
        named = [each for each in spec.volumes if isinstance(each, NamedVolume)]
        apart = [*self._own(spec, spec.volumes[VOLUME_DIRECTORIES:])]
        if not self._volumes.made_with_containers:
            apart += self._mounted(spec)
        await together(*map(self._volumes.create, apart))
        fresh = await together(*(self._lasting.ensure(spec.identity, volume) for volume in named))
        return [each for each, new in zip(named, fresh, strict=True) if new]

    async def remove(self, pod_uid: str) -> None:
        """Remove those of a pod's own."""
        listed = await self._volumes.list(f"{POD_UID}={pod_uid}")
        ours = (v.name for v in listed if belongs(v.labels or {}, self._cluster))
        await together(*(self._volumes.remove(name) for name in ours))

    def _mounted(self, spec: SandboxSpec) -> Iterator[Making]:
        yield from self._own(spec, spec.volumes[:VOLUME_DIRECTORIES])
        if self._messages:  # the infra container's image fills it
            labels = pod_labels(spec.identity, self._cluster)
            yield Making(messages_volume(spec.identity.uid), labels)

    def _own(self, spec: SandboxSpec, volumes: Iterable[SandboxVolume]) -> Iterator[Making]:
        """Disk volumes have no size limit here: the engine's local driver knows none."""
        for volume in volumes:
            if not isinstance(volume, EmptyDir | FilesVolume):
                continue
            labels = pod_labels(spec.identity, self._cluster)
            memory, size = False, ""
            if isinstance(volume, FilesVolume):
                memory, labels[CONTENT] = volume.memory and not self._forgetful(), "files"
            elif volume.medium == "Memory":
                limit = volume.size_limit
                memory, size = True, "" if limit is None else f",size={limit}"
            options: dict[str, str] = {}
            if memory:
                mode = "0777" if spec.fs_group is None else f"2777,gid={spec.fs_group}"
                options = {"type": "tmpfs", "device": "tmpfs", "o": f"mode={mode}{size}"}
            yield Making(volume_name(spec.identity.uid, volume.name), labels, options)
