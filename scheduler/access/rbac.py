"""What roles allow: pure decisions over rules, bindings and who asks.

Rights are only ever added: nothing is allowed unless a rule of a role says so that is bound to the
user or to one of its groups. Source: Kubernetes' RBAC (rbac.authorization.k8s.io/v1).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, Protocol

from ..objects.role import (
    ACCOUNT,
    CLUSTER_ROLE,
    ROLE,
    USER,
    USER_GROUP,
    Role,
    RoleBinding,
    Rule,
    Subject,
)
from .identity import User, account_name

ALL = "*"
_MOST_PIECES = 10_000  # that one rule is taken apart into
MOST_SHOWN = 20
"""Of what is not held."""


class Attributes(NamedTuple):
    """What somebody wants to do, as far as rights are concerned.

    Args:
        verb: as Kubernetes names it; of a path, the HTTP method in lower case.
        namespace: "" for cluster scope and for all namespaces.
        group: of the API, "" for core.
        resource: plural.
        name: "" for a collection, and for what has no name yet.
        path: of a request that is for no resource; "" where it is for one.
    """

    verb: str
    namespace: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed.

    Args:
        reason: by what; or which roles could not be asked, "" for none.
    """

    allowed: bool
    reason: str = ""


class Grants(Protocol):
    """The roles and bindings there are."""

    def bindings(self, namespace: str, subject: str) -> Iterable[RoleBinding]:
        """Return a namespace's bindings ("": of the cluster) for a subject by its key."""
        ...

    def role(self, namespace: str, name: str) -> Role | None:
        """Return a Role, or with namespace "" a ClusterRole."""
        ...


def allows(rule: Rule, wanted: Attributes) -> bool:
    """Return whether a rule alone allows what is wanted."""
    if wanted.verb not in rule.verbs and ALL not in rule.verbs:
        return False
    if wanted.path:
        return any(_covers_path(url, wanted.path) for url in rule.non_resource_urls)
    if wanted.group not in rule.api_groups and ALL not in rule.api_groups:
        return False
    if rule.resource_names and wanted.name not in rule.resource_names:
        return False
    return _has_resource(rule.resources, wanted.resource, wanted.subresource)


def _has_resource(resources: Sequence[str], resource: str, subresource: str) -> bool:
    """Return whether resources ("pods", "pods/log", "*/scale", "*") have one among them."""
    if ALL in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def _covers_path(url: str, path: str) -> bool:
    """Return whether a rule's URL, which may end with "*", means a path."""
    return url == path or (url.endswith(ALL) and path.startswith(url.rstrip(ALL)))


def subject_key(subject: Subject, namespace: str) -> str:
    """Return what a binding's subject is found by, "" if it can be nobody.

    Args:
        namespace: of the binding, where a ServiceAccount without one of its own is looked for.
    """
    home = subject.namespace or namespace
    if not subject.name:
        return ""
    if subject.kind == USER:
        return user_key(subject.name)
    if subject.kind == USER_GROUP:
        return group_key(subject.name)
    if subject.kind == ACCOUNT and home:
        return user_key(account_name(home, subject.name))
    return ""


def user_key(name: str) -> str:
    """Return what bindings for a user are found by."""
    return f"user {name}"


def group_key(name: str) -> str:
    """Return what bindings for a group are found by."""
    return f"group {name}"


class Grant(NamedTuple):
    """A binding that bears on somebody, and its role; None if there is no such role."""

    binding: RoleBinding
    role: Role | None


def grants_of(grants: Grants, user: User, namespace: str) -> Iterator[Grant]:
    """Yield the grants of the cluster to a user, then those of a namespace, if that is not ""."""
    keys = (user_key(user.name), *map(group_key, user.groups))
    for scope in ("", namespace) if namespace else ("",):
        for key in keys:
            for binding in grants.bindings(scope, key):
                yield Grant(binding, _role_of(grants, binding))


