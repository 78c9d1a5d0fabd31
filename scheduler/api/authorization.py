"""What a request wants, in terms of rights, and whether whoever asks may have it.

Source: Kubernetes' RequestInfo and its authorizers RBAC and system:masters.
"""

from dataclasses import dataclass

from ..access.identity import MASTERS, User
from ..access.policy import Policy
from ..access.rbac import Attributes, Decision, decide
from ..errors import BadRequest, Forbidden
from ..objects.field_selectors import parse_field_selector
from .request import Query
from .routes import Place

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_STREAMS = frozenset({"attach", "exec", "portforward"})
_UNLIMITED = Decision(True, f"whoever is in group {MASTERS} may do everything")


@dataclass(frozen=True, slots=True)
class Authorizer:
    """Decides by the roles there are."""

    policy: Policy

    async def decide(self, user: User, wanted: Attributes) -> Decision:
        """Return whether a user may do what is wanted."""
        if user.unlimited:
            return _UNLIMITED
        await self.policy.synced()
        return decide(self.policy, user, wanted)

    async def check(self, user: User, wanted: Attributes) -> None:
        """Let what is allowed pass.

        Raises:
            Forbidden: it is not.
        """
        decision = await self.decide(user, wanted)
        if not decision.allowed:
            raise refusal(user, wanted, decision.reason)


def of_path(method: str, parts: list[str]) -> Attributes:
    """Return what a request wants that is for no resource.

    Args:
        parts: the path's segments, decoded, without empty ends.
    """
    return Attributes(method.lower(), path=f"/{'/'.join(parts)}")


def of_resource(method: str, place: Place, query: Query) -> tuple[Attributes, ...]:
    """Return all that a request to a resource wants.

    A stream that is opened by GET lets one act: it takes `create` besides, as from Kubernetes 1.35.
    """
    kind, name, verb = place.kind, place.name, _VERBS.get(method, "")
    if verb == "get" and not place.subresource and query.flag("watch"):
        verb = "watch"
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
        if verb in {"list", "watch"}:
            name = _selected_name(query)
    namespace = place.namespace
    if kind.resource == "namespaces":
        namespace = place.name
    wanted = Attributes(verb, namespace, kind.group, kind.plural, place.subresource, name)
    if place.subresource in _STREAMS and verb == "get":
        return wanted, wanted._replace(verb="create")
    return (wanted,)


def _selected_name(query: Query) -> str:
    """Return the one name that a field selector allows: rights to named objects then suffice."""
    try:
        terms = parse_field_selector(query.text("fieldSelector"))
    except BadRequest:  # said where the selector is used
        return ""
    named = [t.value for t in terms if t.field == "metadata.name" and not t.negated]
    return named[0] if named else ""


def refusal(user: User, wanted: Attributes, reason: str = "") -> Forbidden:
    """Return the error for what a user may not do, in kube-apiserver's words."""
    shown = f'User "{user.name}" cannot {wanted.verb}'
    because = f": {reason}" if reason else ""
    if wanted.path:
        return Forbidden(f'forbidden: {shown} path "{wanted.path}"{because}')
    whole = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    named = f' "{wanted.name}"' if wanted.name else ""
    sub = f"/{wanted.subresource}" if wanted.subresource else ""
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    return Forbidden(
        f'{whole}{named} is forbidden: {shown} resource "{wanted.resource}{sub}" in API group '
        f'"{wanted.group}" {where}{because}',
        kind=wanted.resource,
        group=wanted.group,
        name=wanted.name,
    )
