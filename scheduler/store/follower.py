"""Keeps the hub up with commits of other processes: LISTEN wakes, a slow poll is the net."""

import asyncio

from ..errors import Expired, Unavailable
from .hub import Hub
from .operations import AnyChange, CohortChange
from .postgres import CONNECTION_ERRORS, Connection, connect
from .reader import Reader, with_prior
from .statements import CHANNEL

_POLL = 3.0


async def follow(url: str, reader: Reader, hub: Hub) -> None:
    """Listen and catch up forever, reconnecting as needed."""
    connection: Connection | None = None
    try:
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await _listen(url, hub)
                    await catch_up(reader, hub)
                await _told(hub)
                await catch_up(reader, hub)
            except (*CONNECTION_ERRORS, Unavailable):
                await asyncio.sleep(0.2)
    finally:
        if connection is not None:
            connection.terminate()


async def _listen(url: str, hub: Hub) -> Connection:
    def heard(_connection: Connection, _pid: int, _channel: str, payload: str) -> None:
        if not payload.isdecimal() or hub.lacks(int(payload)):
            hub.behind.set()

    async def prepare(connection: Connection) -> None:
        connection.add_termination_listener(lambda _connection: hub.behind.set())
        await connection.add_listener(CHANNEL, heard)

    return await connect(url, prepare=prepare)


async def _told(hub: Hub) -> None:
    try:
        async with asyncio.timeout(_POLL):
            await hub.behind.wait()
    except TimeoutError:
        return
    finally:
        hub.behind.clear()


async def catch_up(reader: Reader, hub: Hub) -> None:
    """Read what the hub lacks from SQL."""
    while True:
        after = hub.revision
        try:
            batch = await reader.changes(after)
        except Expired:
            hub.restart(await reader.revision())
            return
        # What this process is just committing its writer publishes, cohorts whole.
        if batch.revision <= hub.revision or batch.revision == hub.coming:
            return
        hub.publish(after, batch.revision, [_informed(hub, change) for change in batch.changes])


def _informed(hub: Hub, change: AnyChange) -> AnyChange:
    if isinstance(change, CohortChange):
        return change
    return with_prior(change, hub.latest(change.object.key))
