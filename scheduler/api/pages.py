"""The rest of paged lists: one snapshot per list, in bounded memory, for a bounded time."""

import base64
import binascii
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ..errors import BadRequest, Expired
from ..objects.stored import StoredObject


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Args:
        revision: of the snapshot, the same on every page.
        token: for the next page, "" on the last; remaining: objects after this page.
    """

    objects: tuple[StoredObject, ...]
    revision: int
    token: str = ""
    remaining: int = 0


class _Token(msgspec.Struct):
    id: str
    start: int


@dataclass(slots=True)
class _Snapshot:
    scope: str
    objects: tuple[StoredObject, ...]
    revision: int
    expires: float


_decode = msgspec.json.Decoder(_Token)


class Pages:
    """Keeps snapshots that have more pages.

    Args:
        ttl: seconds a snapshot lives after its last use.
        limit: objects over all snapshots; the least recently used snapshots go first.
        clock: monotonic seconds.
    """

    def __init__(self, ttl: float, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl = ttl
        self._limit = limit
        self._clock = clock
        self._snapshots: OrderedDict[str, _Snapshot] = OrderedDict()
        self._size = 0

    def first(
        self, scope: str, objects: tuple[StoredObject, ...], revision: int, limit: int
    ) -> Page:
        """Return the first page, keeping the rest when there is one.

        Args:
            scope: resource, namespace and selectors; the next request must have the same.
            limit: objects per page; 0 is all.
        """
        if limit <= 0 or len(objects) <= limit:
            return Page(objects, revision)
        key = secrets.token_urlsafe(12)
        self._snapshots[key] = _Snapshot(scope, objects, revision, self._clock() + self._ttl)
        self._size += len(objects)
        self._evict(key)
        return self._cut(key, 0, limit)

    def next(self, scope: str, token: str, limit: int) -> Page:
        """Return the page a token stands for.

        Raises:
            BadRequest: the token is none of ours, or belongs to another list.
            Expired: the snapshot is gone; list again.
        """
        try:
            parsed = _decode.decode(base64.urlsafe_b64decode(token.encode()))
        except (msgspec.DecodeError, ValueError, binascii.Error):
            raise BadRequest(
                "continue key is not valid: it was not given out by this server"
            ) from None
        self._expire()
        snapshot = self._snapshots.get(parsed.id)
        if snapshot is None:
            raise Expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        if snapshot.scope != scope or not 0 <= parsed.start < len(snapshot.objects):
            raise BadRequest("continue key is not valid: it belongs to another list")
        snapshot.expires = self._clock() + self._ttl
        self._snapshots.move_to_end(parsed.id)
        return self._cut(parsed.id, parsed.start, limit)

    def _cut(self, key: str, start: int, limit: int) -> Page:
        snapshot = self._snapshots[key]
        total = len(snapshot.objects)
        end = total if limit <= 0 else min(start + limit, total)
        token = ""
        if end < total:
            raw = msgspec.json.encode(_Token(key, end))
            token = base64.urlsafe_b64encode(raw).decode()
        return Page(snapshot.objects[start:end], snapshot.revision, token, total - end)

    def _expire(self) -> None:
        now = self._clock()
        for key in [key for key, each in self._snapshots.items() if each.expires <= now]:
            self._drop(key)

    def _evict(self, newest: str) -> None:
        self._expire()
        while self._size > self._limit and next(iter(self._snapshots)) != newest:
            self._drop(next(iter(self._snapshots)))

    def _drop(self, key: str) -> None:
        self._size -= len(self._snapshots.pop(key).objects)