def _role_of(grants: Grants, binding: RoleBinding) -> Role | None:
    if binding.role.kind == CLUSTER_ROLE:
        return grants.role("", binding.role.name)
    namespace = binding.meta.namespace
    if binding.role.kind == ROLE and namespace:
        return grants.role(namespace, binding.role.name)
    return None


def rules_for(grants: Grants, user: User, namespace: str) -> list[Rule]:
    """Return every rule that holds for a user in a namespace ("": in the whole cluster)."""
    found = grants_of(grants, user, namespace)
    return [rule for grant in found if grant.role is not None for rule in grant.role.rules]


def decide(grants: Grants, user: User, wanted: Attributes) -> Decision:
    """Return whether a user may do what is wanted."""
    missing: list[str] = []
    for binding, role in grants_of(grants, user, wanted.namespace):
        if role is None:
            kind = binding.role.kind.lower()
            missing.append(f'{kind}.rbac.authorization.k8s.io "{binding.role.name}" not found')
            continue
        for rule in role.rules:
            if allows(rule, wanted):
                return Decision(True, f"RBAC: allowed by {_described(binding, user)}")
    return Decision(False, f"RBAC: {_listed(missing)}" if missing else "")


def _listed(texts: Sequence[str]) -> str:
    distinct = [*dict.fromkeys(texts)]
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"


def _described(binding: RoleBinding, user: User) -> str:
    """Return which binding to whom it was, for a reason."""
    meta, role = binding.meta, f'{binding.role.kind} "{binding.role.name}"'
    keys = {user_key(user.name), *map(group_key, user.groups)}
    subject = next(s for s in binding.subjects if subject_key(s, meta.namespace) in keys)
    whom = f'{subject.kind} "{subject.name}"'
    if subject.kind == ACCOUNT:
        whom = f'{ACCOUNT} "{subject.name}/{subject.namespace or meta.namespace}"'
    if meta.namespace:
        return f'RoleBinding "{meta.name}/{meta.namespace}" of {role} to {whom}'
    return f'ClusterRoleBinding "{meta.name}" of {role} to {whom}'


def uncovered(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Return what of some rules is not held, in pieces; [] if all is. For who hands out rights.

    A rule that would fall into too many pieces counts as one, and no more than MOST_SHOWN are told.
    """
    found: list[Rule] = []
    for rule in wanted:
        if any(_covers(own, rule) for own in held):
            continue
        for piece in _pieces(rule):
            if not any(_covers(own, piece) for own in held):
                found.append(piece)
                if len(found) == MOST_SHOWN:
                    return found
    return found


def _pieces(rule: Rule) -> Iterator[Rule]:
    """Yield rules of one verb on one thing each, which together allow what a rule does."""
    names = [(name,) for name in rule.resource_names] or [()]
    parts = len(rule.api_groups) * len(rule.resources) * len(names) + len(rule.non_resource_urls)
    if len(rule.verbs) * parts > _MOST_PIECES:
        yield rule
        return
    for group, resource, named in product(rule.api_groups, rule.resources, names):
        for verb in rule.verbs:
            yield Rule((verb,), (group,), (resource,), named)
    for url, verb in product(rule.non_resource_urls, rule.verbs):
        yield Rule((verb,), non_resource_urls=(url,))


def _covers(own: Rule, other: Rule) -> bool:
    """Return whether a rule alone allows everything that another one does."""
    if not _has_all(own.verbs, other.verbs):
        return False
    if other.non_resource_urls and not all(
        any(_covers_path(url, path) for url in own.non_resource_urls)
        for path in other.non_resource_urls
    ):
        return False
    if not other.resources:
        return bool(other.non_resource_urls)
    if own.resource_names and not (
        other.resource_names and _has_all(own.resource_names, other.resource_names)
    ):
        return False
    return _has_all(own.api_groups, other.api_groups) and all(
        _has_resource(own.resources, *_split(each)) for each in other.resources
    )


def _has_all(own: Sequence[str], others: Iterable[str]) -> bool:
    return ALL in own or all(each in own for each in others)


def _split(resource: str) -> tuple[str, str]:
    plural, _, subresource = resource.partition("/")
    return plural, subresource
