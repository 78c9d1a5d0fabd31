"""Reviews: who a client or a token is, and what a client or somebody else may do.

kubectl asks (`auth can-i`, `auth whoami`), and servers in pods do that let others in. Source:
Kubernetes authorization.k8s.io/v1 and authentication.k8s.io/v1.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from ..access.accounts import Refusal
from ..access.identity import User
from ..access.rbac import ALL, Attributes, Decision, rules_for
from ..access.tokens import AUDIENCE
from ..errors import BadRequest, Cause
from ..objects.json import Json, JsonObject
from ..objects.kinds import reviews as kinds
from ..objects.kinds.fields import child, text, texts
from ..objects.role import Rule
from . import status_errors
from .authentication import Authenticator
from .authorization import Authorizer
from .backend import Answer
from .request import Call

_EVERYTHING = (Rule((ALL,), (ALL,), (ALL,)), Rule((ALL,), non_resource_urls=(ALL,)))

Review = Callable[[Call, str, JsonObject], Awaitable[JsonObject]]
"""(call, namespace, spec) → status."""


@dataclass(frozen=True, slots=True)
class AccessReviews:
    """Answers reviews."""

    authorizer: Authorizer
    authenticator: Authenticator

    def of(self, call: Call) -> Answer | None:
        """Return what answers a call, None if it is for no review of these."""
        review = self._reviews().get(call.kind.resource)
        if review is None:
            return None

        async def answer(namespace: str, spec: JsonObject) -> JsonObject:
            return await review(call, namespace, spec)

        return answer

    def _reviews(self) -> Mapping[str, Review]:
        return {
            kinds.IDENTITY.resource: self._identity,
            kinds.OWN_ACCESS.resource: self._own_access,
            kinds.OWN_RULES.resource: self._own_rules,
            kinds.ACCESS.resource: self._access,
            kinds.LOCAL_ACCESS.resource: self._local_access,
            kinds.TOKEN.resource: self._token,
        }

    async def _identity(self, call: Call, _namespace: str, _spec: JsonObject) -> JsonObject:
        return {"userInfo": _user_info(call.user)}

    async def _own_access(self, call: Call, _namespace: str, spec: JsonObject) -> JsonObject:
        wanted = _attributes(call, spec)
        return _status(await self.authorizer.decide(call.user, wanted))

    async def _own_rules(self, call: Call, _namespace: str, spec: JsonObject) -> JsonObject:
        namespace = text(spec, "namespace")
        if not namespace:
            raise BadRequest("no namespace on request: spec.namespace says where rights are listed")
        rules: Sequence[Rule] = _EVERYTHING
        if not call.user.unlimited:
            await self.authorizer.policy.synced()
            rules = rules_for(self.authorizer.policy, call.user, namespace)
        return {
            "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
            "nonResourceRules": [
                {"verbs": [*rule.verbs], "nonResourceURLs": [*rule.non_resource_urls]}
                for rule in rules
                if rule.non_resource_urls
            ],
            "incomplete": False,
        }

    async def _access(self, call: Call, _namespace: str, spec: JsonObject) -> JsonObject:
        user = _subject(call, spec)
        return _status(await self.authorizer.decide(user, _attributes(call, spec)))

    async def _local_access(self, call: Call, namespace: str, spec: JsonObject) -> JsonObject:
        where = child(spec, "resourceAttributes")
        if "nonResourceAttributes" in spec:
            raise _invalid(call, "nonResourceAttributes", "disallowed on this kind of request")
        if text(where, "namespace") != namespace:
            why = f"must be the namespace of the request, {namespace}"
            raise _invalid(call, "resourceAttributes.namespace", why)
        return await self._access(call, namespace, spec)

    async def _token(self, _call: Call, _namespace: str, spec: JsonObject) -> JsonObject:
        token = text(spec, "token")
        if not token:
            raise BadRequest("token is required for TokenReview in authentication")
        found = await self.authenticator.review(token, texts(spec, "audiences") or [AUDIENCE])
        if isinstance(found, Refusal):
            return {"authenticated": False, "user": {}, "error": found.why}
        user, audiences = found
        return {"authenticated": True, "user": _user_info(user), "audiences": [*audiences]}


def _status(decision: Decision) -> JsonObject:
    found: JsonObject = {"allowed": decision.allowed}
    if decision.reason:
        found["reason"] = decision.reason
    return found


def _attributes(call: Call, spec: JsonObject) -> Attributes:
    """Return what a review asks about.

    Raises:
        Invalid: it asks about nothing, or about two things.
    """
    if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _invalid(call, "resourceAttributes", why)
    path = child(spec, "nonResourceAttributes")
    if path or "nonResourceAttributes" in spec:
        return Attributes(text(path, "verb"), path=text(path, "path") or "/")
    asked = child(spec, "resourceAttributes")
    names = ("verb", "namespace", "group", "resource", "subresource", "name")
    return Attributes(*(text(asked, each) for each in names))


def _subject(call: Call, spec: JsonObject) -> User:
    """Return whom a review asks about.

    Raises:
        Invalid: nobody is named.
    """
    name, groups = text(spec, "user"), tuple(texts(spec, "groups"))
    if not name and not groups:
        raise _invalid(call, "user", "at least one of user or group must be specified")
    return User(name, text(spec, "uid"), groups)


def _invalid(call: Call, field: str, why: str) -> status_errors.Invalid:
    causes = (Cause(f"spec.{field}", f"Invalid value: {why}"),)
    return status_errors.invalid(call.kind, "", causes)


def _user_info(user: User) -> JsonObject:
    """Return a user as authentication/v1 UserInfo."""
    found: JsonObject = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = [*user.groups]
    if user.extra:
        extra: JsonObject = {}
        for key, values in user.extra.items():
            listed: list[Json] = [*values]
            extra[key] = listed
        found["extra"] = extra
    return found


def _resource_rule(rule: Rule) -> JsonObject:
    """Return a rule as authorization/v1 ResourceRule."""
    found: JsonObject = {
        "verbs": [*rule.verbs],
        "apiGroups": [*rule.api_groups],
        "resources": [*rule.resources],
    }
    if rule.resource_names:
        found["resourceNames"] = [*rule.resource_names]
    return found
