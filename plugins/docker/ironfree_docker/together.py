"""Calls made together, the first failure ending the others."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from scheduler.errors import DriverError

Value = TypeVar("Value")


async def together(*calls: Coroutine[None, None, Value]) -> list[Value]:
    """Run calls together; the first failure cancels the others and is raised as itself."""
    if len(calls) < 2:
        return [await call for call in calls]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* DriverError as failures:
        raise _first(failures) from None
    return [task.result() for task in tasks]


def _first(failures: BaseExceptionGroup[DriverError]) -> DriverError:
    for failure in failures.exceptions:
        return failure if isinstance(failure, DriverError) else _first(failure)
    raise AssertionError("an exception group is never empty")
