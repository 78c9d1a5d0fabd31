"""Binds claims to volumes, makes volumes for claims, and lets go of both.

Kubernetes' PersistentVolumeController and the controllers of the protection finalizers.

A claim whose class waits gets its volume when its first pod has a node, on that node. Volumes that
are Docker's are made by the engine when they are first mounted, and removed by the node's agent.
"""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

from ..errors import AlreadyExists
from ..objects.deletion import DeletionRequest
from ..objects.pod import Pod, claim_names
from ..objects.storage import (
    CLAIM_PROTECTION,
    CLAIMS,
    HOSTNAME,
    PROVISIONER,
    STATIC,
    VOLUME_PROTECTION,
    VOLUMES,
    Claim,
    NamedClass,
    PersistentVolume,
    claim_key,
    smallest,
)
from ..objects.stored import ObjectKey
from ..store.operations import Write
from . import volume_writes as writes
from .clock import Clock
from .deletion_writes import deletion, finalized
from .event_log import EventLog, note
from .fenced_store import FencedStore
from .informers import CLAIM, Informers
from .settings import ControllerSettings
from .work_queue import WorkQueue


class VolumeBinding:
    """Looks at a claim or a volume whenever it, its counterpart or a pod of it changes."""

    def __init__(
        self,
        store: FencedStore,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._informers = informers
        self._claims = informers.claims
        self._volumes = informers.volumes
        self._classes = informers.classes
        self._settings = settings
        self._clock = clock
        self._events = EventLog(store, clock, "persistentvolume-controller")
        self._queue = WorkQueue[ObjectKey]("volume binding", clock)
        self._told: dict[ObjectKey, str] = {}  # pending claim → what its last event said

    async def run(self) -> None:
        """Bind, until cancelled or fenced."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_claims())
            group.create_task(self._follow_volumes())
            group.create_task(self._follow_classes())
            group.create_task(self._follow_pods())
            group.create_task(self._queue.serve(self._reconcile, self._settings.workers))

    async def _follow_claims(self) -> None:
        async for deltas in self._claims.subscribe():
            for delta in deltas:
                self._queue.add(delta.key)
                for claim in (delta.old, delta.new):
                    if claim is not None and claim.spec.volume_name:
                        self._queue.add(ObjectKey(VOLUMES, "", claim.spec.volume_name))
                if delta.new is None:
                    self._told.pop(delta.key, None)
                    if delta.old is not None and not delta.old.spec.volume_name:
                        self._look_at_reserved(delta.old)

    def _look_at_reserved(self, claim: Claim) -> None:
        for volume in self._volumes.items.values():
            if volume.meant_for(claim):
                self._queue.add(ObjectKey(VOLUMES, "", volume.meta.name))

    async def _follow_volumes(self) -> None:
        async for deltas in self._volumes.subscribe():
            for delta in deltas:
                self._queue.add(delta.key)
                for volume in (delta.old, delta.new):
                    if volume is not None and volume.spec.claim_ref is not None:
                        claimed = volume.spec.claim_ref
                        self._queue.add(claim_key(claimed.namespace, claimed.name))
                if delta.new is not None and delta.new.spec.claim_ref is None:
                    self._look_at_pending()

    async def _follow_classes(self) -> None:
        async for _ in self._classes.subscribe():
            self._look_at_pending()

    def _look_at_pending(self) -> None:
        for key, claim in self._claims.items.items():
            if not claim.bound:
                self._queue.add(key)

    async def _follow_pods(self) -> None:
        changes = self._informers.pods.subscribe_samples()
        while True:
            for delta in await changes.next():
                for pod in (delta.old, delta.new):
                    for name in claim_names(pod.spec) if pod is not None else ():
                        self._queue.add(claim_key(delta.key.namespace, name))

    async def _reconcile(self, key: ObjectKey) -> timedelta | None:
        if key.resource == CLAIMS:
            claim = self._claims.get(key.namespace, key.name)
            if claim is not None:
                await self._claim(key, claim)
        else:
            volume = self._volumes.get("", key.name)
            if volume is not None:
                await self._volume(volume)
        return None

    async def _write(self, op: Write | None) -> None:
        if op is not None:
            await self._store.write(op)

    # --- claims -----------------------------------------------------------------------------

    async def _claim(self, key: ObjectKey, claim: Claim) -> None:
        if claim.meta.deletion_timestamp is not None:
            if CLAIM_PROTECTION in claim.meta.finalizers and not any(self._users(claim)):
                await self._write(finalized(claim.stored, CLAIM_PROTECTION))
            return
        if claim.spec.volume_name:
            await self._settle(claim)
            return
        found = self._find(claim)
        if found is None:
            await self._provide(key, claim)
            return
        self._told.pop(key, None)
        await self._write(writes.volume_with_claim(found, claim, self._clock.now()))
        await self._write(writes.claim_with_volume(claim, found))

    def _users(self, claim: Claim) -> Iterable[Pod]:
        """Return the pods on nodes that mount a claim and have not ended."""
        name = f"{claim.meta.namespace}/{claim.meta.name}"
        pods = self._informers.pods.by_index(CLAIM, name)
        return (pod for pod in pods if pod.node and not pod.terminal)

    def _find(self, claim: Claim) -> PersistentVolume | None:
        """Return the volume a claim gets now; None for none, or not before it has a pod."""
        kind = self._class(claim)
        volumes = self._volumes.items.values()
        if kind is None or not kind.spec.waits:
            return smallest(claim, volumes, None)
        given = next((v for v in volumes if v.meant_for(claim) and claim.takes(v)), None)
        if given is not None:
            return given
        labels = self._labels(claim)
        return None if labels is None else smallest(claim, volumes, labels)

    def _labels(self, claim: Claim) -> dict[str, str] | None:
        """Return the labels of the node that a claim's first pod is on."""
        nodes = sorted({pod.node for pod in self._users(claim)})
        node = self._informers.nodes.get("", nodes[0]) if nodes else None
        return node.meta.labels if node is not None else None

    def _class(self, claim: Claim) -> NamedClass | None:
        return self._classes.get("", claim.class_name) if claim.class_name else None

    async def _settle(self, claim: Claim) -> None:
        """Look after a claim that names its volume."""
        volume = self._volumes.get("", claim.spec.volume_name)
        taken = volume is not None and volume.spec.claim_ref is not None
        if volume is None or (taken and not volume.meant_for(claim)):
            lost = claim.phase in ("Bound", "Lost")
            await self._write(writes.claim_in_phase(claim, "Lost" if lost else "Pending"))
            if lost and claim.phase == "Bound":
                words = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                await self._tell(claim, "ClaimLost", words, warning=True)
        elif taken or claim.takes(volume):
            await self._write(writes.volume_with_claim(volume, claim, self._clock.now()))
            await self._write(writes.claim_with_volume(claim, volume))
        else:
            await self._wait(claim, "VolumeMismatch", "Cannot bind to requested volume", True)

    async def _provide(self, key: ObjectKey, claim: Claim) -> None:
        """Make a volume for a claim, or say what it waits for."""
        kind = self._class(claim)
        if kind is not None and kind.spec.provisioner == PROVISIONER:
            labels = self._labels(claim)
            if labels is not None:
                await self._provision(key, claim, kind, labels)
                return
        if kind is not None and kind.spec.waits:
            words = "waiting for first consumer to be created before binding"
            await self._wait(claim, "WaitForFirstConsumer", words)
        elif kind is not None and kind.spec.provisioner != STATIC:
            words = (
                f"Waiting for a volume to be created either by the external provisioner "
                f"'{kind.spec.provisioner}' or manually by the system administrator."
            )
            await self._wait(claim, "ExternalProvisioning", words)
        elif kind is None and claim.class_name:
            words = f'storageclass.storage.k8s.io "{claim.class_name}" not found'
            await self._wait(claim, "ProvisioningFailed", words, True)
        elif claim.class_name is None and (default := self._default()) is not None:
            await self._write(writes.claim_of_class(claim, default.meta.name))
        else:
            words = "no persistent volumes available for this claim and no storage class is set"
            await self._wait(claim, "FailedBinding", words)

    def _default(self) -> NamedClass | None:
        """Return the newest class that is marked as the default."""
        marked = (each for each in self._classes.items.values() if each.default)
        return max(
            marked,
            key=lambda each: (each.meta.creation_timestamp or self._clock.now(), each.meta.name),
            default=None,
        )

    async def _provision(
        self, key: ObjectKey, claim: Claim, kind: NamedClass, labels: dict[str, str]
    ) -> None:
        hostname = labels.get(HOSTNAME, "")
        if not hostname:
            words = f"the pod's node has no label {HOSTNAME}"
            await self._wait(claim, "ProvisioningFailed", words, True)
            return
        self._told.pop(key, None)
        try:
            await self._write(writes.docker_volume(claim, kind, hostname, self._clock.now()))
        except AlreadyExists:
            return  # its news is on the way, and has the claim looked at again
        words = f"Successfully provisioned volume {writes.volume_name(claim)}"
        await self._tell(claim, "ProvisioningSucceeded", words)

    async def _wait(self, claim: Claim, reason: str, words: str, warning: bool = False) -> None:
        await self._write(writes.claim_in_phase(claim, "Pending"))
        key = claim_key(claim.meta.namespace, claim.meta.name)
        if self._told.get(key) != words:
            self._told[key] = words
            await self._tell(claim, reason, words, warning=warning)

    async def _tell(self, claim: Claim, reason: str, words: str, *, warning: bool = False) -> None:
        told = note("PersistentVolumeClaim", claim.meta, reason, words, warning=warning)
        await self._events.tell(told)

    # --- volumes ----------------------------------------------------------------------------

    async def _volume(self, volume: PersistentVolume) -> None:
        now, reference = self._clock.now(), volume.spec.claim_ref
        claim = None
        if reference is not None:
            claim = self._claims.get(reference.namespace, reference.name)
            claim = claim if claim is not None and volume.meant_for(claim) else None
        if volume.meta.deletion_timestamp is not None:
            if claim is None and VOLUME_PROTECTION in volume.meta.finalizers:
                await self._write(finalized(volume.stored, VOLUME_PROTECTION))
            return
        if reference is None or (not reference.uid and claim is None):
            await self._write(writes.volume_in_phase(volume, "Available", now))
        elif claim is None:
            await self._release(volume)

    async def _release(self, volume: PersistentVolume) -> None:
        """Deal with a volume whose claim is gone by its reclaim policy."""
        now = self._clock.now()
        if volume.spec.reclaim_policy != "Delete":
            await self._write(writes.volume_in_phase(volume, "Released", now))
        elif volume.host:
            await self._write(deletion(volume.stored, DeletionRequest(), now))
        else:
            why = "no deletable volume plugin matched: only named Docker volumes can be deleted"
            await self._write(writes.volume_in_phase(volume, "Failed", now, why))
