"""Many objects in one request: a List, or one JSON document per line (NDJSON).

The answer has one line or item per object, in order: its name, uid and resourceVersion, or the
Status that says why it was not made. One object's failure does not touch the others.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace

import msgspec
from aiohttp import web

from ..errors import AlreadyExists, BadRequest, StatusError
from ..objects.kind import Kind
from ..objects.stored import StoredObject
from . import status_errors
from .backend import Backend
from .creation import Creator, Draft, stamp, submission
from .escalation import GUARDED
from .likeness import Made, create_alike, likes
from .request import Call, arriving
from .status_errors import JSON, TooLarge

NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_CHUNK = 2000  # objects decoded and stored together
_CHUNK_BYTES = 16 << 20  # beyond which fewer are, so that long lines do not fill memory
_ONE_BY_ONE = frozenset(
    {"services", "priorityclasses", "runtimeclasses", "limitranges"}
    | {resource.partition(".")[0] for resource in GUARDED}
)
_STRETCH = 250  # objects decoded before others get a turn
_GENERATED_TRIES = 4
_encode = msgspec.json.encode

Outcome = StoredObject | Made | StatusError


class _ListHead(msgspec.Struct, rename="camel"):
    items: list[msgspec.Raw]
    kind: str = ""
    api_version: str = ""


_list_head = msgspec.json.Decoder(_ListHead)


def is_bulk(call: Call) -> bool:
    """Tell whether a create carries one object per line."""
    return call.content_type in NDJSON


@dataclass(slots=True)
class _Tally:
    created: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class BulkCreator:
    """Creates many objects of one kind, group-committed together."""

    backend: Backend

    def is_list(self, call: Call, data: bytes) -> bool:
        """Tell whether a create's body is a List of the kind rather than one object."""
        if call.content_type not in {"", "application/json"} or b'"items"' not in data:
            return False
        try:
            head = _list_head.decode(data)
        except msgspec.DecodeError:
            return False
        return head.kind in {"List", f"{call.kind.kind}List"}

    async def answer_list(self, call: Call, data: bytes) -> web.Response:
        """Create the items of a List; return a List of outcomes."""
        items = [bytes(raw) for raw in _list_head.decode(data).items]
        tally, parts = _Tally(), list[bytes]()
        async with contextlib.aclosing(self._create(call, _cut(items))) as results:
            async for outcomes in results:
                parts.extend(_line(call.kind, each, tally) for each in outcomes)
        body = b'{"kind":"List","apiVersion":"v1","metadata":%s,"items":[%s]}' % (
            _summary(tally),
            b",".join(parts),
        )
        return web.Response(body=body, headers={"Content-Type": JSON})

    async def answer_lines(self, call: Call) -> web.StreamResponse:
        """Create one object per line as they arrive; stream one outcome per line."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        response.enable_chunked_encoding()
        tally = _Tally()
        settings = self.backend.settings
        chunks = _chunks(call.request, settings.body_limit, settings.bulk_limit)
        try:
            async with contextlib.aclosing(self._create(call, chunks)) as results:
                async for outcomes in results:
                    if not response.prepared:
                        await response.prepare(call.request)
                    lines = [_line(call.kind, each, tally) for each in outcomes]
                    await response.write(b"\n".join(lines) + b"\n")
        except StatusError as error:
            if not response.prepared:
                raise
            # what came before is made and told; the rest of the body cannot be read
            await response.write(_line(call.kind, error, tally) + b"\n")
        if not response.prepared:
            await response.prepare(call.request)
        summary = b'{"kind":"Summary","apiVersion":"ironfree.dev/v1","metadata":%s}\n'
        await response.write(summary % _summary(tally))
        await response.write_eof()
        return response

    async def _create(
        self, call: Call, chunks: AsyncIterator[list[bytes]]
    ) -> AsyncGenerator[list[Outcome], None]:
        """Yield the outcomes of each chunk; one is stored while the next is decoded."""
        storing: asyncio.Task[list[Outcome]] | None = None
        try:
            async for items in chunks:
                drafted = await self._draft(call, items)
                if storing is not None:
                    yield await storing
                storing = asyncio.create_task(self._store_all(call, *drafted))
            if storing is not None:
                yield await storing
        except StatusError:
            if storing is not None:
                told, storing = await storing, None
                yield told
            raise
        finally:
            if storing is not None and not storing.done():
                await asyncio.wait({storing})

    async def _draft(
        self, call: Call, items: Sequence[bytes]
    ) -> tuple[list[tuple[int, Draft]], list[Outcome | None]]:
        """Return the drafts with their places, and the outcomes of what cannot be made."""
        creator, how = Creator(self.backend), replace(submission(call), content_type="")
        outcomes: list[Outcome | None] = [None] * len(items)
        drafts: list[tuple[int, Draft]] = []
        known: dict[bytes, Draft] = {}
        for index, item in enumerate(items):
            try:
                draft = known.get(item) or await creator.draft(call.kind, how, item)
                known[item] = draft
                drafts.append((index, draft))
            except StatusError as error:
                outcomes[index] = error
            if index % _STRETCH == _STRETCH - 1:
                await asyncio.sleep(0)
        return drafts, outcomes

    async def _store_all(
        self, call: Call, drafts: Sequence[tuple[int, Draft]], outcomes: list[Outcome | None]
    ) -> list[Outcome]:
        creator = Creator(self.backend)
        if call.query.dry_run or call.kind.plural in _ONE_BY_ONE:
            for index, draft in drafts:
                outcomes[index] = await self._one(creator, call, draft)
        else:
            await self._store(call.kind, drafts, outcomes)
        return [each for each in outcomes if each is not None]

    async def _one(self, creator: Creator, call: Call, draft: Draft) -> Outcome:
        try:
            return await creator.store(call.kind, draft, dry_run=call.query.dry_run)
        except StatusError as error:
            return error

    async def _store(
        self, kind: Kind, drafts: Sequence[tuple[int, Draft]], outcomes: list[Outcome | None]
    ) -> None:
        """Store drafts together; generated names that are taken are generated again."""
        wanted = likes(kind, drafts)
        made = await create_alike(self.backend.store, kind, wanted) if wanted else ()
        for index, outcome in made:
            outcomes[index] = outcome
        await self._store_apart(kind, [d for d in drafts if outcomes[d[0]] is None], outcomes)

    async def _store_apart(
        self, kind: Kind, drafts: Sequence[tuple[int, Draft]], outcomes: list[Outcome | None]
    ) -> None:
        left = list(drafts)
        for attempt in range(_GENERATED_TRIES if left else 0):
            try:
                results = await self.backend.store.write_many(
                    stamp(kind, [draft for _index, draft in left])
                )
            except StatusError as error:
                for index, _draft in left:
                    outcomes[index] = error
                return
            again: list[tuple[int, Draft]] = []
            for (index, draft), result in zip(left, results, strict=True):
                if not isinstance(result, (StoredObject, StatusError)):
                    raise result
                outcomes[index] = result
                taken = isinstance(result, AlreadyExists) and not draft.meta.name
                if taken and attempt < _GENERATED_TRIES - 1:
                    again.append((index, draft))
            if not again:
                return
            left = again


async def _cut(items: list[bytes]) -> AsyncIterator[list[bytes]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


async def _chunks(
    request: web.Request, line_limit: int, total_limit: int
) -> AsyncIterator[list[bytes]]:
    """Yield the lines of a body in chunks; blank lines are left out.

    Raises:
        TooLarge: a line or the whole body is beyond its limit.
    """
    size, held, rest = 0, 0, b""
    lines: list[bytes] = []
    async for data in arriving(request):
        size += len(data)
        held += len(data)
        if size > total_limit:
            raise TooLarge(f"Request entity too large: limit is {total_limit}")
        *whole, rest = (rest + data).split(b"\n")
        lines.extend(line for line in whole if line.strip())
        if len(rest) > line_limit:
            raise TooLarge(f"a line is too large: limit is {line_limit}")
        while len(lines) >= _CHUNK or (lines and held >= _CHUNK_BYTES):
            yield lines[:_CHUNK]
            lines = lines[_CHUNK:]
            held = sum(map(len, lines)) + len(rest)
    if rest.strip():
        lines.append(rest)
    if lines:
        yield lines
    elif size == 0:
        raise BadRequest("the request has no body; one JSON object per line is needed")


def _line(kind: Kind, outcome: Outcome, tally: _Tally) -> bytes:
    """Return an outcome in short."""
    if isinstance(outcome, StatusError):
        tally.failed += 1
        return _encode(status_errors.status(outcome))
    tally.created += 1
    if isinstance(outcome, StoredObject):
        meta = outcome.meta
        outcome = Made(meta.name, meta.namespace, meta.uid, outcome.revision)
    return (
        b'{"kind":"%s","apiVersion":"%s","metadata":{"name":%s,"namespace":"%s","uid":"%s",'
        b'"resourceVersion":"%d"}}'
        % (
            kind.kind.encode(),
            kind.group_version.encode(),
            _encode(outcome.name),
            outcome.namespace.encode(),
            outcome.uid.encode(),
            outcome.revision,
        )
    )


def _summary(tally: _Tally) -> bytes:
    """Return metadata with the numbers, so that a client need not count."""
    return _encode(
        {
            "annotations": {
                "ironfree.dev/created": str(tally.created),
                "ironfree.dev/failed": str(tally.failed),
            }
        }
    )
