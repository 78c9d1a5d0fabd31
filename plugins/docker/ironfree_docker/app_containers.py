"""Containers of a pod's apps: made of their specs once, with mounts and devices, and started."""

from dataclasses import dataclass, replace

from scheduler.drivers import ContainerSpec, ContainerStatus, SandboxStatus

from . import wire
from .container_spec import container_body
from .containers import Containers
from .devices import Devices, device_label, device_options
from .ensure import ensure_created
from .image_names import ImageNames
from .inspections import Inspections
from .labels import container_labels, container_name
from .mounts import MountResolver
from .observation import container_status, start_failed
from .termination_messages import TerminationMessages
from .volume_parts import VolumeParts

_UNSHIELDED = ("oom_score_adj", "child's PID from pipe: EOF")  # said by runc, and by runc 1.1.5


@dataclass(frozen=True, slots=True)
class AppParts:
    """What a host makes containers of.

    Args:
        api: version of the engine's API.
        cluster: this installation's id.
        parts: directories that mounts show of volumes.
    """

    api: tuple[int, int]
    cluster: str
    containers: Containers
    inspections: Inspections
    image_names: ImageNames
    mounts: MountResolver
    parts: VolumeParts
    messages: TerminationMessages
    devices: Devices


class AppContainers:
    """Of one host."""

    def __init__(self, parts: AppParts) -> None:
        self._parts = parts
        self._unprotected = False  # the engine cannot shield processes from the kernel's OOM killer

    async def ensure(self, sandbox: SandboxStatus, spec: ContainerSpec) -> ContainerStatus:
        """Have this attempt created and started once."""
        if spec.oom_score < 0 and self._unprotected:
            spec = replace(spec, oom_score=0)
        found = await self._start(sandbox, spec)
        said = found.state.error if start_failed(found) else ""
        if spec.oom_score < 0 and any(words in said for words in _UNSHIELDED):
            await self._parts.containers.remove(found.id, force=True)
            found = await self._start(sandbox, replace(spec, oom_score=0))
            # An engine without CAP_SYS_RESOURCE, in a container or so; its words may mean another.
            self._unprotected = _UNSHIELDED[0] in said or not start_failed(found)
        return container_status(found)

    async def _start(self, sandbox: SandboxStatus, spec: ContainerSpec) -> wire.Container:
        parts = self._parts
        name = container_name(sandbox.identity, spec.name, spec.attempt)
        labels = container_labels(sandbox, spec, parts.cluster)
        mounts = await parts.mounts.resolve(sandbox.identity, spec.mounts)
        await parts.parts.have(sandbox, spec.mounts)
        message = await parts.messages.mount(sandbox, spec)
        mounts.mounts += [message] if message is not None else []
        async with parts.devices.given(sandbox.identity, spec, parts.api) as devices:
            labels |= device_label(devices)
            body = container_body(sandbox, spec, labels, mounts, device_options(devices))
            made = await ensure_created(parts.containers, name, labels, body)
        found = made.found
        if found is None or (found.state.status == "created" and not start_failed(found)):
            found = await parts.inspections.started(made.id)
        await parts.image_names.learn((found,))
        return found
