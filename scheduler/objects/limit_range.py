"""Typed view of LimitRanges: what pods and claims of a namespace may ask for, and do by default."""

import msgspec

from .meta import ObjectMeta
from .stored import StoredObject
from .view import View

RESOURCE = "limitranges"
POD, CONTAINER, CLAIM = "Pod", "Container", "PersistentVolumeClaim"
Quantities = dict[str, str | int | float]


class LimitItem(View, frozen=True):
    """core/v1 LimitRangeItem; quantities as written."""

    type: str = ""
    max: Quantities = {}
    min: Quantities = {}
    default: Quantities = {}
    default_request: Quantities = {}
    max_limit_request_ratio: Quantities = {}


class LimitRange(msgspec.Struct, frozen=True):
    """A LimitRange as admission sees it."""

    meta: ObjectMeta
    items: tuple[LimitItem, ...]
    revision: int


class _Spec(View, frozen=True):
    limits: tuple[LimitItem, ...] = ()


class _Body(msgspec.Struct):
    spec: _Spec = _Spec()


_body = msgspec.json.Decoder(_Body)


def limit_range_view(stored: StoredObject) -> LimitRange:
    """Return the typed view of a stored LimitRange."""
    limits = _body.decode(stored.body.json).spec.limits
    return LimitRange(stored.meta, limits, stored.revision)
