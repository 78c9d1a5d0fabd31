"""Bytes on their way to somebody who may be slow to take them."""

import asyncio
from collections import deque

_MOST = 1 << 20  # bytes that may wait


class Inbox:
    """Whoever brings bytes waits while too many lie here. One brings, one takes."""

    def __init__(self) -> None:
        self._parts = deque[bytes | None]()
        self._size = 0
        self._closed = False
        self._changed = asyncio.Event()

    async def put(self, data: bytes | None) -> None:
        """Bring bytes, or None for their end; once it is closed nobody wants them."""
        while self._size >= _MOST and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        if self._closed or data == b"":
            return
        self._parts.append(data)
        self._size += len(data or b"")
        self._changed.set()

    async def get(self) -> bytes | None:
        """Take what came first; None at the end."""
        while not self._parts:
            self._changed.clear()
            await self._changed.wait()
        data = self._parts.popleft()
        self._size -= len(data or b"")
        self._changed.set()
        return data

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        self._parts.clear()
        self._changed.set()
