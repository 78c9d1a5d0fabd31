"""PUT imagebuilds/{name}/context: what an image is built of, as a tar archive."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO

import msgspec

from ..errors import BadRequest, Conflict
from ..objects.image_build import MOST_CONTEXT, build_status, image_build
from ..objects.stored import StoredObject
from ..store.operations import Replace
from .backend import Backend
from .request import Call, arriving
from .status_errors import TooLarge, TooManyRequests, UnsupportedMediaType
from .updating import RACES, Updater

TYPES = frozenset({"application/x-tar", "application/gzip", "application/x-gzip"})
MOST_KEPT = 1 << 30  # bytes of all contexts together
_AT_ONCE = 4  # uploads
_READ = 1 << 20


class Uploads:
    """Takes contexts: to a file first, so that a slow client holds no connection to the database.

    Of two uploads for one build the one that arrives later is a Conflict, whichever processes they
    go through: it may not replace what the build is made of.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._taking: set[str] = set()  # uids of builds
        self._keeping = asyncio.Lock()  # two connections of few, and one room that all count

    async def take(self, call: Call) -> StoredObject:
        """Keep the body of a request as a build's context; returns the ImageBuild.

        Raises:
            BadRequest: the build is not made of an upload, or nothing came.
            Conflict: it has its context.
            TooLarge, TooManyRequests, Unavailable: there is no room.
        """
        if call.content_type not in TYPES:
            raise UnsupportedMediaType(f"the context must be one of {', '.join(sorted(TYPES))}")
        if (call.request.content_length or 0) > MOST_CONTEXT:
            raise _too_large()
        build = await Updater(self._backend).current(call)
        _check(build, call)
        uid = build.meta.uid
        if uid in self._taking:
            raise _busy(call)
        if len(self._taking) >= _AT_ONCE:
            raise TooManyRequests(f"{_AT_ONCE} contexts are being uploaded; try again")
        self._taking.add(uid)
        try:
            with await asyncio.to_thread(tempfile.TemporaryFile) as file:
                size = await _spool(call, file)
                return await self._keep(call, uid, file, size)
        finally:
            self._taking.discard(uid)

    async def _keep(self, call: Call, uid: str, file: IO[bytes], size: int) -> StoredObject:
        async with self._keeping, self._backend.store.hold_context(uid) as mine:
            if not mine:
                raise _busy(call)
            _check(await Updater(self._backend).current(call), call)
            await self._backend.store.keep_context(uid, _parts(file), MOST_KEPT)
            return await self._tell(call, uid, size)

    async def _tell(self, call: Call, uid: str, size: int) -> StoredObject:
        """Write into the build's status that its context is there."""
        store = self._backend.store
        for _ in range(RACES):
            current = await Updater(self._backend).current(call)
            if current.meta.uid != uid:
                break
            if image_build(current).ended:
                await store.drop_context(uid)
            _check(current, call)
            status = msgspec.structs.replace(
                build_status(current), context_bytes=size, message="its context is there"
            )
            encoded = msgspec.json.encode(status)
            write = Replace(current.resource, current.meta, current.body, encoded, current.revision)
            with contextlib.suppress(Conflict):
                return await store.write(write)
        raise Conflict(f"{call.kind.resource} {call.name} keeps changing; upload again")


def _busy(call: Call) -> Conflict:
    return Conflict(f"the context of {call.kind.resource} {call.name} is being uploaded")


def _check(stored: StoredObject, call: Call) -> None:
    build, which = image_build(stored), f"{call.kind.resource} {call.name}"
    if build.spec.upload is None:
        raise BadRequest(f"{which} takes no context, for it has no spec.upload")
    if build.ended or build.status.context_bytes:
        raise Conflict(f"{which} has its context; create another build")


async def _spool(call: Call, file: IO[bytes]) -> int:
    size = 0
    async for chunk in arriving(call.request):
        size += len(chunk)
        if size > MOST_CONTEXT:
            raise _too_large()
        await asyncio.to_thread(file.write, chunk)
    if not size:
        raise BadRequest("the context is empty; send a tar archive")
    await asyncio.to_thread(file.seek, 0)
    return size


async def _parts(file: IO[bytes]) -> AsyncIterator[bytes]:
    while part := await asyncio.to_thread(file.read, _READ):
        yield part


def _too_large() -> TooLarge:
    return TooLarge(f"a context may have {MOST_CONTEXT} bytes; leave out more by .dockerignore")
