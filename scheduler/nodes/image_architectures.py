"""Asks registries for what architectures new images are made, where nodes have different ones.

An engine is asked, for it knows the way to a registry; once for an image, with the credentials of
the pod that wants it. Nobody waits for the answer: it becomes an ImageManifest, which placement
heeds from then on.
"""

import asyncio
import logging
import random
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from ..drivers import Host
from ..errors import (
    AlreadyExists,
    Conflict,
    DriverError,
    ImageUnavailable,
    NotFound,
    Unavailable,
)
from ..images import ManifestReader, RegistryManifest
from ..informer import Informer
from ..objects.image_manifest import (
    MOST_PLATFORMS,
    RESOURCE,
    ImageManifest,
    ImageManifestStatus,
    Platform,
    image_manifest,
    is_runnable,
    manifest_name,
)
from ..objects.image_reference import ImageReference, image_reference
from ..objects.meta import ObjectMeta, now_seconds
from ..objects.pod import Pod, PodSpec
from ..objects.stored import Body, ObjectKey, StoredObject
from ..store.operations import Create, Remove, Replace
from ..store.store import Store
from .image_sharing import architecture
from .registry_logins import RegistryLogins, names_of

_log = logging.getLogger(__name__)
_AT_ONCE = 4  # questions
_MOST_WAITING = 1024  # images; further ones are not asked for, until another pod wants them
_MOST_KEPT = 4096  # ImageManifests
_PATIENCE = 15.0  # seconds for an answer
_FRESH = timedelta(hours=6)  # for which an answer holds; tags move
_FAILED = 600.0  # seconds for which an image is not asked for that could not be told of
_TRIES = 2  # hosts
_BREATH = 1000  # pods


@dataclass(frozen=True, slots=True)
class _Question:
    """An image, and a pod that wants it."""

    image: ImageReference
    namespace: str
    secrets: tuple[str, ...]
    account: str


