"""Why a value is refused, in the words and with the reasons of Kubernetes' field errors."""

from collections.abc import Iterable, Iterator

from ...errors import Cause
from ..json import Json, JsonObject
from ..names import label_key_complaints, label_value_complaints


def required(path: str, why: str = "") -> Cause:
    """Return the cause for an absent value."""
    return Cause(path, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def invalid(path: str, value: Json, why: str) -> Cause:
    """Return the cause for a bad value, which is quoted (shortened)."""
    shown = f'"{value[:200]}"' if isinstance(value, str) else str(value)[:200]
    return Cause(path, f"Invalid value: {shown}: {why}")


def duplicate(path: str, value: str) -> Cause:
    """Return the cause for a value given twice."""
    return Cause(path, f'Duplicate value: "{value}"', "FieldValueDuplicate")


def forbidden(path: str, why: str) -> Cause:
    """Return the cause for a field that may not be set so."""
    return Cause(path, f"Forbidden: {why}", "FieldValueForbidden")


def one_of(path: str, value: str, allowed: Iterable[str]) -> Iterator[Cause]:
    """Yield a cause when the value is none of those allowed."""
    choices = tuple(allowed)
    if value not in choices:
        listed = ", ".join(f'"{each}"' for each in choices if each)
        yield Cause(
            path,
            f'Unsupported value: "{value}": supported values: {listed}',
            "FieldValueNotSupported",
        )


def label_map_causes(labels: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad key or value of a label map."""
    for key, value in labels.items():
        for complaint in label_key_complaints(key):
            yield invalid(path, key, complaint)
        for complaint in label_value_complaints(str(value)):
            yield invalid(path, str(value), complaint)
