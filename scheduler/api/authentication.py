"""Who asks: what a request shows against what the cluster knows.

There are two doors. At MAIN, where operators come in, the service's own token makes an
administrator, and without one set (loopback only) so does its absence. At PODS, where requests of
pods come in, who shows nothing is anonymous. Tokens of ServiceAccounts are good at both.
"""

import hmac
from collections.abc import Mapping, Sequence
from enum import Enum

from aiohttp.hdrs import AUTHORIZATION

from ..access.accounts import Accounts, Refusal
from ..access.identity import ANONYMOUS, AUTHENTICATED, MASTERS, User, account_user
from ..access.tokens import AUDIENCE, looks_like_one
from .status_errors import Unauthorized

TOKEN_HOLDER = User("token-holder", groups=(MASTERS, AUTHENTICATED))
"""Whoever has the service's own token."""

Headers = Mapping[str, str]


class Door(Enum):
    """Where a request came in."""

    MAIN = "main"
    PODS = "pods"


class Authenticator:
    """Says who asks.

    Args:
        token: the service's own, "" for none.
    """

    def __init__(self, token: str, accounts: Accounts) -> None:
        self._token = token.encode()
        self._accounts = accounts

    def at_once(self, headers: Headers, door: Door) -> User | None:
        """Return who asks, None where a ServiceAccount's token must be looked up first.

        Raises:
            Unauthorized: what is shown is wrong, or nothing is and something must be.
        """
        given = headers.get(AUTHORIZATION)
        if given is None:
            if door is Door.PODS:
                return ANONYMOUS
            if not self._token:
                return TOKEN_HOLDER
            raise Unauthorized("Unauthorized")
        token = _bearer(given)
        if self._is_own(token):
            return TOKEN_HOLDER
        if looks_like_one(token):
            return self._accounts.known(token)
        if door is Door.MAIN and not self._token:
            return TOKEN_HOLDER
        raise Unauthorized("Unauthorized")

    async def by_token(self, headers: Headers) -> User:
        """Return the ServiceAccount whose token is shown.

        Raises:
            Unauthorized: it is not good.
        """
        user = await self._accounts.user(_bearer(headers.get(AUTHORIZATION, "")))
        if user is None:
            raise Unauthorized("Unauthorized")
        return user

    async def review(
        self, token: str, audiences: Sequence[str]
    ) -> tuple[User, Sequence[str]] | Refusal:
        """Return whom a token stands for, and those of the audiences that it is for."""
        if self._is_own(token):
            if AUDIENCE in audiences:
                return TOKEN_HOLDER, (AUDIENCE,)
            return Refusal("the token is for others")
        found = await self._accounts.examine(token, audiences)
        if isinstance(found, Refusal):
            return found
        return account_user(found), found.audiences

    def _is_own(self, token: str) -> bool:
        """Compare with the service's own token, in constant time."""
        given = token.encode("utf-8", "surrogatepass")
        return bool(self._token) and hmac.compare_digest(given, self._token)


def _bearer(header: str) -> str:
    """Return the token of an Authorization header, "" if it has none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
