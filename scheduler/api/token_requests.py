"""POST serviceaccounts/{name}/token: a token of a ServiceAccount (authentication.k8s.io/v1)."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ..access.tokens import AUDIENCE, Holder, Tokens
from ..errors import BadRequest, Cause, Conflict, NotFound, Unavailable
from ..objects import checking
from ..objects.json import Json, JsonObject
from ..objects.kinds.fields import child, number, text, texts
from ..objects.pod import pod_view
from ..objects.stored import ObjectKey
from . import status_errors
from .backend import Backend
from .request import Call
from .updating import Updater

_MESSAGE = "authentication.v1.TokenRequest"
_HOUR = 3600
_SHORTEST, _LONGEST = 600, 86_400 * 365


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Issues tokens to whoever may have them."""

    backend: Backend

    async def issue(self, call: Call, given: JsonObject) -> JsonObject:
        """Return a TokenRequest with its token.

        Raises:
            BadRequest, Invalid: it cannot be granted so.
            NotFound, Conflict: the account or the pod is not there, or is another one.
        """
        tokens = self._tokens()
        spec = _checked(call, given)
        account = await Updater(self.backend).current(call)
        audiences = texts(spec, "audiences") or [AUDIENCE]
        seconds = number(spec, "expirationSeconds", _HOUR)
        pod, pod_uid = await self._pod(call, child(spec, "boundObjectRef"))
        holder = Holder(call.namespace, call.name, account.meta.uid, pod, pod_uid)
        issued = tokens.issue(holder, seconds, audiences)
        expires = datetime.fromtimestamp(issued.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        listed: list[Json] = [*audiences]
        metadata: JsonObject = {"name": call.name, "namespace": call.namespace}
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "spec": {**spec, "audiences": listed, "expirationSeconds": seconds},
            "status": {"token": issued.text, "expirationTimestamp": expires},
        }

    def _tokens(self) -> Tokens:
        if self.backend.tokens is None:
            raise Unavailable("no tokens are issued here: the service runs without its keys")
        return self.backend.tokens

    async def _pod(self, call: Call, bound: JsonObject) -> tuple[str, str]:
        """Return name and uid of the pod that a token is to end with, "" twice for none.

        Raises:
            BadRequest: it is to end with something else, or the pod is another account's.
            NotFound, Conflict: there is no such pod, or its uid is another one.
        """
        if not bound:
            return "", ""
        name, kind = text(bound, "name"), text(bound, "kind")
        if (text(bound, "apiVersion"), kind) != ("v1", "Pod"):
            raise BadRequest(
                f"cannot bind token to object of type {kind or '(none)'}: only to a Pod of v1"
            )
        found = await self.backend.store.get(ObjectKey("pods", call.namespace, name))
        if found is None:
            raise NotFound(f'pods "{name}" not found', kind="pods", name=name)
        if (pod_view(found).spec.service_account_name or "default") != call.name:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{call.name}" to pod "{name}" running with '
                "a different serviceaccount name"
            )
        uid = text(bound, "uid")
        if uid and uid != found.meta.uid:
            raise Conflict(
                f"the UID in the bound object reference ({uid}) does not match the UID in record "
                f"({found.meta.uid}): the pod was deleted and made anew",
                kind="pods",
                name=name,
            )
        return name, found.meta.uid


def _checked(call: Call, given: JsonObject) -> JsonObject:
    """Return the spec of a TokenRequest."""
    if text(given, "kind") not in {"", "TokenRequest"}:
        raise BadRequest(f"{text(given, 'kind')} cannot be handled as a TokenRequest")
    wrong = [p for p in checking.check(_MESSAGE, given) if not p.unknown]
    if wrong:
        raise BadRequest(
            f'TokenRequest in version "v1" cannot be handled as a TokenRequest: {wrong[0].message}'
        )
    metadata, spec = child(given, "metadata"), child(given, "spec")
    if text(metadata, "name") not in {"", call.name}:
        raise BadRequest(
            f"the name of the object ({text(metadata, 'name')}) does not match the name on the URL "
            f"({call.name})"
        )
    if text(metadata, "namespace") not in {"", call.namespace}:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    seconds = number(spec, "expirationSeconds", _HOUR)
    if not _SHORTEST <= seconds <= _LONGEST:
        less = "less than 10 minutes" if seconds < _SHORTEST else "longer than 365 days"
        why = f"Invalid value: {seconds}: may not specify a duration {less}"
        raise status_errors.invalid(call.kind, call.name, (Cause("spec.expirationSeconds", why),))
    return spec
