"""Server-side apply: who owns which field, and merging by that (Kubernetes).

Pure: documents in, documents out. Nothing here is needed on a plain create: an object without
managedFields is taken, at its first apply, as owned whole by "before-first-apply" (as upstream).
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime

from ..errors import BadRequest, Cause, Conflict
from .field_sets import (
    Flat,
    Path,
    flatten,
    from_fields,
    is_atomic,
    item_key,
    item_message,
    path_text,
    to_fields,
    without,
)
from .json import Json, JsonObject
from .schema import Field, Message, load

_BEFORE_FIRST_APPLY = "before-first-apply"
_MAX_UPDATE_ENTRIES = 10
_SYSTEM_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
)
_UNOWNED: frozenset[Path] = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {("f:metadata", f"f:{name}") for name in _SYSTEM_METADATA}
)


@dataclass(frozen=True)
class Writer:
    """Who writes, and when.

    Args:
        manager: field manager, or for updates the User-Agent up to "/".
        api_version: of the object as written, e.g. "apps/v1".
        now: whole seconds, UTC.
        subresource: "" for the object itself, or e.g. "status".
    """

    manager: str
    api_version: str
    now: datetime
    subresource: str = ""


@dataclass(frozen=True)
class _Entry:
    """One element of metadata.managedFields."""

    manager: str
    operation: str
    api_version: str
    time: str
    subresource: str
    paths: frozenset[Path]

    def same_owner(self, other: "_Entry") -> bool:
        return self._identity() == other._identity()

    def _identity(self) -> tuple[str, str, str, str]:
        return self.manager, self.operation, self.api_version, self.subresource

    def __str__(self) -> str:
        if self.operation == "Apply":
            return f'"{self.manager}"'
        subresource = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.manager}"{subresource} using {self.api_version}'


def apply(
    live: JsonObject | None,
    applied: JsonObject,
    message: str,
    writer: Writer,
    *,
    force: bool = False,
) -> JsonObject:
    """Return the object after a server-side apply, with its managedFields.

    Args:
        live: the object now, or None to create it; not changed.
        applied: the configuration sent, as a plain object.
        message: the kind's message, e.g. "apps.v1.Deployment".
        writer: the applying manager.
        force: take fields that other managers own with other values.

    Returns:
        The merged object. It equals live, managedFields included, where nothing changed.

    Raises:
        BadRequest: a keyed list's item lacks its key or occurs twice, or managedFields was sent.
        Conflict: others own fields with different values; one cause per field.
    """
    if _metadata(applied).get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    kind = load().message(message)
    try:
        wanted = _owned(flatten(applied, kind))
        current = _owned(flatten(live, kind)) if live is not None else {}
        merged = _merge_object(deepcopy(live) if live is not None else {}, applied, kind)
    except RecursionError:
        raise BadRequest("the applied configuration nests too deeply") from None
    entries = _entries(live, current)
    mine = _entry(writer, "Apply", frozenset(wanted))
    previous = next((each for each in entries if _same_applier(each, mine)), None)
    others = [each for each in entries if each is not previous]
    conflicts = [
        (each, path)
        for each in others
        for path in sorted(each.paths & wanted.keys())
        if path in current and current[path] != wanted[path]
    ]
    if conflicts and not force:
        raise _conflict(conflicts)
    lost = {path for _, path in conflicts}
    others = [replace(each, paths=each.paths - lost) for each in others]
    if previous is not None:
        kept = frozenset[Path]().union(mine.paths, *(each.paths for each in others))
        _prune(merged, previous.paths - mine.paths, kept)
        mine = replace(mine, time=previous.time) if previous.paths == mine.paths else mine
    return _with_entries(merged, [mine, *others])


def record_update(
    before: JsonObject | None, after: JsonObject, message: str, writer: Writer
) -> JsonObject:
    """Return after with managedFields saying that writer's update set what differs from before.

    Args:
        before: the object as it was (with its managedFields), or None for a create.
        after: the object as it will be; not changed, its own managedFields are ignored.
        message: the kind's message.
        writer: the updating manager.
    """
    kind = load().message(message)
    old = _owned(flatten(before, kind)) if before is not None else {}
    new = _owned(flatten(after, kind))
    changed = frozenset(path for path, value in new.items() if old.get(path) != value)
    removed = old.keys() - new.keys()
    entries = _recorded(before)
    if not changed and not removed:
        return _with_entries(dict(after), entries)
    mine = _entry(writer, "Update", changed)
    previous = next((each for each in entries if each.same_owner(mine)), None)
    others = [
        replace(each, paths=each.paths - changed - removed)
        for each in entries
        if each is not previous
    ]
    if previous is not None:
        mine = replace(mine, paths=(previous.paths | changed) - removed)
    return _with_entries(dict(after), [mine, *others])


def _metadata(obj: JsonObject | None) -> JsonObject:
    metadata = obj.get("metadata") if obj else None
    return metadata if isinstance(metadata, dict) else {}


def _owned(flat: Flat) -> Flat:
    return {path: value for path, value in flat.items() if path[:2] not in _UNOWNED}


def _entry(writer: Writer, operation: str, paths: frozenset[Path]) -> _Entry:
    time = writer.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return _Entry(writer.manager, operation, writer.api_version, time, writer.subresource, paths)


def _same_applier(left: _Entry, right: _Entry) -> bool:
    """Compare appliers; one manager's apply is one entry, whatever its apiVersion."""
    return left.operation == "Apply" and (left.manager, left.subresource) == (
        right.manager,
        right.subresource,
    )


