"""Deletion of objects: options, preconditions, and what is answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from ..errors import BadRequest, Conflict, Forbidden, NotFound
from ..objects import checking
from ..objects.deletion import DeletionRequest, delete
from ..objects.json import JsonObject
from ..objects.kind import Kind
from ..objects.kinds.fields import child, text, texts
from ..objects.meta import now_seconds
from ..objects.stored import StoredObject
from ..store.operations import Remove, Replace
from . import bodies
from .backend import Backend
from .request import Call, Query, read_body
from .updating import RACES, Updater

_PROPAGATIONS = ("Background", "Foreground", "Orphan")
_PROTECTED = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
_MESSAGE = "apis.meta.v1.DeleteOptions"
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


@dataclass(frozen=True, slots=True)
class Options:
    """A client's DeleteOptions.

    Args:
        uid, resource_version: preconditions, "" for none.
    """

    request: DeletionRequest
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


async def options(call: Call, limit: int) -> Options:
    """Return the options of a DELETE, from its body or its query.

    Raises:
        BadRequest: an option cannot be understood.
    """
    data = await read_body(call.request, limit)
    given: JsonObject = {}
    if data.strip():
        given, _complaints = bodies.decode(call.content_type, data)
        wrong = [p for p in checking.check(_MESSAGE, given) if not p.unknown]
        if wrong:
            raise BadRequest(f"DeleteOptions: {wrong[0].message}")
    return options_of(given, call.query)


def options_of(given: JsonObject, query: Query) -> Options:
    """Return what a DeleteOptions asks for, or the query where that is silent.

    Raises:
        BadRequest: an option cannot be understood.
    """
    grace = given.get("gracePeriodSeconds")
    if not isinstance(grace, int):
        grace = query.integer("gracePeriodSeconds")
    propagation = text(given, "propagationPolicy") or query.text("propagationPolicy")
    orphan = given.get("orphanDependents")
    if not propagation and orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    if propagation and propagation not in _PROPAGATIONS:
        raise BadRequest(
            f'DeleteOptions: propagationPolicy: Unsupported value: "{propagation[:64]}": supported '
            'values: "Background", "Foreground", "Orphan"'
        )
    preconditions = child(given, "preconditions")
    return Options(
        DeletionRequest(grace, propagation or "Background"),
        uid=text(preconditions, "uid"),
        resource_version=text(preconditions, "resourceVersion"),
        dry_run=query.dry_run or "All" in texts(given, "dryRun"),
    )


@dataclass(frozen=True, slots=True)
class Remover:
    """Marks objects as deleting, or removes them."""

    backend: Backend

    async def delete(self, call: Call, wanted: Options) -> tuple[StoredObject, bool]:
        """Delete one object; return its last state and whether it lives on for now."""
        for attempt in range(RACES):
            current = await Updater(self.backend).current(call)
            check_preconditions(call.kind, current, wanted)
            operation = plan(call.kind, current, wanted.request)
            try:
                return await self.apply(current, operation, dry_run=wanted.dry_run)
            except Conflict:
                if wanted.resource_version or attempt == RACES - 1:
                    raise
        raise AssertionError("unreachable")

    async def apply(
        self, current: StoredObject, operation: Replace | Remove | None, *, dry_run: bool
    ) -> tuple[StoredObject, bool]:
        """Carry out what `plan` gave; return the last state and whether the object lives on."""
        if operation is None:
            return current, True
        lives = isinstance(operation, Replace)
        if dry_run:
            return current, lives
        stored = await self.backend.store.write(operation)
        await self.aftermath([stored] if not lives else [])
        await self.backend.counts(stored.resource, stored.revision)
        return stored, lives

    async def delete_all(
        self, kind: Kind, found: Sequence[StoredObject], wanted: Options
    ) -> list[StoredObject]:
        """Delete objects of a list; return their last states, without those gone meanwhile."""
        plans = [(each, plan(kind, each, wanted.request)) for each in found]
        kept = [each for each, operation in plans if operation is None or wanted.dry_run]
        if wanted.dry_run:
            return kept
        operations = [operation for _each, operation in plans if operation is not None]
        outcomes = await self.backend.store.write_many(operations)
        done: list[StoredObject] = list(kept)
        again: list[StoredObject] = []
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(outcome, StoredObject):
                done.append(outcome)
                if isinstance(operation, Remove):
                    await self.aftermath([outcome])
            elif isinstance(outcome, Conflict):
                again.extend(await self._reread(operation))
            elif not isinstance(outcome, NotFound):
                raise outcome
        last = max((each.revision for each in done), default=0)
        await self.backend.counts(kind.resource, last)
        if again:
            done.extend(await self.delete_all(kind, again, wanted))
        return done

    async def _reread(self, operation: Replace | Remove) -> list[StoredObject]:
        """Return the object's present state, unless it is another one by now."""
        if isinstance(operation, Remove):
            found, uid = await self.backend.store.get(operation.key), operation.uid
        else:
            key = StoredObject(operation.resource, operation.meta, 0, 0, operation.body).key
            found, uid = await self.backend.store.get(key), operation.meta.uid
        return [found] if found is not None and found.meta.uid == uid else []

    async def aftermath(self, gone: Sequence[StoredObject]) -> None:
        """Take back what removed objects held."""
        for each in gone:
            if each.resource == "services":
                body = _object.decode(each.body.json)
                claims = self.backend.claims
                had = await claims.given_up(each.meta.uid, child(body, "spec"), {})
                await claims.give_back(had)


def plan(kind: Kind, current: StoredObject, request: DeletionRequest) -> Replace | Remove | None:
    """Return the write that a deletion is, None when the object is deleting already.

    Raises:
        Forbidden: the object is one the cluster cannot do without.
    """
    if kind.resource == "namespaces" and current.meta.name in _PROTECTED:
        raise Forbidden(
            f'namespaces "{current.meta.name}" is forbidden: this namespace may not be deleted',
            kind="namespaces",
            name=current.meta.name,
        )
    meta = delete(current, request, now_seconds())
    if meta is None:
        return Remove(current.key, current.meta.uid, current.revision)
    status = current.status
    if kind.resource == "namespaces":
        status = _terminating(status)
    if meta == current.meta and status == current.status:
        return None
    return Replace(kind.resource, meta, current.body, status, current.revision)


def _terminating(status: bytes) -> bytes:
    value = _object.decode(status or b"{}")
    if value.get("phase") == "Terminating":
        return status
    return msgspec.json.encode({**value, "phase": "Terminating"})


def check_preconditions(kind: Kind, current: StoredObject, wanted: Options) -> None:
    """Raise Conflict where the object is not the one that was meant."""
    shown = f'Operation cannot be fulfilled on {kind.resource} "{current.meta.name}"'
    why = ""
    if wanted.uid and wanted.uid != current.meta.uid:
        why = f"UID in precondition: {wanted.uid}, UID in object meta: {current.meta.uid}"
    elif wanted.resource_version and wanted.resource_version != str(current.revision):
        why = (
            f"ResourceVersion in precondition: {wanted.resource_version}, ResourceVersion in "
            f"object meta: {current.revision}"
        )
    if why:
        raise Conflict(
            f"{shown}: Precondition failed: {why}",
            kind=kind.plural,
            group=kind.group,
            name=current.meta.name,
        )
