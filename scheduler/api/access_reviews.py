"""Who the client is and what it may do: the one who holds the service's token, and everything.

kubectl (`auth can-i`, `auth whoami`) and k9s ask. Source: Kubernetes authorization.k8s.io/v1 and
authentication.k8s.io/v1.
"""

from collections.abc import Mapping

from ..objects.json import JsonObject
from ..objects.kinds import self_subject_reviews
from .backend import Answer

_WHY = "rights are not enforced: whoever holds the service's token may do everything"
_USER = "token-holder"
_GROUPS = ("system:masters", "system:authenticated")


async def _access(_namespace: str, _spec: JsonObject) -> JsonObject:
    return {"allowed": True, "reason": _WHY}


async def _rules(_namespace: str, _spec: JsonObject) -> JsonObject:
    return {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }


async def _identity(_namespace: str, _spec: JsonObject) -> JsonObject:
    return {"userInfo": {"username": _USER, "groups": [*_GROUPS]}}


ANSWERS: Mapping[str, Answer] = {
    self_subject_reviews.ACCESS.resource: _access,
    self_subject_reviews.RULES.resource: _rules,
    self_subject_reviews.IDENTITY.resource: _identity,
}
