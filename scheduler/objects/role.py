"""Typed views of Roles, ClusterRoles and their bindings (rbac.authorization.k8s.io/v1).

A ClusterRole is a Role, and a ClusterRoleBinding a RoleBinding, without a namespace.
"""

from collections.abc import Mapping

import msgspec

from .meta import ObjectMeta
from .stored import StoredObject
from .view import View

GROUP = "rbac.authorization.k8s.io"
ROLE, CLUSTER_ROLE = "Role", "ClusterRole"
USER, USER_GROUP, ACCOUNT = "User", "Group", "ServiceAccount"
ROLES, CLUSTER_ROLES = f"roles.{GROUP}", f"clusterroles.{GROUP}"
ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"


class Rule(View, frozen=True):
    """rbac/v1 PolicyRule: on resources, or on URLs that are no resource's."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(name="nonResourceURLs", default=())


class Subject(View, frozen=True):
    """rbac/v1 Subject: whom a binding gives rights to."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class RoleRef(View, frozen=True):
    """rbac/v1 RoleRef: whose rights a binding gives."""

    kind: str = ""
    name: str = ""


class Role(msgspec.Struct, frozen=True):
    """A Role or ClusterRole."""

    meta: ObjectMeta
    rules: tuple[Rule, ...]


class RoleBinding(msgspec.Struct, frozen=True):
    """A RoleBinding or ClusterRoleBinding."""

    meta: ObjectMeta
    subjects: tuple[Subject, ...]
    role: RoleRef


class _RoleBody(View, frozen=True):
    rules: tuple[Rule, ...] = ()


class _BindingBody(View, frozen=True):
    subjects: tuple[Subject, ...] = ()
    role_ref: RoleRef = RoleRef()


_role = msgspec.json.Decoder(_RoleBody)
_binding = msgspec.json.Decoder(_BindingBody)


def role_view(stored: StoredObject) -> Role:
    """Return the typed view of a stored Role or ClusterRole."""
    return Role(stored.meta, _role.decode(stored.body.json).rules)


def binding_view(stored: StoredObject) -> RoleBinding:
    """Return the typed view of a stored RoleBinding or ClusterRoleBinding."""
    body = _binding.decode(stored.body.json)
    return RoleBinding(stored.meta, body.subjects, body.role_ref)


def rules_of(obj: Mapping[str, object]) -> tuple[Rule, ...]:
    """Return the rules of a Role or ClusterRole that is not stored yet."""
    return msgspec.convert(obj, _RoleBody).rules


def role_ref_of(obj: Mapping[str, object]) -> RoleRef:
    """Return which role a binding that is not stored yet refers to."""
    return msgspec.convert(obj, _BindingBody).role_ref
