"""Answers Adoptions: what would become of containers that run, were they adopted."""

import asyncio
from typing import Annotated

import msgspec

from ..drivers import HostDirectory
from ..errors import BadRequest, DriverError, NotFound, Unavailable
from ..foreign import AdoptingHost
from ..objects.json import JsonObject
from .adoption_manifest import plan

_WITHIN = 30.0  # seconds
_Word = Annotated[str, msgspec.Meta(max_length=256)]


class _Spec(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What is asked for."""

    host: _Word
    containers: Annotated[tuple[_Word, ...], msgspec.Meta(max_length=256)] = ()
    project: _Word = ""


class AdoptionPlanner:
    """Looks at hosts over their open connections, and writes nothing."""

    def __init__(self, hosts: HostDirectory) -> None:
        self._hosts = hosts

    async def adoption(self, namespace: str, spec: JsonObject) -> JsonObject:
        """Return the status of an Adoption.

        Raises:
            BadRequest: the spec cannot be read, or the host has none such.
            NotFound: the host is not connected, or has no container of that name.
            Unavailable: the host does not answer.
        """
        wanted = _read(spec)
        host = self._hosts.host(wanted.host)
        if host is None:
            raise NotFound(f'host "{wanted.host}" is not connected; see `ironfree node list`')
        if not isinstance(host, AdoptingHost):
            raise BadRequest(f'containers of host "{wanted.host}" cannot be adopted')
        try:
            async with asyncio.timeout(_WITHIN):
                found = await host.describe(wanted.containers, wanted.project)
        except (DriverError, TimeoutError) as error:
            raise Unavailable(f'host "{wanted.host}" does not answer: {error}') from error
        for each in wanted.containers:
            if not any(_is(each, f.holds.name, f.holds.id) for f in found):
                raise NotFound(f'host "{wanted.host}" has no container "{each}"')
        if wanted.project and not any(f.project == wanted.project for f in found):
            raise NotFound(f'host "{wanted.host}" has no Compose project "{wanted.project}"')
        planned = plan(wanted.host, namespace, found)
        return {
            "items": list(planned.items),
            "lost": [{"pod": pod, "what": what} for pod, what in planned.lost],
            "refused": [{"container": name, "why": why} for name, why in planned.refused],
        }


def _is(wanted: str, name: str, container_id: str) -> bool:
    return wanted == name or container_id.startswith(wanted)


def _read(spec: JsonObject) -> _Spec:
    try:
        wanted = msgspec.convert(spec, _Spec)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the Adoption's spec cannot be read: {error}") from error
    if not wanted.containers and not wanted.project:
        raise BadRequest("an Adoption names containers, or a Compose project")
    if any(not each for each in wanted.containers):
        raise BadRequest("a container's name is empty")
    return wanted
