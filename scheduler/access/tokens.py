"""Tokens of ServiceAccounts: JSON Web Tokens that this cluster signs and reads itself.

Source: RFC 7519; Kubernetes' claims of bound service account tokens (KEP-1205). They are signed
with a key that only processes of this cluster have (HS256): others ask by a TokenReview.
"""

# PyJWT's types name those of a library that it can do without.
# pyright: reportUnknownMemberType=false

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import jwt
import msgspec

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = ISSUER
"""Whom tokens are for that name nobody else: the API itself."""

_ALGORITHM = "HS256"
CLOCK_SLACK = 10
"""Seconds by which clocks of those who sign and those who read may differ."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The ServiceAccount a token speaks for, and the pod it was made for.

    Args:
        pod, pod_uid: "" when it is bound to no pod; else it ends with that pod.
    """

    namespace: str
    account: str
    account_uid: str
    pod: str = ""
    pod_uid: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a token says.

    Args:
        token_id: tells it from others of the same holder.
        expires: in seconds since 1970.
        audiences: whom it is for, of those who were asked about.
    """

    holder: Holder
    token_id: str
    expires: int
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token and when it expires, in seconds since 1970."""

    text: str = field(repr=False)
    expires: int


class _Named(msgspec.Struct, frozen=True):
    name: str
    uid: str


class _Bound(msgspec.Struct, frozen=True):
    namespace: str
    serviceaccount: _Named
    pod: _Named | None = None


class _Claims(msgspec.Struct, frozen=True):
    bound: _Bound = msgspec.field(name="kubernetes.io")
    exp: int
    aud: list[str] | str
    jti: str = ""


class Tokens:
    """Signs and reads.

    Args:
        key: of the cluster, 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(
        self,
        holder: Holder,
        seconds: int,
        audiences: Sequence[str] = (AUDIENCE,),
        since: int | None = None,
    ) -> IssuedToken:
        """Return a token that holds for so long.

        Args:
            since: from then on, in seconds since 1970, and made again it is the same token; None
                for now, and a token like no other.
        """
        now = int(time.time()) if since is None else since
        expires = now + seconds
        bound = {
            "namespace": holder.namespace,
            "serviceaccount": {"name": holder.account, "uid": holder.account_uid},
        }
        if holder.pod:
            bound["pod"] = {"name": holder.pod, "uid": holder.pod_uid}
        claims = {
            "iss": ISSUER,
            "aud": list(audiences),
            "sub": f"system:serviceaccount:{holder.namespace}:{holder.account}",
            "iat": now,
            "nbf": now,
            "exp": expires,
            "jti": str(uuid4() if since is None else _identifier(holder, audiences, now, expires)),
            "kubernetes.io": bound,
        }
        return IssuedToken(jwt.encode(claims, self._key, _ALGORITHM), expires)

    def read(self, text: str, audiences: Sequence[str] = (AUDIENCE,)) -> Holder | None:
        """Return whom a token speaks for; None if it is not ours, too old, or for others.

        Whether the account and the pod are still there is not looked at.
        """
        found = self.examine(text, audiences)
        return None if found is None else found.holder

    def examine(self, text: str, audiences: Sequence[str] = (AUDIENCE,)) -> Reading | None:
        """Return the same with what else it says."""
        try:
            claims = jwt.decode(
                text,
                self._key,
                algorithms=[_ALGORITHM],
                audience=list(audiences),
                issuer=ISSUER,
                leeway=CLOCK_SLACK,
                options={"require": ["exp", "iat", "aud", "iss"]},
            )
            said = msgspec.convert(claims, _Claims)
        except (jwt.InvalidTokenError, msgspec.ValidationError, RecursionError):
            return None
        bound, meant = said.bound, [said.aud] if isinstance(said.aud, str) else said.aud
        pod = bound.pod or _Named("", "")
        account = bound.serviceaccount
        holder = Holder(bound.namespace, account.name, account.uid, pod.name, pod.uid)
        return Reading(holder, said.jti, said.exp, tuple(a for a in audiences if a in meant))


def _identifier(holder: Holder, audiences: Sequence[str], since: int, expires: int) -> UUID:
    return uuid5(NAMESPACE_URL, f"{ISSUER}/{holder}/{[*audiences]}/{since}-{expires}")


def looks_like_one(text: str) -> bool:
    """Tell whether a bearer token may be one of a ServiceAccount, by its form alone."""
    return text.startswith("ey") and text.count(".") == 2
