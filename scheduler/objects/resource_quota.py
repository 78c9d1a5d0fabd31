"""Typed view of ResourceQuotas: how much a namespace may use of what, and how much it does."""

from collections.abc import Mapping

import msgspec

from . import quantity
from .meta import ObjectMeta
from .stored import StoredObject
from .view import View

RESOURCE = "resourcequotas"
TERMINATING, NOT_TERMINATING = "Terminating", "NotTerminating"
BEST_EFFORT, NOT_BEST_EFFORT = "BestEffort", "NotBestEffort"
PRIORITY_CLASS = "PriorityClass"
CROSS_NAMESPACE = "CrossNamespacePodAffinity"
IN, NOT_IN, EXISTS, DOES_NOT_EXIST = "In", "NotIn", "Exists", "DoesNotExist"
Quantities = dict[str, str | int | float]


class ScopeRequirement(View, frozen=True):
    """core/v1 ScopedResourceSelectorRequirement."""

    scope_name: str = ""
    operator: str = EXISTS
    values: tuple[str, ...] = ()


class ResourceQuota(msgspec.Struct, frozen=True):
    """A ResourceQuota as admission and controllers see it.

    Args:
        hard: of the spec, as written.
        requirements: an object must meet all of them to count.
        limits, used: of the status, in billionths of the resource's unit.
    """

    meta: ObjectMeta
    hard: Quantities
    requirements: tuple[ScopeRequirement, ...]
    limits: Mapping[str, int]
    used: Mapping[str, int]
    revision: int

    @property
    def counted(self) -> bool:
        """Whether the status is that of the spec."""
        return quantity.nanos(self.hard) == self.limits and self.used.keys() == self.limits.keys()


class _Selector(View, frozen=True):
    match_expressions: tuple[ScopeRequirement, ...] = ()


class _Spec(View, frozen=True):
    hard: Quantities = {}
    scopes: tuple[str, ...] = ()
    scope_selector: _Selector | None = None


class _Body(View, frozen=True):
    spec: _Spec = _Spec()


class _Status(View, frozen=True):
    hard: Quantities = {}
    used: Quantities = {}


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(_Status)


def quota_view(stored: StoredObject) -> ResourceQuota:
    """Return the typed view of a stored ResourceQuota."""
    spec = _body.decode(stored.body.json).spec
    status = _status.decode(stored.status) if stored.status else _Status()
    selected = spec.scope_selector.match_expressions if spec.scope_selector is not None else ()
    plain = tuple(ScopeRequirement(scope) for scope in spec.scopes)
    return ResourceQuota(
        stored.meta,
        spec.hard,
        (*plain, *selected),
        quantity.nanos(status.hard),
        quantity.nanos(status.used),
        stored.revision,
    )
