"""Typed view of ClusterRoles, as far as their rules are made of others'."""

import msgspec
from msgspec.structs import replace

from ..errors import BadRequest
from .json import Json, JsonObject
from .meta import ObjectMeta
from .role import Rule
from .selectors import NOTHING, Selector, from_label_selector
from .stored import Body, StoredObject
from .view import View


class ClusterRole(msgspec.Struct, frozen=True):
    """A ClusterRole as it was seen.

    Args:
        selectors: whose rules it has; () for one whose rules are its own.
    """

    meta: ObjectMeta
    rules: tuple[Rule, ...]
    selectors: tuple[Selector, ...]
    stored: StoredObject

    @property
    def name(self) -> str:
        """Its name."""
        return self.meta.name

    def chooses(self, other: "ClusterRole") -> bool:
        """Tell whether another one's rules are to be among its own."""
        labels = other.meta.labels
        return other.name != self.name and any(each.matches(labels) for each in self.selectors)


class _Aggregation(View, frozen=True):
    cluster_role_selectors: tuple[msgspec.Raw, ...] = ()


class _Body(View, frozen=True):
    rules: tuple[Rule, ...] = ()
    aggregation_rule: _Aggregation = _Aggregation()


_body = msgspec.json.Decoder(_Body)


def cluster_role_view(stored: StoredObject) -> ClusterRole:
    """Return the typed view of a stored ClusterRole."""
    body = _body.decode(stored.body.json)
    selectors = tuple(map(_selector, body.aggregation_rule.cluster_role_selectors))
    return ClusterRole(stored.meta, body.rules, selectors, stored)


def _selector(raw: msgspec.Raw) -> Selector:
    """Return a selector; an empty one finds all, one that was stored malformed nothing."""
    decoded: Json = msgspec.json.decode(raw)
    try:
        return from_label_selector(decoded)
    except BadRequest:
        return NOTHING


def with_rules(role: ClusterRole, rules: tuple[Rule, ...]) -> StoredObject:
    """Return a stored ClusterRole with other rules."""
    body: JsonObject = msgspec.json.decode(role.stored.body.json)
    body["rules"] = msgspec.to_builtins(rules)
    return replace(role.stored, body=Body(msgspec.json.encode(body, order="deterministic")))
