"""Kubernetes protobuf request bodies, decoded to the JSON object they stand for.

Typed Go clients send these and do not fall back on 415. Only decoding is here: every answer is
JSON. What comes out is not yet checked against the kind's rules, only well-formed.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import cast

import msgspec

from ..errors import BadRequest
from ..objects.json import Json, JsonObject
from ..objects.schema import Field, Type, load

MAGIC = b"k8s\x00"
_MAX_VALUES = 500_000  # a 3 MiB body of empty messages would otherwise fill memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_TIME = -62135596800  # Go's zero time, which JSON leaves out
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_RAW_JSON = frozenset({"runtime.RawExtension", "apis.meta.v1.FieldsV1"})
_OPTIONS = frozenset({"DeleteOptions"})  # sent under the apiVersion of whatever is deleted


def message_name(api_version: str, kind: str) -> str | None:
    """Return the schema's message of an apiVersion and kind, or None if there is none.

    Args:
        api_version: "v1", "apps/v1", "coordination.k8s.io/v1", "ironfree.dev/v1".
        kind: "Pod".
    """
    group, _, version = api_version.rpartition("/")
    package = f"{group.partition('.')[0] or 'core'}.{version}"
    name = f"apis.meta.v1.{kind}" if kind in _OPTIONS else f"{package}.{kind}"
    return name if name in _known() else None


@cache
def _known() -> frozenset[str]:
    return frozenset(load().names)


def decode(data: bytes) -> JsonObject:
    """Return the object of a body of type application/vnd.kubernetes.protobuf.

    Args:
        data: the magic number and an Unknown envelope around the message.

    Returns:
        The object with apiVersion and kind, as a JSON client would have sent it: empty strings and
        zero times left out, zeros and false kept, inlined members flattened.

    Raises:
        BadRequest: not such a body, damaged, or of a kind that is not known.
    """
    if not data.startswith(MAGIC):
        raise BadRequest(
            "the request body is not Kubernetes protobuf: it does not begin with k8s\\0"
        )
    envelope = dict(_records(data[len(MAGIC) :]))
    type_meta = dict(_records(_expect_bytes(envelope.get(1, b""), "typeMeta")))
    api_version = _text(_expect_bytes(type_meta.get(1, b""), "apiVersion"), "apiVersion")
    kind = _text(_expect_bytes(type_meta.get(2, b""), "kind"), "kind")
    if envelope.get(3):
        raise BadRequest("protobuf bodies with a contentEncoding are not supported")
    name = message_name(api_version, kind)
    if name is None:
        raise BadRequest(
            f'no kind "{kind:.128}" is registered for version "{api_version:.128}" in protobuf'
        )
    body = _Reader().message(name, _expect_bytes(envelope.get(2, b""), "raw"))
    return {"apiVersion": api_version, "kind": kind, **body}


_Value = int | bytes


def _records(data: bytes) -> Iterator[tuple[int, _Value]]:
    """Yield (field number, varint or bytes) of a message's records; fixed-width ones as bytes."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if number == 0 or number > 2**29 - 1:
            raise BadRequest(f"damaged protobuf: illegal field number {number}")
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise BadRequest(f"damaged protobuf: illegal wire type {wire} of field {number}")
        if size > end - position:
            raise BadRequest(f"damaged protobuf: field {number} is cut short")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if position >= len(data):
            raise BadRequest("damaged protobuf: a number is cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position
        shift += 7
    raise BadRequest("damaged protobuf: a number is longer than 64 bits")


def _expect_bytes(value: _Value, name: str) -> bytes:
    if isinstance(value, int):
        raise BadRequest(f"damaged protobuf: wrong wire type of field {name}")
    return value


def _expect_int(value: _Value, name: str) -> int:
    if not isinstance(value, int):
        raise BadRequest(f"damaged protobuf: wrong wire type of field {name}")
    return value - 2**64 if value >= 2**63 else value


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"damaged protobuf: field {name} is not UTF-8") from None


@dataclass(frozen=True)
class _Table:
    """A message's fields by number, and its inlined members' tables by number."""

    fields: dict[int, Field]
    inlined: dict[int, "_Table"]


@cache
def _table(name: str) -> _Table:
    return _build(0, [*load().message(name).fields.values()])


