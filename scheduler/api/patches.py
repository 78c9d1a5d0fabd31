"""PATCH: JSON patch, merge patch, strategic merge patch, server-side apply."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import msgspec

from ..access.rbac import Attributes
from ..errors import AlreadyExists, BadRequest, Conflict, NotFound
from ..objects.apply import Writer, apply
from ..objects.json import Json, JsonObject
from ..objects.kinds.fields import child, ensure, text
from ..objects.meta import now_seconds
from ..objects.patching import json_patch, merge_patch
from ..objects.stored import ObjectKey, StoredObject
from ..objects.strategic import strategic_merge
from ..objects.wire import document
from . import bodies
from .backend import Backend
from .creation import Creator, checked, submission
from .request import Call, read_body
from .status_errors import UnsupportedMediaType
from .subresources import Scaler
from .updating import RACES, Change, Updater, converted

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Patch = Callable[[JsonObject], Json]
Result = tuple[StoredObject, tuple[str, ...], bool]


@dataclass(frozen=True, slots=True)
class Patcher:
    """Applies patches to the present state, again as often as a race is lost."""

    backend: Backend

    async def patch(self, call: Call) -> Result:
        """Return the object after the patch, warnings, and whether it was created."""
        data = await read_body(call.request, self.backend.settings.body_limit)
        if call.content_type == APPLY_PATCH:
            return await self._apply(call, data)
        patch = _patch_of(call, data, call.kind.message)

        async def wish(current: StoredObject) -> Change:
            old = document(current, call.kind)
            new, warnings = checked(call.kind, patched(patch, old), (), call.query.field_validation)
            _keep_unpinned(old, new)
            if call.subresource != "status":
                warnings.extend(call.kind.warnings(new))
            return Change(converted(call.kind, new, current), tuple(warnings))

        stored, told = await Updater(self.backend).update(call, wish)
        return stored, told, False

    async def _apply(self, call: Call, data: bytes) -> Result:
        """Server-side apply: merge by ownership, creating what is not there."""
        if not call.query.text("fieldManager"):
            raise BadRequest(
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required '
                "for apply patch"
            )
        if len(data) > bodies.LARGE:  # YAML takes long; others get their turn
            applied, warnings = await asyncio.to_thread(self._applied, call, data)
        else:
            applied, warnings = self._applied(call, data)
        for attempt in range(RACES):
            try:
                return await self._apply_once(call.stored, applied, warnings)
            except (AlreadyExists, NotFound) as error:
                # made or gone between the look and the write
                if error.name != call.name or attempt == RACES - 1:
                    raise
        raise AssertionError("unreachable")

    def _applied(self, call: Call, data: bytes) -> tuple[JsonObject, tuple[str, ...]]:
        if data.lstrip().startswith(b"{"):
            value, complaints = _decoded(data), list[str]()
        else:
            value, complaints = bodies.decode_yaml(data)
        if not isinstance(value, dict):
            raise BadRequest("the applied configuration must be an object")
        if not (value.get("apiVersion") and value.get("kind")):
            raise BadRequest("the applied configuration needs apiVersion and kind")
        if child(value, "metadata").get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        obj, warnings = checked(call.kind, value, complaints, call.query.field_validation)
        meta = ensure(obj, "metadata")
        if text(meta, "name") not in {"", call.name}:
            raise BadRequest(
                f"the name of the object ({text(meta, 'name')}) does not match the name on the URL "
                f"({call.name})"
            )
        meta["name"] = call.name
        if call.kind.conversion is not None:
            obj = call.kind.conversion.inward(obj, None)
        return obj, tuple(warnings)

    async def _apply_once(
        self, call: Call, applied: JsonObject, warnings: tuple[str, ...]
    ) -> Result:
        kind, force = call.kind, call.query.flag("force")
        writer = Writer(call.manager, kind.group_version, now_seconds(), call.subresource)
        key = ObjectKey(kind.resource, call.namespace, call.name)
        if not call.subresource and await self.backend.store.get(key) is None:
            return await self._apply_new(call, applied, writer)

        async def wish(current: StoredObject) -> Change:
            old = document(current, kind)
            wanted = {**applied}
            new = apply(old, wanted, kind.message, writer, force=force)
            _keep_unpinned(old, new)
            told = () if call.subresource else tuple(kind.warnings(applied))
            return Change(new, (*warnings, *told), applied=True)

        stored, told = await Updater(self.backend).update(call, wish)
        return stored, told, False

    async def _apply_new(self, call: Call, applied: JsonObject, writer: Writer) -> Result:
        if child(applied, "metadata").get("uid"):
            raise Conflict(
                "uid mismatch: the provided object specified uid "
                f"{child(applied, 'metadata')['uid']}, and no existing object was found",
                kind=call.kind.plural,
                name=call.name,
            )
        place = Attributes("create", call.namespace, call.kind.group, call.kind.plural)
        await self.backend.authorizer.check(call.user, place._replace(name=call.name))
        obj = apply(None, applied, call.kind.message, writer)
        owners = child(obj, "metadata").get("managedFields")
        creator = Creator(self.backend)
        draft = await creator.draft_object(call.kind, submission(call), obj, applied=owners)
        stored = await creator.store(call.kind, draft, dry_run=call.query.dry_run)
        return stored, draft.warnings, True

    async def patch_scale(self, call: Call) -> StoredObject:
        """Return the object after a patch of its Scale."""
        data = await read_body(call.request, self.backend.settings.body_limit)
        patch = _patch_of(call, data, "autoscaling.v1.Scale")

        async def wish(present: JsonObject) -> JsonObject:
            new = patched(patch, present)
            _keep_unpinned(present, new)
            return new

        return await Scaler(self.backend).update(call, wish)


def patched(patch: Patch, old: JsonObject) -> JsonObject:
    """Return the object a patch makes.

    Raises:
        BadRequest: it makes something that is no object.
    """
    new = patch(old)
    if not isinstance(new, dict):
        raise BadRequest("the patch would leave something that is not an object")
    return new


def _keep_unpinned(old: JsonObject, new: JsonObject) -> None:
    """Drop a resourceVersion that the patch did not set: only a wanted one is a precondition."""
    if child(new, "metadata").get("resourceVersion") == child(old, "metadata").get(
        "resourceVersion"
    ):
        ensure(new, "metadata").pop("resourceVersion", None)


def _patch_of(call: Call, data: bytes, message: str) -> Patch:
    """Return the patch a request carries, as a function of the present object.

    Raises:
        UnsupportedMediaType: its form is not known, or not allowed for the kind.
    """
    form = call.content_type
    if form == STRATEGIC_PATCH and not call.kind.builtin:
        raise _unsupported((JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
    if form not in {JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH}:
        raise _unsupported((JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH))
    value = _decoded(data)
    if form == JSON_PATCH:
        return lambda old: json_patch(old, value)
    if not isinstance(value, dict):
        raise BadRequest("the patch must be a JSON object")
    if form == MERGE_PATCH:
        return lambda old: merge_patch(old, value)
    return lambda old: strategic_merge(old, value, message)


def _decoded(data: bytes) -> Json:
    try:
        return cast(Json, msgspec.json.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"error decoding patch: {error}") from None


def _unsupported(known: tuple[str, ...]) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(known)
    )
