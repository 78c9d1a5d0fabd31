"""A time limit on silence, for connections that may rightly last for hours."""

import asyncio
from types import TracebackType


class Idleness:
    """An `async with` that ends in TimeoutError after so many seconds without an `interrupt`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(seconds)
        self._rescheduled = self._loop.time()

    async def __aenter__(self) -> "Idleness":
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._timeout.__aexit__(kind, error, trace)

    def interrupt(self) -> None:
        """Something was said: count from now (to a hundredth of the limit, so this is cheap)."""
        now = self._loop.time()
        if now - self._rescheduled > self._seconds / 100:
            self._rescheduled = now
            self._timeout.reschedule(now + self._seconds)
