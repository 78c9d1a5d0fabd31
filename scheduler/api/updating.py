"""Changes of objects: what a client sends against what is there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from ..errors import BadRequest, Conflict, NotFound, StatusError
from ..objects.apply import Writer, record_update
from ..objects.json import Json, JsonObject
from ..objects.kind import Kind
from ..objects.kinds.fields import child
from ..objects.meta import NO_MANAGED_FIELDS, ObjectMeta, now_seconds
from ..objects.pod_class import SERVICES
from ..objects.stored import Body, ObjectKey, StoredObject
from ..objects.wire import decompose, document
from ..store.operations import Remove, Replace
from . import metadata, status_errors
from .backend import Backend
from .creation import parse_meta
from .request import Call

_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)
RACES = 10  # times a write that lost a race is tried again


@dataclass(frozen=True, slots=True)
class Change:
    """A wished-for state.

    Args:
        wanted: the whole object as the client wants it, checked and clean, as it is kept.
        warnings: sentences for the client.
        applied: by server-side apply, which has written the object's managedFields.
    """

    wanted: JsonObject
    warnings: tuple[str, ...] = ()
    applied: bool = False


Wish = Callable[[StoredObject], Awaitable[Change]]


@dataclass(frozen=True, slots=True)
class Updater:
    """Brings objects to a wished-for state, again as often as a race is lost."""

    backend: Backend

    async def current(self, call: Call) -> StoredObject:
        """Return the object a call names.

        Raises:
            NotFound: there is none.
        """
        found = await self.backend.store.get(
            ObjectKey(call.kind.resource, call.namespace, call.name)
        )
        if found is None:
            raise missing(call.kind, call.name)
        return found

    async def update(self, call: Call, wish: Wish) -> tuple[StoredObject, tuple[str, ...]]:
        """Ask for the wish against the present state until it is stored.

        Args:
            wish: called with the state at each attempt. Where its result names a resourceVersion,
                that must be the present one.

        Raises:
            Conflict: a precondition failed, or too many races were lost.
            StatusError: the change is not allowed.
        """
        call = call.stored
        for attempt in range(RACES):
            current = await self.current(call)
            change = await wish(current)
            pinned = _check_identity(call.kind, current, change.wanted)
            try:
                return await self._store(call, current, change), change.warnings
            except Conflict:
                if pinned or attempt == RACES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _store(self, call: Call, current: StoredObject, change: Change) -> StoredObject:
        operation = self._operation(call, current, change)
        if operation is None:
            return current
        if isinstance(operation, Replace):
            await self.backend.escalation.judge_change(call.user, call.kind, current, operation)
            rights = self.backend.further_rights
            await rights.judge_change(call.user, call.kind, current, operation.meta)
        if call.subresource == "ephemeralcontainers" and isinstance(operation, Replace):
            await self.backend.admission.judge_body(call.kind, operation.meta, operation.body)
        if call.query.dry_run:
            return await self._rehearse(current, operation)
        if call.kind.resource == SERVICES:
            stored = await self._store_service(current, operation)
        else:
            stored = await self.backend.store.write(operation)
        await self.backend.counts(stored.resource, stored.revision)
        return stored

    async def _store_service(
        self, current: StoredObject, operation: Replace | Remove
    ) -> StoredObject:
        """Change a Service, and what it holds."""
        claims, before = self.backend.claims, child(_object.decode(current.body.json), "spec")
        if isinstance(operation, Remove):  # it goes with its last finalizer
            given_up = await claims.given_up(current.meta.uid, before, {})
            stored = await self.backend.store.write(operation)
            await claims.give_back(given_up)
            return stored
        body = _object.decode(operation.body.json)
        spec = child(body, "spec")
        given_up = await claims.given_up(current.meta.uid, before, spec)
        taken = await claims.take(current.meta, spec, before)
        if taken:
            body["spec"] = spec
            whole = Body(msgspec.json.encode(body, order="deterministic"))
            operation = replace(operation, body=whole)
        try:
            stored = await self.backend.store.write(operation)
        except StatusError:
            await claims.give_back(taken)
            raise
        await claims.give_back(given_up)
        return stored

    async def _rehearse(self, current: StoredObject, operation: Replace | Remove) -> StoredObject:
        """Return what an update would make, without making it (dryRun)."""
        if isinstance(operation, Remove):
            return current
        refusal = await self.backend.store.over_quota(operation, current)
        if refusal is not None:
            raise refusal
        return replace(current, meta=operation.meta, body=operation.body, status=operation.status)

    def _operation(
        self, call: Call, current: StoredObject, change: Change
    ) -> Replace | Remove | None:
        """Return the write, None when nothing changes."""
        kind, old = call.kind, document(current, call.kind)
        new = _merged(kind, old, change.wanted, call.subresource)
        if call.subresource != "status":
            kind.carry_over(old, new)
            kind.default(new)
        meta = metadata.carried_over(parse_meta(new), current)
        if call.subresource == "status":
            meta = current.meta
        causes = [*metadata.causes(meta, kind)]
        if call.subresource == "status":
            causes += kind.validate_status(new)
        elif call.subresource in kind.portions:
            causes += [*kind.validate(new), *kind.portions[call.subresource].validate(old, new)]
        else:
            causes += [*kind.validate(new), *kind.validate_update(old, new)]
        causes += _deletion_causes(current.meta, meta)
        if causes:
            raise status_errors.invalid(kind, call.name, tuple(causes))
        parts = decompose(new, kind, current.binding)
        same_body = _rest(new) == _rest(old)
        same_status = (new.get("status") or None) == (old.get("status") or None)
        meta = replace(meta, managed_fields=current.meta.managed_fields)
        owners = child(change.wanted, "metadata").get("managedFields") if change.applied else None
        if same_body and same_status and meta == current.meta:
            if owners is None or owners == child(old, "metadata").get("managedFields"):
                return None
        elif owners is None:
            owners = _owners(call, old, {**new, "metadata": _clean_meta(meta)})
        if owners:
            meta = replace(meta, managed_fields=msgspec.Raw(msgspec.json.encode(owners)))
        if not same_body and meta.generation:
            meta = replace(meta, generation=meta.generation + 1)
        if metadata.finished(meta, kind.resource) and not metadata.finished(
            current.meta, kind.resource
        ):
            return Remove(current.key, current.meta.uid, current.revision)
        return Replace(
            kind.resource,
            meta,
            current.body if same_body else parts.body,
            current.status if same_status else parts.status,
            current.revision,
        )


def converted(kind: Kind, wanted: JsonObject, current: StoredObject) -> JsonObject:
    """Return a document of the version that a client speaks as one of the version that is kept."""
    if kind.conversion is None:
        return wanted
    return kind.conversion.inward(wanted, document(current, kind.stored))


def _owners(call: Call, old: JsonObject, new: JsonObject) -> Json:
    """Return managedFields after an update.

    Pods are many and mostly written by machines: theirs are kept only once someone has applied
    them (upstream treats an object without any as owned by "before-first-apply" then).
    """
    tracked = bool(child(old, "metadata").get("managedFields"))
    if call.kind.interned and not tracked:
        return None
    writer = Writer(call.manager, call.kind.group_version, now_seconds(), call.subresource)
    recorded = record_update(old, new, call.kind.message, writer)
    return child(recorded, "metadata").get("managedFields")


def _clean_meta(meta: ObjectMeta) -> JsonObject:
    """Return the metadata as JSON, without managedFields."""
    return msgspec.json.decode(msgspec.json.encode(replace(meta, managed_fields=NO_MANAGED_FIELDS)))


def missing(kind: Kind, name: str) -> NotFound:
    """Return the error for an object that is not there."""
    return NotFound(
        f'{kind.resource} "{name}" not found', kind=kind.plural, group=kind.group, name=name
    )


def _rest(obj: JsonObject) -> JsonObject:
    return {k: v for k, v in obj.items() if k not in {"apiVersion", "kind", "metadata", "status"}}


def _merged(kind: Kind, old: JsonObject, new: JsonObject, subresource: str) -> JsonObject:
    """Return the next document: /status takes only status, a portion its field of the spec."""
    if subresource in kind.portions:
        field = kind.portions[subresource].field
        spec = {key: value for key, value in child(old, "spec").items() if key != field}
        if field in child(new, "spec"):
            spec[field] = child(new, "spec")[field]
        return {**old, "spec": spec}
    if subresource == "status":
        merged = {**old}
        merged.pop("status", None)
        if new.get("status"):
            merged["status"] = new["status"]
        return merged
    merged = {**new}
    if kind.has_status:
        merged.pop("status", None)
        if "status" in old:
            merged["status"] = old["status"]
    return merged


def _check_identity(kind: Kind, current: StoredObject, wanted: JsonObject) -> bool:
    """Check name, namespace, uid and resourceVersion; return whether the latter was given."""
    meta = parse_meta(wanted)
    if meta.name and meta.name != current.meta.name:
        raise BadRequest(
            f"the name of the object ({meta.name}) does not match the name on the URL "
            f"({current.meta.name})"
        )
    if kind.namespaced and meta.namespace and meta.namespace != current.meta.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    shown = f'Operation cannot be fulfilled on {kind.resource} "{current.meta.name}"'
    if meta.uid and meta.uid != current.meta.uid:
        raise _conflict(
            kind,
            current,
            f"{shown}: Precondition failed: UID in precondition: {meta.uid}, UID in object meta: "
            f"{current.meta.uid}",
        )
    if meta.resource_version in {"", "0"}:
        return False
    if meta.resource_version != str(current.revision):
        raise _conflict(
            kind,
            current,
            f"{shown}: the object has been modified; please apply your changes to the latest "
            "version and try again",
        )
    return True


def _conflict(kind: Kind, current: StoredObject, message: str) -> Conflict:
    return Conflict(message, kind=kind.plural, group=kind.group, name=current.meta.name)


def _deletion_causes(old: ObjectMeta, new: ObjectMeta) -> "list[status_errors.Cause]":
    added = set(new.finalizers) - set(old.finalizers)
    if old.deletion_timestamp is None or not added:
        return []
    return [
        status_errors.Cause(
            "metadata.finalizers",
            "Forbidden: no new finalizers can be added if the object is being deleted, found new "
            f"finalizers {sorted(added)}",
            "FieldValueForbidden",
        )
    ]
