"""How controllers of pods carry out what they have decided: create, delete, adopt, release.

Every method ends only when the pods' informer knows what was written, so that a pod that has been
created is never created again.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence

from msgspec.structs import replace

from ..errors import AlreadyExists, Conflict, Forbidden, Invalid, StatusError, Unavailable
from ..objects.cohort import Cohort
from ..objects.deletion import DeletionRequest
from ..objects.kind import KindRegistry
from ..objects.kinds.pod_security import PRIVILEGED, complaint, level_of
from ..objects.kinds.priority import priority_view
from ..objects.kinds.runtime import RESOURCE as RUNTIMES
from ..objects.kinds.runtime import runtime_view
from ..objects.limit_range import LimitRange
from ..objects.meta import OwnerReference
from ..objects.pod import Pod
from ..objects.pod_owner import PodOwner, PodTemplate
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import Create, Remove, Replace
from .clock import Clock
from .deletion_writes import deletion, finalized
from .event_log import EventLog, note
from .fenced_store import FencedStore, latest_revision, raise_failures
from .informers import NAMESPACE, NAMESPACES, Informers, OwnedInformer
from .pod_template import Classes, PodMold, PodSeries, mold
from .quota_waits import QuotaWaits
from .settings import ControllerSettings

PRIORITIES = "priorityclasses.scheduling.k8s.io"
_READS = 64
_NAMED_EVENTS = 10
_NAMED_ALIKE = 3  # of pods made as cohorts
_NAMINGS = 8  # tries at finding free names for a cohort


class Certainty:
    """Has a key whose writes may have been made without our knowing looked at after all of them.

    Args:
        informer: of the objects that are written.
    """

    def __init__(self, store: FencedStore, informer: OwnedInformer) -> None:
        self._store = store
        self._informer = informer
        self._doubtful: set[ObjectKey] = set()

    @contextlib.asynccontextmanager
    async def of(self, key: ObjectKey) -> AsyncGenerator[None]:
        """Look at a key in here."""
        if key in self._doubtful:
            await self._informer.reached(await self._store.revision())
            self._doubtful.discard(key)
        try:
            yield
        except Unavailable:
            self._doubtful.add(key)
            raise


class KnownClasses:
    """The classes that pods can name, read again when one has changed."""

    def __init__(self, store: FencedStore, informers: Informers) -> None:
        self._store = store
        self._informers = [informers.others[name] for name in (PRIORITIES, RUNTIMES)]
        self._read: tuple[object, Classes] | None = None

    def version(self) -> object:
        """Return what is another once a class has changed."""
        return {k: each.revision for known in self._informers for k, each in known.items.items()}

    async def known(self) -> Classes:
        """Return the classes as the informers know them, or newer ones."""
        if self._read is None or self._read[0] != self.version():
            return await self.newest()
        return self._read[1]

    async def newest(self) -> Classes:
        """Return the classes as they are now."""
        version = self.version()
        priorities, runtimes = [await self._store.list(each) for each in (PRIORITIES, RUNTIMES)]
        classes = Classes(
            {each.meta.name: priority_view(each) for each in priorities.objects},
            {each.meta.name: runtime_view(each) for each in runtimes.objects},
        )
        self._read = (version, classes)
        return classes


class PodControl:
    """Writes the pods of one controller's owners.

    Args:
        component: whose the events are.
    """

    def __init__(
        self,
        store: FencedStore,
        registry: KindRegistry,
        informers: Informers,
        settings: ControllerSettings,
        clock: Clock,
        component: str,
    ) -> None:
        self._store = store
        self._pod_kind = registry.by_resource("pods")
        self._pods = informers.pods
        self._limits = informers.limits
        self._namespaces = informers.others[NAMESPACES]
        self._classes = KnownClasses(store, informers)
        self._settings = settings
        self._clock = clock
        self._molds: dict[ObjectKey, tuple[object, PodMold]] = {}
        self.events = EventLog(store, clock, component)
        self.certainty = Certainty(store, informers.pods)
        self.waits = QuotaWaits(informers.quotas)

    def forget(self, key: ObjectKey) -> None:
        """Drop what is kept of an owner that is gone."""
        self._molds.pop(key, None)
        self.waits.discard(key)

    async def shape(self, owner: PodOwner) -> PodMold:
        """Return what an owner's pods have in common.

        Raises:
            Invalid, Forbidden: no pod can be made from its template.
        """
        key = owner.owner_kind.key(owner.meta)
        if owner.template is None:
            kind = owner.owner_kind.kind
            raise Invalid(f"{kind} {key.namespace}/{key.name} has no template")
        template = owner.template
        limits = self._limits.by_index(NAMESPACE, key.namespace)
        shown = frozenset((each.meta.uid, each.revision) for each in limits)
        version = (bytes(template.spec), template.metadata, self._classes.version(), shown)
        known = self._molds.get(key)
        if known is None or known[0] != version:
            known = self._molds[key] = (version, await self._mold(template, limits))
        await self._admit(owner, known[1])
        return known[1]

    async def _mold(self, template: PodTemplate, limits: Collection[LimitRange]) -> PodMold:
        grace = self._settings.toleration_seconds
        classes = await self._classes.known()
        try:
            return mold(template, self._pod_kind, classes, grace, limits)
        except (Invalid, Forbidden):  # it may name a class that has just been made
            newest = await self._classes.newest()
            return mold(template, self._pod_kind, newest, grace, limits)

    async def _admit(self, owner: PodOwner, shape: PodMold) -> None:
        """Hold the pods to their namespace's Pod Security level, as the API holds a client's.

        Raises:
            Forbidden: its "enforce" label forbids them.
        """
        name = owner.meta.namespace
        found = self._namespaces.get("", name)
        if found is None:  # it may just have been made
            found = await self._store.get(ObjectKey(NAMESPACES, "", name))
        level = level_of(found.meta.labels if found is not None else {}, "enforce")
        refusal = "" if level == PRIVILEGED else complaint(shape.spec, level)
        if refusal:
            raise Forbidden(f"pods of {owner.meta.name} are forbidden: violates {refusal}")

    async def create(self, owner: PodOwner, writes: Sequence[Create]) -> int:
        """Create pods, as many as may be; return the revision of the last."""
        self.waits.add(owner.owner_kind.key(owner.meta))
        results = await self._store.write_many(writes)
        made = [r.meta.name for r in results if isinstance(r, StoredObject)]
        await self.tell(owner, "SuccessfulCreate", "Created pod: ", made)
        reached = latest_revision(results)
        await self._pods.reached(reached)
        raise_failures(results)
        self.waits.discard(owner.owner_kind.key(owner.meta))
        return reached

    async def create_alike(self, owner: PodOwner, series: PodSeries, count: int) -> int:
        """Create many pods at once, as many as may be.

        A cohort whose names are taken is tried under others; of one that was cut short, for want of
        quota, the rest is asked for again, to know why.
        """
        self.waits.add(owner.owner_kind.key(owner.meta))
        reached, named, left, taken = 0, list[str](), count, 0
        failures: list[StatusError] = []
        while left and not failures and taken < _NAMINGS:
            results = await self._store.create_cohorts(series.alike(left))
            for result in results:
                if isinstance(result, Cohort):
                    left -= result.size
                    reached = max(reached, result.created_revision + result.size - 1)
                    named += [result.name(n) for n in range(min(result.size, _NAMED_ALIKE + 1))]
                elif not isinstance(result, AlreadyExists):
                    failures.append(result)
            taken += any(isinstance(result, AlreadyExists) for result in results)
            await self._pods.reached(reached)
        await self.tell(owner, "SuccessfulCreate", "Created pod: ", named, count - left)
        raise_failures(failures)
        if left:
            raise Conflict(
                f"{owner.owner_kind.key(owner.meta)}: {left} pods have no names yet, for nearly "
                "all that begin alike are taken; it is tried again"
            )
        self.waits.discard(owner.owner_kind.key(owner.meta))
        return reached

    async def delete(self, owner: PodOwner, pods: Sequence[Pod], finalizer: str = "") -> int:
        """Delete pods that are not being deleted yet; return the revision of the last.

        Args:
            finalizer: that they lose at that.
        """
        writes: list[Remove | Replace] = []
        for found in await self.read(pods):
            stored = without_finalizer(found, finalizer)
            write = deletion(stored, DeletionRequest(), self._clock.now())
            if write is not None and stored.meta.deletion_timestamp is None:
                writes.append(write)
        results = await self._store.write_many(writes)
        gone = [r.meta.name for r in results if isinstance(r, StoredObject)]
        await self.tell(owner, "SuccessfulDelete", "Deleted pod: ", gone)
        await self._pods.reached(latest_revision(results))
        raise_failures(results)
        return latest_revision(results)

    async def adopt(self, owner: PodOwner, pods: Sequence[Pod]) -> int:
        """Take over orphans, unless the owner is going or they have changed."""
        if not pods:
            return 0
        await still_there(self._store, owner)
        reference = owner.owner_kind.reference(owner.meta)
        return await self._replace_owners(
            [
                (stored, (*stored.meta.owner_references, reference))
                for stored in await self.read(pods)
                if stored.meta.controller_owner() is None
                and stored.meta.deletion_timestamp is None
                and owner.selector.matches(stored.meta.labels)
            ]
        )

    async def release(self, owner: PodOwner, pods: Sequence[Pod]) -> int:
        """Let go of pods that match no longer."""
        uid = owner.meta.uid
        return await self._replace_owners(
            [
                (stored, tuple(o for o in stored.meta.owner_references if o.uid != uid))
                for stored in await self.read(pods)
                if not owner.selector.matches(stored.meta.labels)
            ]
        )

    async def let_go(self, pods: Sequence[Pod], finalizer: str) -> int:
        """Take a finalizer off pods, after which those that are being deleted may go."""
        read = await self.read(pods)
        held = [stored for stored in read if finalizer in stored.meta.finalizers]
        results = await self._store.write_many([finalized(each, finalizer) for each in held])
        await self._pods.reached(latest_revision(results))
        raise_failures(results)
        return latest_revision(results)

    async def _replace_owners(
        self, changes: Sequence[tuple[StoredObject, tuple[OwnerReference, ...]]]
    ) -> int:
        results = await self._store.write_many([with_owners(*change) for change in changes])
        await self._pods.reached(latest_revision(results))
        raise_failures(results)
        return latest_revision(results)

    async def read(self, pods: Sequence[Pod]) -> list[StoredObject]:
        """Return the pods as stored now, without those replaced by others of the same name."""
        found: list[StoredObject] = []
        for start in range(0, len(pods), _READS):
            part = pods[start : start + _READS]
            keys = (ObjectKey("pods", pod.meta.namespace, pod.meta.name) for pod in part)
            read = await asyncio.gather(*(self._store.get(key) for key in keys))
            found += [
                stored
                for pod, stored in zip(part, read, strict=True)
                if stored is not None and stored.meta.uid == pod.meta.uid
            ]
        return found

    async def tell_failure(self, owner: PodOwner, failure: StatusError) -> None:
        """Tell that no pod could be made, and raise; a namespace that ends is no news.

        Raises:
            StatusError: the failure.
        """
        found = await self._store.get(ObjectKey("namespaces", "", owner.meta.namespace))
        if found is None or found.meta.deletion_timestamp is not None:
            return
        self.waits.add(owner.owner_kind.key(owner.meta))
        words = f"Error creating: {failure.message}"
        kind = owner.owner_kind.kind
        await self.events.tell(note(kind, owner.meta, "FailedCreate", words, warning=True))
        raise failure

    async def tell(
        self,
        owner: PodOwner,
        reason: str,
        words: str,
        names: Sequence[str],
        count: int | None = None,
    ) -> None:
        """Name the first pods one by one and count the rest, as Kubernetes' correlator does.

        Args:
            count: of all, if these are not all their names; then fewer are named.
        """
        kind = owner.owner_kind.kind
        most = _NAMED_EVENTS if count is None else _NAMED_ALIKE
        named, rest = names[:most], names[most:]
        uncounted = 0 if count is None else count - len(names)
        await self.events.tell(*(note(kind, owner.meta, reason, words + name) for name in named))
        if rest:
            combined = f"(combined from similar events): {words}{rest[0]}"
            times = len(rest) + uncounted
            await self.events.tell(note(kind, owner.meta, reason, combined), times=times)


async def still_there(store: FencedStore, owner: PodOwner) -> None:
    """Make sure that an owner may adopt.

    Raises:
        Conflict: it is gone, or being deleted.
    """
    key = owner.owner_kind.key(owner.meta)
    fresh = await store.get(key)
    if fresh is None or fresh.meta.uid != owner.meta.uid:
        raise Conflict(f"{key} is gone and adopts nothing")
    if fresh.meta.deletion_timestamp is not None:
        raise Conflict(f"{key} is being deleted and adopts nothing")


def without_finalizer(stored: StoredObject, finalizer: str) -> StoredObject:
    """Return an object without a finalizer."""
    if finalizer not in stored.meta.finalizers:
        return stored
    left = tuple(each for each in stored.meta.finalizers if each != finalizer)
    return replace(stored, meta=replace(stored.meta, finalizers=left))


def with_owners(stored: StoredObject, owners: tuple[OwnerReference, ...]) -> Replace:
    """Return the write that gives an object other owners."""
    meta = replace(stored.meta, owner_references=owners)
    return Replace(stored.resource, meta, stored.body, stored.status, stored.revision)
