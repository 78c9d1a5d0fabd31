"""Secret (core/v1)."""

import base64
import binascii
import json
from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .config_map import immutable_causes, key_causes, size_causes
from .fields import child, default_text, ensure, text, text_map
from .printing import AGE, NAME, age, name

_REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def _default(obj: JsonObject) -> None:
    plain = text_map(obj, "stringData")
    if plain:
        data = ensure(obj, "data")
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode()
    obj.pop("stringData", None)
    default_text(obj, "type", "Opaque")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    yield from key_causes(obj, "data")
    yield from size_causes(obj, "data")
    data = child(obj, "data")
    for key in _REQUIRED_KEYS.get(text(obj, "type"), ()):
        if key not in data:
            yield Cause(f"data[{key}]", "Required value", "FieldValueRequired")
    if text(obj, "type") == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        yield from _docker_config_causes(text(data, ".dockerconfigjson"))


def _docker_config_causes(encoded: str) -> Iterable[Cause]:
    try:
        json.loads(base64.b64decode(encoded))
    except (ValueError, binascii.Error):
        yield Cause("data[.dockerconfigjson]", 'Invalid value: "<secret contents redacted>"')


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    if text(old, "type") != text(new, "type"):
        yield Cause("type", f'Invalid value: "{text(new, "type")}": field is immutable')
    yield from immutable_causes(old, new, "data")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return (name(obj), text(obj, "type"), len(child(obj, "data")), age(obj, now))


KIND = Kind(
    kind="Secret",
    plural="secrets",
    message="core.v1.Secret",
    printer=Printer(
        (
            NAME,
            Column("Type", description="Used to handle secret data by programs."),
            Column("Data", "integer", description="Number of keys."),
            AGE,
        ),
        _cells,
    ),
    default=_default,
    validate=_validate,
    validate_update=_validate_update,
    fields={"type": text_at("type")},
    has_status=False,
)
