"""Tasks of a connection, which end together."""

import asyncio
from collections.abc import Iterable
from typing import Any


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them; what they had to say is not wanted any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def all_of(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait for every task; raises what the first one in order has raised."""
    for task in tasks:
        await task
