"""The volume endpoints of the Docker Engine API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec

from scheduler.errors import EngineRejected
from scheduler.objects.json import JsonObject

from . import wire
from .engine import CREATE, LIST, Engine


@dataclass(frozen=True, slots=True)
class Making:
    """How a volume is made, with the engine's `local` driver."""

    name: str
    labels: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    def mounted(self) -> JsonObject:
        """The VolumeOptions of a container's mount that makes it."""
        driver: JsonObject = {"Name": "local", "Options": dict(self.options)}
        return {"Labels": dict(self.labels), "DriverConfig": driver}


class Volumes:
    """Volumes of one engine."""

    made_with_containers = True
    """Whether the engine makes what a new container mounts as it is told to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, making: Making) -> None:
        """Create; one that exists is fine."""
        body: JsonObject = {
            "Name": making.name,
            "Driver": "local",
            "Labels": dict(making.labels),
            "DriverOpts": dict(making.options),
        }
        await self._engine.change("POST", "/volumes/create", body=body, within=CREATE)

    async def sizes(self, within: float) -> Mapping[str, int]:
        """Bytes in every volume, by name, for which the engine walks through all their files.

        One older than API 1.42 measures images and containers, too.
        """
        answer = await self._engine.read(
            "/system/df", wire.Usage, query={"type": "volume"}, within=within
        )
        found = answer.volumes or []
        return {each.name: each.usage_data.size for each in found if each.usage_data}

    async def list(self, label: str) -> list[wire.Volume]:
        """The volumes that carry the label."""
        filters = msgspec.json.encode({"label": [label]}).decode()
        answer = await self._engine.read(
            "/volumes", wire.Volumes, query={"filters": filters}, within=LIST
        )
        return answer.volumes or []

    async def inspect(self, name: str) -> wire.Volume | None:
        """One volume, or None if there is none of that name."""
        try:
            return await self._engine.read(f"/volumes/{quote(name)}", wire.Volume)
        except EngineRejected as error:
            if error.code == 404:
                return None
            raise

    async def remove(self, name: str) -> None:
        """Remove; gone is fine. EngineRejected 409 while a container uses it."""
        try:
            await self._engine.change("DELETE", f"/volumes/{quote(name)}", within=CREATE)
        except EngineRejected as error:
            if error.code != 404:
                raise
