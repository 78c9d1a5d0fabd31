"""New objects: decode → default → validate → store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import msgspec
from msgspec.structs import replace

from ..access.identity import User
from ..errors import AlreadyExists, BadRequest, Cause, NotFound, StatusError
from ..objects import checking
from ..objects.apply import Writer, record_update
from ..objects.json import Json, JsonObject
from ..objects.kind import Kind
from ..objects.kinds.apparmor_annotations import are_named
from ..objects.kinds.fields import child, ensure
from ..objects.kinds.limit_admission import FILLED
from ..objects.kinds.pod_defaults import tolerate_lost_nodes
from ..objects.meta import ObjectMeta, OwnerReference, new_uids, now_seconds
from ..objects.stored import Body, ObjectKey, StoredObject
from ..objects.wire import decompose
from ..store.operations import Create
from . import bodies, metadata, status_errors
from .backend import Backend
from .cleaning import clean
from .repeats import Prepared
from .request import Call

_NAME_TRIES = 8
_encode = msgspec.json.encode


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A new object, ready to be stamped and stored.

    Args:
        meta: as the client gave it, namespace settled; checked.
        warnings: sentences for the client.
    """

    meta: ObjectMeta
    body: Body
    status: bytes
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """How objects come in.

    Args:
        namespace: of the path, "" where each object must name its own.
        content_type: of the body, without parameters.
        validation: Strict, Warn or Ignore.
        manager: who writes, for managedFields.
        user: who asks.
    """

    namespace: str
    content_type: str
    validation: str
    manager: str
    user: User


def submission(call: Call) -> Submission:
    """Return how a call's object comes in."""
    validation = call.query.field_validation
    return Submission(call.namespace, call.content_type, validation, call.manager, call.user)