def _recorded(obj: JsonObject | None) -> list[_Entry]:
    stored = _metadata(obj).get("managedFields")
    if not isinstance(stored, list):
        return []
    return [_read_entry(each) for each in stored if isinstance(each, dict)]


def _read_entry(entry: JsonObject) -> _Entry:
    return _Entry(
        manager=str(entry.get("manager") or ""),
        operation=str(entry.get("operation") or ""),
        api_version=str(entry.get("apiVersion") or ""),
        time=str(entry.get("time") or ""),
        subresource=str(entry.get("subresource") or ""),
        paths=from_fields(entry.get("fieldsV1")),
    )


def _entries(live: JsonObject | None, current: Flat) -> list[_Entry]:
    """Return the recorded owners; an object that has none belongs to before-first-apply."""
    found = _recorded(live)
    if found or live is None:
        return found
    metadata = _metadata(live)
    created = str(metadata.get("creationTimestamp") or "")
    version = str(live.get("apiVersion") or "")
    owned = frozenset(current)
    return [_Entry(_BEFORE_FIRST_APPLY, "Update", version, created, "", owned)]


def _with_entries(obj: JsonObject, entries: Iterable[_Entry]) -> JsonObject:
    kept = [each for each in entries if each.paths]
    updates = sorted((each for each in kept if each.operation != "Apply"), key=_order)
    if len(updates) > _MAX_UPDATE_ENTRIES:
        oldest = updates[: len(updates) - _MAX_UPDATE_ENTRIES + 1]
        paths = frozenset[Path]().union(*(each.paths for each in oldest))
        merged = replace(oldest[-1], manager="ancient-changes", paths=paths)
        updates = [merged, *updates[len(oldest) :]]
    appliers = sorted((each for each in kept if each.operation == "Apply"), key=_order)
    fields: list[Json] = [_json(each) for each in appliers + updates]
    metadata: JsonObject = {**_metadata(obj), "managedFields": fields}
    if not fields:
        del metadata["managedFields"]
    return {**obj, "metadata": metadata}


def _order(entry: _Entry) -> tuple[str, str]:
    return entry.time, entry.manager


def _json(entry: _Entry) -> Json:
    out: JsonObject = {
        "manager": entry.manager,
        "operation": entry.operation,
        "apiVersion": entry.api_version,
        "time": entry.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_fields(entry.paths),
    }
    if entry.subresource:
        out["subresource"] = entry.subresource
    return {key: value for key, value in out.items() if value != ""}


def _conflict(conflicts: list[tuple[_Entry, Path]]) -> Conflict:
    causes = tuple(
        Cause(path_text(path), f"conflict with {entry}", "FieldManagerConflict")
        for entry, path in conflicts
    )
    if len(causes) == 1:
        text = f"1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        lines: list[str] = []
        for owner in dict.fromkeys(str(entry) for entry, _ in conflicts):
            lines.append(f"conflicts with {owner}:")
            lines.extend(f"- {path_text(path)}" for entry, path in conflicts if str(entry) == owner)
        text = f"{len(causes)} conflicts: " + "\n".join(lines)
    return Conflict(f"Apply failed with {text}", causes=causes)


def _prune(doc: JsonObject, dropped: frozenset[Path], kept: frozenset[Path]) -> None:
    """Remove what the manager no longer sends and nobody owns, whole or in part."""
    needed = {path[:size] for path in kept for size in range(1, len(path) + 1)}
    for path in sorted(dropped, key=len):
        if path not in needed and not _is_key_of_kept_item(path, needed):
            without(doc, path)


def _is_key_of_kept_item(path: Path, needed: set[Path]) -> bool:
    """Return whether a path is the key of a list item that stays: it names the item."""
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    return path[:-1] in needed and f'"{path[-1].removeprefix("f:")}":' in path[-2]


def _merge_object(live: JsonObject, applied: JsonObject, message: Message | None) -> JsonObject:
    for key, value in applied.items():
        if value is not None:
            field = message.fields.get(key) if message else None
            live[key] = _merge_value(live.get(key), value, field)
    return live


def _merge_value(live: Json, applied: Json, field: Field | None) -> Json:
    if field is None or live is None or is_atomic(field):
        return deepcopy(applied)
    if isinstance(live, dict) and isinstance(applied, dict):
        return _merge_object(live, applied, None if field.map else item_message(field))
    if isinstance(live, list) and isinstance(applied, list):
        return _merge_list(live, applied, field)
    return deepcopy(applied)


def _merge_list(live: list[Json], applied: list[Json], field: Field) -> list[Json]:
    """Merge by identity, in the applied order; items of others stay before what they preceded."""

    def identity(item: Json) -> str:
        return item_key(item, field) if field.list_keys else repr(item)

    wanted = [identity(item) for item in applied]
    if len(set(wanted)) != len(wanted):
        raise BadRequest(f"{field.name}: two items of the list have the same key")
    current = {identity(item): item for item in live}
    waiting = [each for each in current if each not in set(wanted)]
    places = {each: place for place, each in enumerate(current)}
    out: list[Json] = []
    for each, item in zip(wanted, applied, strict=True):
        while each in places and waiting and places[waiting[0]] < places[each]:
            out.append(current[waiting.pop(0)])
        existing = current.get(each)
        if isinstance(existing, dict) and isinstance(item, dict):
            out.append(_merge_object(existing, item, item_message(field)))
        else:
            out.append(deepcopy(item))
    return out + [current[each] for each in waiting]