class ImageArchitectures:
    """One per leader.

    Args:
        pods, nodes: informers that somebody else runs.
        host: finds the open connection of a node.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        pods: Informer[Pod],
        nodes: Informer[StoredObject],
        host: Callable[[str], Host | None],
        logins: RegistryLogins,
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._pods = pods
        self._nodes = nodes
        self._host = host
        self._logins = logins
        self._manifests = Informer(store, RESOURCE, image_manifest)
        self._differ = asyncio.Event()  # set while nodes have two architectures or more
        self._asked: OrderedDict[str, float] = OrderedDict()  # image → until when it is left alone
        self._questions: asyncio.Queue[_Question] = asyncio.Queue(_MOST_WAITING)

    async def run(self) -> None:
        """Ask until cancelled. Until nodes have differed once, pods are not even looked at.

        Images of pods that came while all were alike again are asked for with the next such pod.

        Raises:
            ExceptionGroup: with Fenced, when another leader has taken over.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._manifests.run(), name="informer of image manifests")
            await self._manifests.synced()
            group.create_task(self._follow_nodes(), name="architectures of nodes")
            await self._differ.wait()
            for _ in range(_AT_ONCE):
                group.create_task(self._answer(), name="image manifests")
            await self._follow_pods()

    async def _follow_nodes(self) -> None:
        """Know whether there are nodes of two architectures."""
        async for deltas in self._nodes.subscribe():
            if all(_said(delta.old) == _said(delta.new) for delta in deltas):
                continue
            found = {architecture(node) for node in self._nodes.items.values()}
            if len(found - {""}) > 1:
                self._differ.set()
            else:
                self._differ.clear()

    async def _follow_pods(self) -> None:
        last: PodSpec | None = None
        async for deltas in self._pods.subscribe_samples():
            for number, delta in enumerate(deltas):
                pod = delta.new
                if delta.old is None and pod is not None and pod.spec is not last:
                    last = pod.spec
                    if self._differ.is_set() and not pod.terminal:
                        self._look(pod)
                if number % _BREATH == _BREATH - 1:  # there may be a million, at first
                    await asyncio.sleep(0)

    def _look(self, pod: Pod) -> None:
        """Take note of a pod's images, as far as they are not known."""
        spec = pod.spec
        for name in {each.image for each in (*spec.init_containers, *spec.containers)}:
            image = image_reference(name)
            if not isinstance(image, ImageReference) or self._is_known(str(image)):
                continue
            secrets = names_of(spec.image_pull_secrets)
            account = spec.service_account_name or "default"
            question = _Question(image, pod.meta.namespace, secrets, account)
            if not self._questions.full():
                self._leave_alone(str(image))
                self._questions.put_nowait(question)

    def _is_known(self, image: str) -> bool:
        until = self._asked.get(image)
        if until is not None and asyncio.get_running_loop().time() < until:
            return True
        found = self._manifests.get("", manifest_name(image))
        observed = found.status.observed_time if found is not None else None
        return observed is not None and now_seconds() - observed < _FRESH

    def _leave_alone(self, image: str) -> None:
        self._asked[image] = asyncio.get_running_loop().time() + _FAILED
        self._asked.move_to_end(image)
        if len(self._asked) > _MOST_KEPT:
            self._asked.popitem(last=False)

    async def _answer(self) -> None:
        while True:
            question = await self._questions.get()
            try:
                found = await self._ask(question)
                if found is not None:
                    await self._keep(str(question.image), found)
            except (Unavailable, Conflict, AlreadyExists, NotFound) as error:
                _log.info("what %s is made for is not kept: %s", question.image, error)

    async def _ask(self, question: _Question) -> ImageManifestStatus | None:
        """Return what a registry says by way of an engine, None where it says nothing."""
        image = str(question.image)
        secrets = question.secrets
        if not secrets:
            secrets = await self._logins.of_account(question.namespace, question.account)
        found, _ = await self._logins.for_pull(question.namespace, secrets, question.image)
        for reader in self._readers():
            for credentials in found or (None,):
                try:
                    async with asyncio.timeout(_PATIENCE):
                        answer = await reader.manifest(image, credentials)
                except ImageUnavailable as error:
                    _log.debug("what %s is made for: %s", image, error)
                    continue
                except (DriverError, TimeoutError) as error:
                    _log.debug("what %s is made for: %s", image, error)
                    break  # another host may do
                return _status(answer)
        return None

    def _readers(self) -> Iterable[ManifestReader]:
        names = [node.meta.name for node in self._nodes.items.values()]
        random.shuffle(names)
        found = 0
        for name in names:
            host = self._host(name)
            if host is not None and isinstance(host.images, ManifestReader):
                yield host.images
                found += 1
                if found == _TRIES:
                    return

    async def _keep(self, image: str, status: ImageManifestStatus) -> None:
        name = manifest_name(image)
        present = self._manifests.get("", name)
        encoded = msgspec.json.encode(status)
        if present is not None:
            stored = present.stored
            write = Replace(
                RESOURCE, stored.meta, stored.body, encoded, stored.revision, self._epoch
            )
            await self._store.write(write)
            return
        await self._make_room(self._manifests.items)
        meta = ObjectMeta(
            name=name, uid=str(uuid.uuid4()), creation_timestamp=now_seconds(), generation=1
        )
        body = Body(msgspec.json.encode({"spec": {"image": image}}))
        await self._store.write(Create(RESOURCE, meta, body, encoded, epoch=self._epoch))

    async def _make_room(self, present: Mapping[ObjectKey, ImageManifest]) -> None:
        """Remove those that were seen longest ago, should there be too many."""
        over = len(present) - _MOST_KEPT + 1
        if over <= 0:
            return
        oldest = sorted(present.items(), key=lambda item: str(item[1].status.observed_time))
        for key, manifest in oldest[:over]:
            await self._store.write(Remove(key, manifest.meta.uid, epoch=self._epoch))


def _said(node: StoredObject | None) -> str | None:
    return None if node is None else architecture(node)


def _status(answer: RegistryManifest) -> ImageManifestStatus | None:
    found = (Platform(each.os, each.architecture, each.variant) for each in answer.platforms)
    usable = tuple(filter(is_runnable, found))[:MOST_PLATFORMS]
    return ImageManifestStatus(answer.digest, usable, now_seconds()) if usable else None
