"""The fields of every kind: one source for decoding, checking, patching, applying and OpenAPI.

Reads the `.schema` files (Kubernetes' protobuf field numbers, JSON names and types) and the
`.annotations` files (what the wire form does not say: required, list and patch strategies). A
message's text is parsed when it is first asked for. Members that Go inlines are
flattened into their parent, as JSON has them.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files

_SOURCES = ("kubernetes", "ironfree")
_MARK = re.compile(r"([\w-]+)(?:\(([^)]*)\))?$")
_INLINED = {
    ("core.v1.EphemeralContainer", "ephemeralContainerCommon"),
    ("core.v1.PersistentVolumeSpec", "persistentVolumeSource"),
    ("core.v1.Probe", "handler"),
    ("core.v1.Volume", "volumeSource"),
    ("networking.v1.IngressRule", "ingressRuleValue"),
}
_INLINED_EVERYWHERE = "localObjectReference"  # ConfigMap and Secret sources, selectors, projections
# protobuf names that differ from the JSON name
_JSON_NAMES = {("authentication.v1.BoundObjectReference", "uID"): "uid"}


class Type(StrEnum):
    """What a field's value is, as JSON and as protobuf carry it."""

    STRING = "string"
    BOOL = "boolean"
    INT = "integer"
    BYTES = "bytes"  # base64 text in JSON
    QUANTITY = "quantity"  # resource.Quantity: text or number
    TIME = "time"  # RFC 3339, whole seconds
    MICRO_TIME = "micro time"  # RFC 3339, microseconds
    INT_OR_STRING = "int or string"
    STRINGS = "strings"  # a message around a list, which JSON writes as the list
    ANY = "any"  # JSON kept as it came (RawExtension, FieldsV1, messages we do not know)
    MESSAGE = "message"


