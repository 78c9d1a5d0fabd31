"""Keeps the ControllerRevisions of DaemonSets and StatefulSets (Kubernetes' controller history)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from msgspec.structs import replace

from ..errors import AlreadyExists
from ..informer import Informer
from ..objects.controller_revision import (
    LABEL,
    RESOURCE,
    ControllerRevision,
    revision_body,
    revision_view,
)
from ..objects.json import JsonObject
from ..objects.meta import ObjectMeta, new_uid
from ..objects.pod_owner import OwnerKind, PodTemplate
from ..objects.stored import Body, ObjectKey
from ..store.operations import Create, Remove, Replace
from .clock import Clock
from .fenced_store import FencedStore, latest_revision, raise_failures
from .informers import OWNER
from .template_hash import identity, template_hash

_NAMINGS = 8


class Revised(Protocol):
    """An owner of ControllerRevisions."""

    @property
    def meta(self) -> ObjectMeta:
        """Its metadata."""
        ...

    @property
    def owner_kind(self) -> OwnerKind:
        """Its kind."""
        ...

    @property
    def template(self) -> PodTemplate:
        """The template it has now."""
        ...


@dataclass(frozen=True, slots=True)
class History:
    """The templates of one owner.

    Args:
        revisions: oldest first; the present template's is the last.
    """

    revisions: tuple[ControllerRevision, ...]

    @property
    def present(self) -> ControllerRevision:
        """The present template's."""
        return self.revisions[-1]


class Revisions:
    """Reads and writes ControllerRevisions."""

    def __init__(
        self, store: FencedStore, informer: Informer[ControllerRevision], clock: Clock
    ) -> None:
        self._store = store
        self._informer = informer
        self._clock = clock

    async def history(self, owner: Revised) -> History:
        """Return an owner's templates; the present one is noted as the latest first."""
        found = self._owned(owner)
        same = identity(owner.template)
        equal = [each for each in found if identity(each.template) == same]
        latest = max((each.number for each in found), default=0)
        if not equal:
            made = await self._make(owner, latest + 1)
            return History((*found, made))
        present = equal[-1]
        if present.number < latest:
            present = await self._renumber(present, latest + 1)
        return History((*(each for each in found if each is not equal[-1]), present))

    def _owned(self, owner: Revised) -> list[ControllerRevision]:
        found = self._informer.by_index(OWNER, owner.meta.uid)
        owned = (each for each in found if each.meta.namespace == owner.meta.namespace)
        return sorted(owned, key=lambda each: (each.number, each.meta.name))

    async def _make(self, owner: Revised, number: int) -> ControllerRevision:
        """Note a template; a name that another one has is avoided."""
        for collisions in range(_NAMINGS):
            named = template_hash(owner.template, collisions)
            meta = ObjectMeta(
                name=f"{owner.meta.name}-{named}",
                namespace=owner.meta.namespace,
                uid=new_uid(),
                creation_timestamp=self._clock.now(),
                labels={**owner.template.metadata.labels, LABEL: named},
                owner_references=(owner.owner_kind.reference(owner.meta),),
            )
            write = Create(RESOURCE, meta, Body(revision_body(owner.template, number)))
            try:
                stored = await self._store.write(write)
            except AlreadyExists:
                continue
            await self._informer.reached(stored.revision)
            return revision_view(stored)
        raise AlreadyExists(
            f"{owner.owner_kind.key(owner.meta)}: no free name for a ControllerRevision was found"
        )

    async def _renumber(self, of: ControllerRevision, number: int) -> ControllerRevision:
        body: JsonObject = msgspec.json.decode(of.stored.body.json)
        body["revision"] = number
        encoded = Body(msgspec.json.encode(body, order="deterministic"))
        meta, revision = of.stored.meta, of.stored.revision
        stored = await self._store.write(Replace(RESOURCE, meta, encoded, b"", revision))
        await self._informer.reached(stored.revision)
        return revision_view(stored)

    async def tidy(self, history: History, limit: int, live: Collection[str]) -> None:
        """Remove the oldest templates beyond the limit, but those of these hashes."""
        old = [each for each in history.revisions[:-1] if each.hash not in live]
        await self._remove(old[: max(0, len(old) - limit)])

    async def _remove(self, revisions: Sequence[ControllerRevision]) -> None:
        keys = (ObjectKey(RESOURCE, each.meta.namespace, each.meta.name) for each in revisions)
        writes = [
            Remove(key, each.meta.uid, each.stored.revision)
            for key, each in zip(keys, revisions, strict=True)
        ]
        results = await self._store.write_many(writes)
        await self._informer.reached(latest_revision(results))
        raise_failures(results)


def marked(template: PodTemplate, named: str) -> PodTemplate:
    """Return a template whose pods carry the name of the template."""
    labels = {**template.metadata.labels, LABEL: named}
    return replace(template, metadata=replace(template.metadata, labels=labels))
