"""Infra containers: what a pod's containers join, made once and started again when they end."""

from dataclasses import dataclass

from scheduler.drivers import SandboxSpec, SandboxStatus
from scheduler.errors import EngineRejected, ImageUnavailable

from .container_spec import sandbox_body
from .containers import Containers
from .ensure import Ensured, ensure_created
from .infra_image import InfraImage
from .inspections import Inspections
from .labels import ATTEMPT, INFRA, POD_UID, SANDBOX, container_name, number, sandbox_labels
from .observation import is_infra, sandbox_status
from .pod_network import PodNetworkOfHost
from .pod_volumes import PodVolumes
from .together import together
from .volume_files import VolumeFiles


@dataclass(frozen=True, slots=True)
class SandboxParts:
    """What a host makes sandboxes of.

    Args:
        host: its name, for messages.
        cluster: this installation's id.
    """

    host: str
    cluster: str
    containers: Containers
    inspections: Inspections
    image: InfraImage
    network: PodNetworkOfHost
    volumes: PodVolumes
    files: VolumeFiles


class Sandboxes:
    """Of one host."""

    def __init__(self, parts: SandboxParts) -> None:
        self._parts = parts
        self._known_image = ""  # that was there lately

    async def ensure(self, spec: SandboxSpec) -> SandboxStatus:
        """Have volumes and infra container; an infra container that has ended runs again."""
        parts = self._parts
        await self._end_older(spec)
        if spec.subnet:
            await parts.network.have(spec.subnet)
        made = await parts.volumes.ensure(spec)
        infra = await self._infra(spec)
        found = infra.found
        if found is None and spec.attempt == 0:
            parts.files.begin(infra.id, spec.identity.uid)
        if found is None or found.state.status != "running":
            await parts.files.give_to_group(infra.id, spec, made)
            try:
                found = await parts.inspections.started(infra.id)
            except EngineRejected:
                parts.network.doubt()  # somebody may have removed it
                raise
        if found.state.status != "running":
            parts.network.doubt()
            raise EngineRejected(
                f"host {parts.host} cannot start the sandbox of pod "
                f"{spec.identity.namespace}/{spec.identity.name}: {found.state.error}",
                500,
            )
        return sandbox_status(found)

    async def _infra(self, spec: SandboxSpec) -> Ensured:
        """Have an infra container created; its image is looked for once, until it is missing."""
        if self._known_image:
            try:
                return await self._created(spec, self._known_image)
            except ImageUnavailable:
                self._known_image = ""
        image = await self._parts.image.have()
        made = await self._created(spec, image)
        self._known_image = image
        return made

    async def _created(self, spec: SandboxSpec, image: str) -> Ensured:
        parts = self._parts
        name = container_name(spec.identity, INFRA, spec.attempt)
        labels = sandbox_labels(spec, parts.cluster)
        network = parts.network.name if spec.subnet else ""
        making = parts.volumes.making(spec)
        body = sandbox_body(spec, image, labels, network, making)
        return await ensure_created(parts.containers, name, labels, body)

    async def _end_older(self, spec: SandboxSpec) -> None:
        """A new attempt of the sandbox ends the ones before, which may hold its ports.

        Apps in them are killed, for they have no network any more; what they were stays readable.
        """
        if spec.attempt == 0:
            return
        containers = self._parts.containers
        listed = await containers.ours(self._parts.cluster, f"{POD_UID}={spec.identity.uid}")
        older = {
            each.id
            for each in listed
            if is_infra(each.labels or {}) and number(each.labels or {}, ATTEMPT) < spec.attempt
        }
        current = container_name(spec.identity, INFRA, spec.attempt)
        found = await containers.inspect(current)
        stale = [
            each.id
            for each in listed
            if not is_infra(each.labels or {})
            and each.state == "running"
            and (each.labels or {}).get(SANDBOX) != (found.id if found else "")
        ]
        await together(*(containers.kill(each) for each in stale))
        await together(*(containers.remove(each, force=True) for each in older))
