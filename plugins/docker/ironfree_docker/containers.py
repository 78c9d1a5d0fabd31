"""The container endpoints of the Docker Engine API."""

from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from scheduler.errors import DriverError, EngineRejected
from scheduler.objects.json import JsonObject

from . import wire
from .engine import CREATE, LIST, START, Engine
from .frames import demultiplex, stamped_lines
from .labels import POD_UID, belongs

_REMOVAL = 60.0
_STOP_MARGIN = 15.0
_SILENCE = 30.0
HEARD = (
    "create",
    "start",
    "restart",
    "kill",
    "die",
    "oom",
    "stop",
    "pause",
    "unpause",
    "update",
    "rename",
    "destroy",
)
"""Which events are asked for. Those of execs are not, for probes of others make them, too."""


@dataclass(frozen=True)
class LogQuery:
    """What `/logs` is asked for; `tail` None is everything."""

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    timestamps: bool = False


class Containers:
    """Containers of one engine, by name or id.

    `adopted` are labels of containers that cannot be labelled any more, by id: they count as if the
    engine had them. `retired` have ended and are kept only for what joins their namespaces: they
    count as removed.
    """

    heard = HEARD

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.retired = set[str]()
        self.adopted: Mapping[str, dict[str, str]] = {}

    async def _list(self, filters: Mapping[str, Sequence[str]]) -> list[wire.Summary]:
        query = {"all": "1", "filters": msgspec.json.encode(filters).decode()}
        return await self._engine.read(
            "/containers/json", list[wire.Summary], query=query, within=LIST
        )

    async def ours(self, cluster: str, label: str) -> list[wire.Summary]:
        """Those of installation `cluster` that carry the label.

        The engine cannot be asked for "this label or none", so it lists all.
        """
        listed = await self.list(label)
        return [each for each in listed if belongs(each.labels or {}, cluster)]

    async def list(self, *labels: str) -> list[wire.Summary]:
        """All containers, running or not, that carry every label ("key" or "key=value")."""
        found = await self._list({"label": labels})
        more = [
            each
            for each, own in self.adopted.items()
            if labels and all(_carries(own, label) for label in labels)
        ]
        found += await self._list({"id": more}) if more else []
        for each in found if self.adopted else ():
            each.labels = self.labels_of(each.id, each.labels or {})
        return found

    async def sizes(self, ids: Collection[str], within: float) -> Mapping[str, int]:
        """Bytes that containers have written into their layers, for which all files are walked."""
        if not ids:  # which the engine would take for all
            return {}
        filters = msgspec.json.encode({"id": [*ids]}).decode()
        query = {"all": "1", "size": "1", "filters": filters}
        found = await self._engine.read(
            "/containers/json", list[wire.Sized], query=query, within=within
        )
        return {each.id: each.size_rw for each in found}

    def labels_of(self, container: str, labels: dict[str, str]) -> dict[str, str]:
        """A container's labels, and those of an adopted one."""
        own = self.adopted.get(container)
        return {**labels, **own} if own else labels

    async def inspect(self, name: str) -> wire.Container | None:
        """Everything about one container, or None if there is none of that name."""
        try:
            return await self._inspect(name)
        except EngineRejected as error:
            if error.code == 404:
                return None
            raise

    async def _inspect(self, name: str) -> wire.Container:
        found = await self._engine.read(f"{container_path(name)}/json", wire.Container)
        found.config.labels = self.labels_of(found.id, found.labels)
        return found

    async def foreign(self, container: str) -> wire.Foreign | None:
        """What somebody else's container was made of, None when it is gone."""
        try:
            return await self._engine.read(f"{container_path(container)}/json", wire.Foreign)
        except EngineRejected as error:
            if error.code == 404:
                return None
            raise

    async def of(self, cluster: str, name: str) -> wire.Container:
        """Inspect a pod's container of installation `cluster`; EngineRejected 404 for another.

        The id may come from a pod's status, which others may write.
        """
        found = await self._inspect(name)
        if POD_UID not in found.labels or not belongs(found.labels, cluster):
            raise EngineRejected(
                f"host {self._engine.name}: container {name[:64]} is no pod's of this installation",
                404,
            )
        return found

    async def create(self, name: str, body: JsonObject) -> str:
        """Create and return the id. 404: no such image; 409: the name is taken."""
        content = await self._engine.change(
            "POST", "/containers/create", query={"name": name}, body=body, within=CREATE
        )
        return self._engine.decode(content, wire.Created, "POST /containers/create").id

    async def start(self, name: str) -> None:
        """Start; started already is fine."""
        await self._engine.change("POST", f"{container_path(name)}/start", within=START)

    async def stop(self, name: str, grace_seconds: int) -> None:
        """Send the stop signal, KILL after the grace; returns when it has ended. Gone is fine."""
        await _unless_gone(
            self._engine.wait(
                f"{container_path(name)}/stop",
                query={"t": str(grace_seconds)},
                within=grace_seconds + _STOP_MARGIN,
            )
        )

    async def kill(self, name: str, signal: str = "KILL") -> None:
        """Send a signal; gone or not running is fine."""
        query = {"signal": signal}
        await _unless_gone(
            self._engine.change("POST", f"{container_path(name)}/kill", query=query, within=LIST),
            409,
        )

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove with its anonymous volumes; returns when it is gone.

        The volumes of an adopted container stay: somebody else has filled them.
        """
        volumes = "0" if name in self.adopted else "1"
        query = {"v": volumes, "force": "1" if force else "0"}
        try:
            await self._engine.change("DELETE", container_path(name), query=query, within=_REMOVAL)
        except EngineRejected as error:
            if error.code == 409 and "in progress" in str(error):
                await _unless_gone(self._wait(name, "removed", _REMOVAL))
            elif error.code != 404:
                raise

    async def restart_no_more(self, name: str) -> None:
        """Have the engine leave it ended when it ends; it goes on running."""
        body: JsonObject = {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}
        await self._engine.change("POST", f"{container_path(name)}/update", body=body, within=LIST)

    async def wait(self, name: str, within: float) -> int:
        """The exit status, once it is not running."""
        return await self._wait(name, "not-running", within)

    async def logs(self, found: wire.Container, query: LogQuery) -> AsyncGenerator[bytes]:
        """Stream what it wrote, stdout and stderr merged. EngineRejected 404 if it is gone."""
        arguments = {
            "stdout": "1",
            "stderr": "1",
            "follow": "1" if query.follow else "0",
            "timestamps": "1" if query.timestamps else "0",
            "tail": "all" if query.tail is None else str(query.tail),
        }
        if query.since is not None:
            arguments["since"] = _nanoseconds(query.since)
        opened = self._engine.stream(
            "GET",
            f"{container_path(found.id)}/logs",
            query=arguments,
            silence=None if query.follow else _SILENCE,
        )
        async with self._engine.place(), opened as chunks:
            if found.config.tty:
                async for chunk in chunks:
                    yield chunk
                return
            if query.timestamps:
                async with aclosing(stamped_lines(chunks, self._engine.name)) as lines:
                    async for chunk in lines:
                        yield chunk
                return
            async with aclosing(demultiplex(chunks, self._engine.name)) as plain:
                async for _stream, chunk in plain:
                    yield chunk

    async def events(self) -> AsyncGenerator[wire.Event | None]:
        """Stream events of all containers; first a None once it is open."""
        filters = msgspec.json.encode({"type": ["container"], "event": self.heard}).decode()
        opened = self._engine.stream("GET", "/events", query={"filters": filters})
        async with opened as chunks:
            yield None
            async with aclosing(self._engine.lines(chunks, wire.Event)) as lines:
                async for event in lines:
                    yield event

    async def _wait(self, name: str, condition: str, within: float) -> int:
        query = {"condition": condition}
        content = await self._engine.wait(
            f"{container_path(name)}/wait", query=query, within=within
        )
        return self._engine.decode(content, wire.Exit, "POST …/wait").status_code


def _carries(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


async def _unless_gone(call: Awaitable[object], *fine: int) -> None:
    try:
        await call
    except EngineRejected as error:
        if error.code not in {404, *fine}:
            raise


def container_path(name: str) -> str:
    """Where the endpoints of a container are; DriverError for what is no name."""
    if not name or name.startswith(".") or "/" in name:
        raise DriverError(f"{name!r} is no name of a container")
    return f"/containers/{quote(name)}"


def _nanoseconds(time: datetime) -> str:
    """`unix.nanos`: the engine reads other forms in its own time zone or to whole seconds."""
    microseconds = round((time - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    return f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06d}000"