_SCALARS = {"s": Type.STRING, "b": Type.BOOL, "i": Type.INT, "x": Type.BYTES}
_SPECIAL = {
    "api.resource.Quantity": Type.QUANTITY,
    "apis.meta.v1.Time": Type.TIME,
    "apis.meta.v1.MicroTime": Type.MICRO_TIME,
    "util.intstr.IntOrString": Type.INT_OR_STRING,
    "runtime.RawExtension": Type.ANY,
    "apis.meta.v1.FieldsV1": Type.ANY,
    "authentication.v1.ExtraValue": Type.STRINGS,
    "authentication.v1.AttestationValue": Type.STRINGS,
    "authorization.v1.ExtraValue": Type.STRINGS,
}


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Args:
        number: protobuf field number in the message `path` leads to.
        name: JSON name.
        type: of one item where repeated, of one value where a map.
        message: full name of the message for Type.MESSAGE and for what became Type.ANY, else "".
        inside: protobuf numbers of the inlined members around it, outermost first.
        repeated, map: a JSON array, a JSON object with string keys.
        required: OpenAPI lists it as required.
        int64: wider than 32 bits.
        list_keys: server-side apply matches items by these keys (list type map).
        list_set: server-side apply treats items as a set.
        map_atomic: server-side apply owns the map as a whole.
        merge: strategic merge merges the list rather than replacing it, by `merge_key`
            ("" for a list of primitives).
        retain_keys, replace: the further strategic merge strategies.
    """

    number: int
    name: str
    type: Type
    message: str = ""
    inside: tuple[int, ...] = ()
    repeated: bool = False
    map: bool = False
    required: bool = False
    int64: bool = False
    list_keys: tuple[str, ...] = ()
    list_set: bool = False
    map_atomic: bool = False
    merge: bool = False
    merge_key: str = ""
    retain_keys: bool = False
    replace: bool = False


@dataclass(frozen=True)
class Message:
    """A JSON object type: its fields by JSON name, inlined members flattened.

    Args:
        name: full name, e.g. "core.v1.PodSpec".
        fields: in schema order.
        atomic: server-side apply owns values of it as a whole.
    """

    name: str
    fields: dict[str, Field]
    atomic: bool = False

    @property
    def short(self) -> str:
        """The name without its package: "PodSpec"."""
        return self.name.rpartition(".")[2]


class Schema:
    """All messages, parsed on demand from the schema and annotation texts."""

    def __init__(self, schema_texts: tuple[str, ...], annotation_texts: tuple[str, ...]) -> None:
        self._lines = _lines(schema_texts)
        self._marks = _lines(annotation_texts)
        self._messages: dict[str, Message] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Every message's full name, in file order."""
        return tuple(self._lines)

    def message(self, name: str) -> Message:
        """Return the message of that full name ("core.v1.Pod"); KeyError if there is none."""
        found = self._messages.get(name)
        if found is None:
            found = self._messages[name] = self._parse(name)
        return found

    def _parse(self, name: str) -> Message:
        marks = self._marks.get(name, "").split()
        by_field = dict(mark.split("=", 1) for mark in marks if "=" in mark)
        fields: dict[str, Field] = {}
        for item in self._lines[name].split():
            number, _, rest = item.partition("=")
            json_name, _, type_text = rest.partition(":")
            json_name = _JSON_NAMES.get((name, json_name), json_name)
            if (name, json_name) in _INLINED or json_name == _INLINED_EVERYWHERE:
                fields.update(self._inlined(int(number), self._full_name(name, type_text)))
            else:
                fields[json_name] = self._field(
                    name, int(number), json_name, type_text, by_field.get(json_name, "")
                )
        return Message(name, fields, "atomic" in marks)

    def _inlined(self, number: int, name: str) -> dict[str, Field]:
        return {
            key: replace(field, inside=(number, *field.inside))
            for key, field in self.message(name).fields.items()
        }

    def _full_name(self, owner: str, type_text: str) -> str:
        """Resolve a type name, relative to its owner's package first."""
        package = owner.rpartition(".")[0]
        local = f"{package}.{type_text}"
        return local if local in self._lines else type_text

    def _field(self, owner: str, number: int, name: str, text: str, mark_text: str) -> Field:
        repeated, is_map = text.startswith("[]"), text.startswith("{}")
        base = text[2:] if repeated or is_map else text
        message = ""
        if base in _SCALARS:
            kind = _SCALARS[base]
        else:
            message = self._full_name(owner, base)
            known = Type.MESSAGE if message in self._lines else Type.ANY
            kind = _SPECIAL.get(message, known)
        marks = dict(_mark(part) for part in mark_text.split("|") if part)
        keys = marks.get("list-map", "")
        return Field(
            number=number,
            name=name,
            type=kind,
            message=message,
            repeated=repeated,
            map=is_map,
            required="required" in marks,
            int64="int64" in marks,
            list_keys=tuple(keys.split(",")) if keys else (),
            list_set="list-set" in marks,
            map_atomic="map-atomic" in marks,
            merge="merge" in marks,
            merge_key=marks.get("merge", ""),
            retain_keys="retainKeys" in marks,
            replace="replace" in marks,
        )


def _lines(texts: tuple[str, ...]) -> dict[str, str]:
    lines: dict[str, str] = {}
    for text in texts:
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, _, rest = line.partition(":")
                lines[name] = rest
    return lines


def _mark(text: str) -> tuple[str, str]:
    match = _MARK.match(text)
    if match is None:
        raise ValueError(f"schema annotation {text!r} is not of the form mark or mark(keys)")
    return match[1], match[2] or ""


@cache
def load() -> Schema:
    """Return the schema of every kind that Ironfree knows."""
    here = files("scheduler.objects")
    return Schema(
        tuple((here / f"{source}.schema").read_text("utf-8") for source in _SOURCES),
        tuple((here / f"{source}.annotations").read_text("utf-8") for source in _SOURCES),
    )