class _PlainMeta(
    msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """The metadata most creates have; anything beyond takes the long way."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    generate_name: str | msgspec.UnsetType = msgspec.UNSET
    namespace: str | msgspec.UnsetType = msgspec.UNSET
    labels: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    owner_references: tuple[OwnerReference, ...] | msgspec.UnsetType = msgspec.UNSET
    creation_timestamp: None | msgspec.UnsetType = msgspec.UNSET


class _Envelope(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """An object of an interned kind with its spec left undecoded."""

    api_version: str
    kind: str
    metadata: msgspec.Raw
    spec: msgspec.Raw
    status: msgspec.Raw = msgspec.Raw(b"{}")


_envelope = msgspec.json.Decoder(_Envelope)
_plain_meta = msgspec.json.Decoder(_PlainMeta)
_EMPTY_STATUS = frozenset({b"{}", b"null"})
# fields of a pod that take values from its labels, or start it with a time
_OWN = (b'"matchLabelKeys"', b'"mismatchLabelKeys"', b'"schedulingGates"')


@dataclass(frozen=True, slots=True)
class Creator:
    """Makes new objects from request bodies."""

    backend: Backend

    async def draft(self, kind: Kind, how: Submission, data: bytes) -> Draft:
        """Return the checked object of a body.

        Raises:
            StatusError: the body cannot be read, or a field is not allowed.
        """
        plain = None
        if kind.interned and how.content_type in {"", "application/json"}:
            plain = _plain(kind, data)
        if plain is None:
            obj, complaints = await bodies.decode_aside(how.content_type, data)
            return await self.draft_object(kind, how, obj, complaints)
        meta = metadata.settle_namespace(plain.meta, how.namespace, kind)
        version = self.backend.classes.version, await self.backend.limits.version(meta.namespace)
        found = self.backend.repeats.find(kind.resource, plain.spec, version)
        if found is not None:
            self._refuse(kind, meta, metadata.causes(meta, kind))
            await self.backend.further_rights.judge(how.user, kind, meta, {})
            told = await self.backend.admission.judge_body(kind, meta, found.body)
            if found.annotations:
                meta = replace(meta, annotations={**meta.annotations, **found.annotations})
            return Draft(meta, found.body, found.status, (*found.warnings, *told))
        obj, complaints = await bodies.decode_aside(how.content_type, data)
        draft = await self.draft_object(kind, how, obj, complaints)
        if not complaints and _repeatable(draft) and FILLED not in plain.meta.annotations:
            filled = {k: v for k, v in draft.meta.annotations.items() if k == FILLED}
            prepared = Prepared(draft.body, draft.status, draft.warnings, filled)
            self.backend.repeats.keep(kind.resource, plain.spec, version, prepared)
        return draft

    async def draft_object(
        self,
        kind: Kind,
        how: Submission,
        obj: JsonObject,
        complaints: Sequence[str] = (),
        applied: Json = None,
    ) -> Draft:
        """Return the checked object of decoded JSON.

        Args:
            complaints: fields given twice.
            applied: managedFields of a server-side apply; otherwise they are made here.

        Raises:
            StatusError: a field is not allowed.
        """
        obj, warnings = checked(kind, obj, complaints, how.validation)
        if kind.conversion is not None:
            obj, kind = kind.conversion.inward(obj, None), kind.stored
        meta = metadata.settle_namespace(parse_meta(obj), how.namespace, kind)
        if meta.resource_version not in {"", "0"}:
            raise BadRequest("resourceVersion should not be set on objects to be created")
        warnings.extend(kind.warnings(obj))
        ensure(obj, "metadata")["namespace"] = meta.namespace
        await self._admit(kind, meta, obj)
        kind.complete(obj)
        kind.default(obj)
        await self.backend.limits.admit(kind, meta, obj)
        causes = (
            *metadata.causes(meta, kind),
            *kind.validate(obj),
            *kind.validate_creation(obj),
            *kind.validate_status(obj),
        )
        self._refuse(kind, meta, causes)
        await self.backend.escalation.judge(how.user, kind, meta, obj)
        await self.backend.further_rights.judge(how.user, kind, meta, child(obj, "spec"))
        told = await self.backend.admission.judge(kind, meta, obj)
        ensure(obj, "metadata").pop("managedFields", None)
        if applied:
            obj["metadata"] = {**child(obj, "metadata"), "managedFields": applied}
        elif not kind.interned:
            writer = Writer(how.manager, kind.group_version, now_seconds())
            obj = record_update(None, obj, kind.message, writer)
        parts = decompose(obj, kind)
        status = kind.initial_status(obj)
        return Draft(
            replace(parts.meta, namespace=meta.namespace),
            parts.body,
            _encode(status) if status else b"",
            (*warnings, *told),
        )

    async def _admit(self, kind: Kind, meta: ObjectMeta, obj: JsonObject) -> None:
        """Fill what depends on the cluster rather than on the object."""
        if kind.resource == "pods":
            spec = ensure(obj, "spec")
            tolerate_lost_nodes(spec, self.backend.settings.toleration_seconds)
            await self.backend.classes.assign(spec, meta.name or meta.generate_name)

    def _refuse(self, kind: Kind, meta: ObjectMeta, causes: "Sequence[Cause] | object") -> None:
        found = tuple(cast(Sequence[Cause], causes))
        if found:
            raise status_errors.invalid(kind, meta.name or meta.generate_name, found)

    async def store(self, kind: Kind, draft: Draft, *, dry_run: bool = False) -> StoredObject:
        """Store a draft, under a new generated name as often as one is taken.

        Raises:
            StatusError: as the store answers.
        """
        generated = not draft.meta.name
        for attempt in range(_NAME_TRIES):
            try:
                return await self._store(kind, draft, dry_run)
            except AlreadyExists as error:
                if not generated or attempt == _NAME_TRIES - 1:
                    raise
                if error.kind != kind.plural:
                    raise
        raise AssertionError("unreachable")

    async def _store(self, kind: Kind, draft: Draft, dry_run: bool) -> StoredObject:
        [operation] = stamp(kind, [draft])
        if kind.resource == "services":
            return await self._store_service(operation, dry_run)
        if dry_run:
            return await self.rehearse(operation)
        stored = await self.backend.store.write(operation)
        await self.backend.counts(stored.resource, stored.revision)
        return stored

    async def _store_service(self, operation: Create, dry_run: bool) -> StoredObject:
        """Create a Service together with its address and ports."""
        if dry_run:
            return await self.rehearse(operation)
        body = cast(JsonObject, msgspec.json.decode(operation.body.json))
        spec, meta, claims = child(body, "spec"), operation.meta, self.backend.claims
        taken = await claims.take(meta, spec, {})
        body["spec"] = spec
        try:
            whole = Body(_encode(body, order="deterministic"))
            return await self.backend.store.write(
                Create(operation.resource, meta, whole, operation.status)
            )
        except StatusError:
            await claims.give_back(taken)
            raise

    async def rehearse(self, operation: Create) -> StoredObject:
        """Return what a create would make, without making it (dryRun)."""
        meta, store = operation.meta, self.backend.store
        if await store.get(ObjectKey(operation.resource, meta.namespace, meta.name)):
            raise AlreadyExists(
                f'{operation.resource} "{meta.name}" already exists',
                kind=operation.resource.partition(".")[0],
                group=operation.resource.partition(".")[2],
                name=meta.name,
            )
        if meta.namespace and not await store.get(ObjectKey("namespaces", "", meta.namespace)):
            raise NotFound(
                f'namespaces "{meta.namespace}" not found', kind="namespaces", name=meta.namespace
            )
        refusal = await store.over_quota(operation)
        if refusal is not None:
            raise refusal
        return StoredObject(operation.resource, meta, 0, 0, operation.body, operation.status)


class _Plain(NamedTuple):
    """A new object that says nothing unusual, its spec left undecoded."""

    meta: ObjectMeta
    spec: bytes


def _plain(kind: Kind, data: bytes) -> _Plain | None:
    """Return the object of a body, None where only the long way does it justice."""
    try:
        envelope = _envelope.decode(data)
        raw_meta = bytes(envelope.metadata)
        plain = _plain_meta.decode(raw_meta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if bytes(envelope.status) not in _EMPTY_STATUS or _repeats_keys(data, envelope, plain):
        return None
    if (envelope.api_version, envelope.kind) != (kind.group_version, kind.kind):
        return None
    if plain.annotations and are_named(plain.annotations):
        return None  # they become part of the spec
    return _Plain(_meta(plain), bytes(envelope.spec))


def _repeatable(draft: Draft) -> bool:
    """Tell whether an equal spec gives an equal object whatever its metadata and the time are."""
    return not draft.warnings and not any(name in draft.body.json for name in _OWN)


def stamp(kind: Kind, drafts: Sequence[Draft]) -> list[Create]:
    """Return the writes that make the objects; new uids and generated names on every call."""
    now = now_seconds()
    writes: list[Create] = []
    for draft, uid in zip(drafts, new_uids(len(drafts)), strict=True):
        meta = metadata.stamped(draft.meta, kind, uid, now)
        if kind.resource == "namespaces" and not draft.meta.name:
            labels = {**meta.labels, "kubernetes.io/metadata.name": meta.name}
            meta = replace(meta, labels=labels)
        writes.append(Create(kind.resource, meta, identified(kind, meta, draft.body), draft.status))
    return writes


def identified(kind: Kind, meta: ObjectMeta, body: Body) -> Body:
    """Return the body of a new object with what depends on its name and uid."""
    if kind.identify is None:
        return body
    value = cast(JsonObject, msgspec.json.decode(body.json))
    kind.identify(meta, value)
    return Body(_encode(value, order="deterministic"))


def checked(
    kind: Kind, obj: JsonObject, complaints: Sequence[str], validation: str
) -> tuple[JsonObject, list[str]]:
    """Check an object's type and fields; return it clean, and warnings.

    Raises:
        BadRequest: it is another kind, a value has the wrong type, or (Strict) a field is unknown
            or given twice.
    """
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    shown = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'
    if api_version and api_version != kind.group_version:
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({kind.group_version})"
        )
    if name and name != kind.kind:
        raise BadRequest(
            f'{name} in version "{kind.version}" cannot be handled as a {kind.kind}: converting '
            f"({name}) to ({kind.kind}): unknown conversion"
        )
    problems = checking.check(kind.message, obj)
    wrong = next((each for each in problems if not each.unknown), None)
    if wrong is not None:
        raise BadRequest(f"{shown}: {wrong.message}")
    unknown = [*complaints, *(each.message for each in problems)]
    if unknown and validation == "Strict":
        raise BadRequest(f"{shown}: strict decoding error: {', '.join(unknown)}")
    return clean(kind.message, obj), unknown if validation == "Warn" else []


def parse_meta(obj: JsonObject) -> ObjectMeta:
    """Return the typed metadata of an object that passed the check.

    Raises:
        BadRequest: metadata cannot be read.
    """
    try:
        return msgspec.convert(
            {k: v for k, v in child(obj, "metadata").items() if k != "managedFields"}, ObjectMeta
        )
    except msgspec.ValidationError as error:
        raise BadRequest(f"metadata: {error}") from None


def _meta(plain: _PlainMeta) -> ObjectMeta:
    return ObjectMeta(
        name=plain.name or "",
        generate_name=plain.generate_name or "",
        namespace=plain.namespace or "",
        labels=plain.labels or {},
        annotations=plain.annotations or {},
        owner_references=plain.owner_references or (),
    )


def _repeats_keys(data: bytes, envelope: _Envelope, plain: _PlainMeta) -> bool:
    """Tell whether a key may be given twice outside the spec: then the long way reports it.

    A key given twice takes its quotes with it when it is decoded, so equal counts of quotes mean
    that nothing was dropped. An escape anywhere in the metadata counts as doubt.
    """
    raw_meta, raw_spec = bytes(envelope.metadata), bytes(envelope.spec)
    if b"\\" in raw_meta or raw_meta.count(b'"') != _encode(plain).count(b'"'):
        return True
    outside = data.count(b'"') - raw_meta.count(b'"') - raw_spec.count(b'"')
    # four keys and the two texts of apiVersion and kind, and status where it is given
    return outside not in {12, 14}
