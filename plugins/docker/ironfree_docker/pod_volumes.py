"""The volumes that a pod needs before its sandbox: its own, and those that outlast it."""

from collections.abc import Callable

from scheduler.drivers import SandboxSpec
from scheduler.volumes import EmptyDir, FilesVolume, NamedVolume

from .labels import CONTENT, POD_UID, belongs, pod_labels, volume_name
from .named_volumes import NamedVolumes
from .termination_messages import messages_volume
from .together import together
from .volumes import Volumes


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

    async def ensure(self, spec: SandboxSpec) -> list[NamedVolume]:
        """Have every volume of a pod; returns the lasting ones that were made just now."""
        named = [each for each in spec.volumes if isinstance(each, NamedVolume)]
        others = (each for each in spec.volumes if isinstance(each, EmptyDir | FilesVolume))
        await together(
            self._ensure_messages(spec), *(self._ensure_volume(spec, volume) for volume in others)
        )
        fresh = await together(*(self._lasting.ensure(spec.identity, volume) for volume in named))
        return [each for each, new in zip(named, fresh, strict=True) if new]

    async def remove(self, pod_uid: str) -> None:
        """Remove those of a pod's own."""
        listed = await self._volumes.list(f"{POD_UID}={pod_uid}")
        ours = (v.name for v in listed if belongs(v.labels or {}, self._cluster))
        await together(*(self._volumes.remove(name) for name in ours))

    async def _ensure_messages(self, spec: SandboxSpec) -> None:
        """Have a volume for messages; the infra container's image fills it."""
        if self._messages:
            labels = pod_labels(spec.identity, self._cluster)
            await self._volumes.create(messages_volume(spec.identity.uid), labels, {})

    async def _ensure_volume(self, spec: SandboxSpec, volume: EmptyDir | FilesVolume) -> None:
        """Disk volumes have no size limit here: the engine's local driver knows none."""
        labels = pod_labels(spec.identity, self._cluster)
        memory, size = False, ""
        if isinstance(volume, FilesVolume):
            memory, labels[CONTENT] = volume.memory and not self._forgetful(), "files"
        elif volume.medium == "Memory":
            memory, size = True, "" if volume.size_limit is None else f",size={volume.size_limit}"
        options: dict[str, str] = {}
        if memory:
            mode = "0777" if spec.fs_group is None else f"2777,gid={spec.fs_group}"
            options = {"type": "tmpfs", "device": "tmpfs", "o": f"mode={mode}{size}"}
        name = volume_name(spec.identity.uid, volume.name)
        await self._volumes.create(name, labels, options)