def _build(depth: int, fields: list[Field]) -> _Table:
    here = {field.number: field for field in fields if len(field.inside) == depth}
    numbers = dict.fromkeys(field.inside[depth] for field in fields if len(field.inside) > depth)
    inlined = {
        number: _build(
            depth + 1,
            [each for each in fields if len(each.inside) > depth and each.inside[depth] == number],
        )
        for number in numbers
    }
    return _Table(here, inlined)


class _Reader:
    """Decodes one body; counts values so that a small body cannot become a huge object."""

    def __init__(self) -> None:
        self._left = _MAX_VALUES

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadRequest(f"the protobuf body holds more than {_MAX_VALUES} values")

    def message(self, name: str, data: bytes) -> JsonObject:
        """Return a message's JSON object."""
        out: JsonObject = {}
        self._into(out, _table(name), data)
        return out

    def _into(self, out: JsonObject, table: _Table, data: bytes) -> None:
        for number, value in _records(data):
            self._count()
            field = table.fields.get(number)
            if field is not None:
                self._field(out, field, value)
            elif number in table.inlined:
                inner = _expect_bytes(value, str(number))
                self._into(out, table.inlined[number], inner)

    def _field(self, out: JsonObject, field: Field, value: _Value) -> None:
        if field.type is Type.ANY and field.message not in _RAW_JSON:
            return
        if field.map:
            key, item = self._entry(field, _expect_bytes(value, field.name))
            cast(JsonObject, out.setdefault(field.name, {}))[key] = item
        elif field.repeated:
            items = cast(list[Json], out.setdefault(field.name, []))
            if field.type is Type.INT and isinstance(value, bytes):
                items.extend(self._packed(value))
            else:
                items.append(self._item(field, value))
        else:
            item = self._item(field, value)
            if item is not None and item != "":
                out[field.name] = item

    def _packed(self, data: bytes) -> Iterator[int]:
        position = 0
        while position < len(data):
            self._count()
            value, position = _varint(data, position)
            yield _expect_int(value, "packed")

    def _entry(self, field: Field, data: bytes) -> tuple[str, Json]:
        entry = dict(_records(data))
        key = _text(_expect_bytes(entry.get(1, b""), field.name), field.name)
        default = 0 if field.type in (Type.INT, Type.BOOL) else b""
        return key, self._item(field, entry.get(2, default))

    def _item(self, field: Field, value: _Value) -> Json:
        if field.type is Type.INT:
            return _expect_int(value, field.name)
        if field.type is Type.BOOL:
            return _expect_int(value, field.name) != 0
        data = _expect_bytes(value, field.name)
        match field.type:
            case Type.STRING:
                return _text(data, field.name)
            case Type.MESSAGE:
                return self.message(field.message, data)
            case Type.BYTES:
                return base64.b64encode(data).decode()
            case Type.QUANTITY:
                return _first_text(data, field.name) or "0"
            case Type.INT_OR_STRING:
                return _int_or_string(data, field.name)
            case Type.STRINGS:
                return self._strings(field, data)
            case Type.ANY:
                return _raw_json(data, field.name)
            case Type.TIME | Type.MICRO_TIME:
                return _time(data, field)

    def _strings(self, field: Field, data: bytes) -> list[Json]:
        strings: list[Json] = []
        for number, value in _records(data):
            self._count()
            if number == 1:
                strings.append(_text(_expect_bytes(value, field.name), field.name))
        return strings


def _first_text(data: bytes, name: str) -> str:
    return _text(_expect_bytes(dict(_records(data)).get(1, b""), name), name)


def _int_or_string(data: bytes, name: str) -> Json:
    record = dict(_records(data))
    if _expect_int(record.get(1, 0), name) == 1:
        return _text(_expect_bytes(record.get(3, b""), name), name)
    return _expect_int(record.get(2, 0), name)


def _raw_json(data: bytes, name: str) -> Json:
    raw = _expect_bytes(dict(_records(data)).get(1, b""), name)
    if not raw:
        return None
    try:
        return cast(Json, msgspec.json.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"field {name} does not hold JSON: {error}") from None


def _time(data: bytes, field: Field) -> Json:
    record = dict(_records(data))
    seconds = _expect_int(record.get(1, 0), field.name)
    nanos = _expect_int(record.get(2, 0), field.name)
    if not record or seconds == _ZERO_TIME:
        return None
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise BadRequest(f"field {field.name} is a time outside the years 1 to 9999") from None
    precision = "microseconds" if field.type is Type.MICRO_TIME else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"
