"""Nobody hands out rights that he does not have: what is asked of new and changed roles.

A role may only say what its writer may do himself, unless he may `escalate` it; a binding may only
refer to a role whose rights its writer has, unless he may `bind` it. Source: Kubernetes' RBAC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from ..access.identity import User
from ..access.rbac import ALL, Attributes, rules_for, uncovered
from ..errors import Forbidden, NotFound
from ..objects.json import JsonObject
from ..objects.kind import Kind
from ..objects.meta import ObjectMeta
from ..objects.role import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    GROUP,
    ROLE_BINDINGS,
    ROLES,
    Rule,
    role_ref_of,
    rules_of,
)
from ..objects.stored import StoredObject
from ..store.operations import Replace
from .authorization import Authorizer

GUARDED = frozenset({ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS})
"""Kinds that give rights."""

_EVERYTHING = (Rule((ALL,), (ALL,), (ALL,)), Rule((ALL,), non_resource_urls=(ALL,)))
_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)


@dataclass(frozen=True, slots=True)
class Escalation:
    """Refuses roles and bindings that would give more than their writer has."""

    authorizer: Authorizer

    async def judge(self, user: User, kind: Kind, meta: ObjectMeta, obj: JsonObject) -> None:
        """Let a new role or binding pass if its writer may make it; other kinds always.

        Raises:
            Forbidden: it would give rights that the user has not.
            NotFound: the role that is referred to is not there.
        """
        if kind.resource in GUARDED and not user.unlimited:
            name = meta.name or meta.generate_name
            await self._judge(_Wish(user, kind, meta.namespace, name), obj, new=True)

    async def judge_change(
        self, user: User, kind: Kind, current: StoredObject, change: Replace
    ) -> None:
        """Do the same for a change; what only helps to collect the object always passes.

        Raises:
            Forbidden, NotFound: as `judge`.
        """
        if kind.resource not in GUARDED or user.unlimited or _only_collects(current, change):
            return
        wish = _Wish(user, kind, current.meta.namespace, current.meta.name)
        before, after = _object.decode(current.body.json), _object.decode(change.body.json)
        if before.get("aggregationRule") is not None:
            after = {"aggregationRule": before["aggregationRule"], **after}
        await self._judge(wish, after, new=False)

    async def _judge(self, wish: "_Wish", obj: JsonObject, *, new: bool) -> None:
        await self.authorizer.policy.synced()
        if wish.kind.resource in {ROLES, CLUSTER_ROLES}:
            await self._judge_role(wish, obj, "" if new else wish.name)
        else:
            await self._judge_binding(wish, obj)

    async def _judge_role(self, wish: "_Wish", obj: JsonObject, named: str) -> None:
        plural = wish.kind.plural
        if await self._may(wish, Attributes("escalate", wish.namespace, GROUP, plural, "", named)):
            return
        if obj.get("aggregationRule") is not None and self._lacks(wish, _EVERYTHING):
            raise wish.refusal("must have cluster-admin privileges to use an aggregationRule")
        self._refuse(wish, rules_of(obj))

    async def _judge_binding(self, wish: "_Wish", obj: JsonObject) -> None:
        ref = role_ref_of(obj)
        plural, home = "roles", wish.namespace
        if ref.kind == CLUSTER_ROLE:
            plural, home = "clusterroles", ""
        if await self._may(wish, Attributes("bind", wish.namespace, GROUP, plural, "", ref.name)):
            return
        role = self.authorizer.policy.role(home, ref.name)
        if role is None:
            raise NotFound(
                f'{plural}.{GROUP} "{ref.name}" not found', kind=plural, group=GROUP, name=ref.name
            )
        self._refuse(wish, role.rules)

    async def _may(self, wish: "_Wish", attributes: Attributes) -> bool:
        return (await self.authorizer.decide(wish.user, attributes)).allowed

    def _lacks(self, wish: "_Wish", rules: Iterable[Rule]) -> list[Rule]:
        held = rules_for(self.authorizer.policy, wish.user, wish.namespace)
        return uncovered(held, rules)

    def _refuse(self, wish: "_Wish", rules: Iterable[Rule]) -> None:
        missing = self._lacks(wish, rules)
        if missing:
            groups = _quoted(wish.user.groups)
            raise wish.refusal(
                f'user "{wish.user.name}" (groups={groups}) is attempting to grant RBAC '
                f"permissions not currently held:\n{_shown(missing)}"
            )


@dataclass(frozen=True, slots=True)
class _Wish:
    """Who wants to write which role or binding."""

    user: User
    kind: Kind
    namespace: str
    name: str

    def refusal(self, why: str) -> Forbidden:
        return Forbidden(
            f'{self.kind.resource} "{self.name}" is forbidden: {why}',
            kind=self.kind.plural,
            group=GROUP,
            name=self.name,
        )


def _only_collects(current: StoredObject, change: Replace) -> bool:
    """Return whether a change is about owners and finalizers alone."""
    meta = change.meta
    kept = replace(
        current.meta,
        owner_references=meta.owner_references,
        finalizers=meta.finalizers,
        managed_fields=meta.managed_fields,
    )
    return change.body == current.body and kept == meta


def _shown(rules: Sequence[Rule]) -> str:
    """Return rules as kube-apiserver writes them, a line each, with all verbs on the same."""
    verbs: dict[Rule, list[str]] = {}
    for rule in rules:
        verbs.setdefault(replace(rule, verbs=()), []).extend(rule.verbs)
    lines: list[str] = []
    for rule, found in verbs.items():
        fields = (
            ("APIGroups", rule.api_groups),
            ("Resources", rule.resources),
            ("NonResourceURLs", rule.non_resource_urls),
            ("ResourceNames", rule.resource_names),
            ("Verbs", found),
        )
        parts = [f"{name}:{_quoted(values)}" for name, values in fields if values]
        lines.append(f"{{{', '.join(parts)}}}")
    return "\n".join(sorted(lines))


def _quoted(texts: Sequence[str]) -> str:
    return f"[{' '.join(msgspec.json.encode(each).decode() for each in texts)}]"
