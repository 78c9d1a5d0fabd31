"""Tokens in the volumes of pods: whom they speak for, and when they are made anew. Pure.

A token follows from its pod, the pod's sandbox and the time: made once more it is the same, until
it is due. So nobody remembers tokens, and what a service finds after its restart is what it would
write.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from ..access import Holder, Tokens
from ..access.tokens import AUDIENCE
from ..objects.volumes import TokenSource
from .environment import ConfigProblem

_DAY = 86_400
_SPREAD = 10  # of pods made at once no more than a part is due at once: up to a tenth is left out

NO_TOKENS = ConfigProblem(
    "there are no tokens of ServiceAccounts, for this service has no API for pods; remove the "
    "source serviceAccountToken from the pod's volume"
)


@dataclass(frozen=True, slots=True)
class ApiForPods:
    """The API as pods know it.

    Args:
        certificate: of the authority that it is known by, PEM.
    """

    tokens: Tokens
    certificate: bytes


@dataclass(frozen=True, slots=True)
class PodTokens:
    """Makes the tokens of a pod.

    Args:
        begun: when its sandbox was made, in seconds since 1970.
        now: likewise.
    """

    api: ApiForPods
    holder: Holder
    begun: int
    now: int

    def token(self, source: TokenSource) -> bytes:
        """Return the token that a volume has now."""
        seconds, audience = source.expiration_seconds, source.audience or AUDIENCE
        since = _since(self.holder.pod_uid, self.begun, seconds, self.now)
        return self.api.tokens.issue(self.holder, seconds, (audience,), since).text.encode()


def renewal(sources: Iterable[TokenSource], uid: str, begun: int, now: int) -> int | None:
    """Return when the first of a pod's tokens is due to be made anew, None without any.

    Args:
        begun: when its sandbox was made, in seconds since 1970.
    """
    lives = {each.expiration_seconds for each in sources}
    due = (_since(uid, begun, each, now) + _period(uid, each) for each in lives)
    return min(due, default=None)


def begun(made: datetime | None) -> int:
    """Return when a sandbox was made, 0 where its engine does not say."""
    return int(made.timestamp()) if made is not None else 0


def _since(uid: str, begun: int, seconds: int, now: int) -> int:
    """Return the moment from which the present token holds, also by a clock that goes ahead."""
    period = _period(uid, seconds)
    return begun + (now - begun) // period * period


def _period(uid: str, seconds: int) -> int:
    """Return after how long a token is made anew: 80 % of its time, or a day (kubelet)."""
    longest = min(seconds * 8 // 10, _DAY)
    return longest - longest * (crc32(uid.encode()) % 1000) // (1000 * _SPREAD)
