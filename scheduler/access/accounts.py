"""Whether the ServiceAccount that a token speaks for, and its pod, are still there."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..objects.stored import ObjectKey
from ..store.store import Store
from .identity import User, account_user
from .tokens import AUDIENCE, Reading, Tokens

_TRUSTED = 5.0  # seconds for which a token that was found good is not looked at again
_MOST = 4096
_LONGEST = 16 << 10  # characters of a token
_FAREWELL = timedelta(seconds=60)  # after its deletion was due, as in Kubernetes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a token is not good; for those who may review tokens, not for who shows it."""

    why: str


class Accounts:
    """Knows whom the tokens of ServiceAccounts speak for now.

    A token whose account or pod is deleted, by any process, is good for `_TRUSTED` seconds more.

    Args:
        tokens: None where no tokens are known: then none is good.
        clock: monotonic seconds.
    """

    def __init__(
        self, store: Store, tokens: Tokens | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock
        self._known: dict[bytes, tuple[User, float]] = {}

    def known(self, text: str) -> User | None:
        """Return whom a token speaks for if it was found good a moment ago."""
        found = self._known.get(_digest(text))
        return found[0] if found is not None and self._clock() < found[1] else None

    async def user(self, text: str) -> User | None:
        """Return whom a token for the API speaks for, None if it is not good."""
        asked = self._clock()
        found = await self.examine(text)
        if isinstance(found, Refusal):
            return None
        user = account_user(found)
        self._keep(_digest(text), user, asked + min(_TRUSTED, found.expires - time.time()))
        return user

    def _keep(self, digest: bytes, user: User, until: float) -> None:
        self._known.pop(digest, None)
        if len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[digest] = user, until

    async def examine(self, text: str, audiences: Sequence[str] = (AUDIENCE,)) -> Reading | Refusal:
        """Return what a good token says.

        Args:
            audiences: of which it must be for one.
        """
        if self._tokens is None:
            return Refusal("no tokens of ServiceAccounts are known here")
        if len(text) > _LONGEST or not text.isascii():
            return Refusal("the token is not one of this cluster's ServiceAccounts")
        found = self._tokens.examine(text, audiences)
        if found is None:
            return Refusal("the token is not of this cluster, has expired, or is for others")
        return await self._missing(found) or found

    async def _missing(self, reading: Reading) -> Refusal | None:
        """Return a refusal if the account or the pod of a token is no more."""
        holder = reading.holder
        account = ObjectKey("serviceaccounts", holder.namespace, holder.account)
        if not await self._lives(account, holder.account_uid):
            return Refusal(
                f'serviceaccounts "{holder.namespace}/{holder.account}" has been deleted'
            )
        pod = ObjectKey("pods", holder.namespace, holder.pod)
        if holder.pod and not await self._lives(pod, holder.pod_uid):
            return Refusal(f'pods "{holder.namespace}/{holder.pod}" has been deleted')
        return None

    async def _lives(self, key: ObjectKey, uid: str) -> bool:
        found = await self._store.get(key)
        if found is None or found.meta.uid != uid:
            return False
        deleted = found.meta.deletion_timestamp
        return deleted is None or datetime.now(UTC) < deleted + _FAREWELL


def _digest(text: str) -> bytes:
    """Return what a token is remembered by: it is not kept itself."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
