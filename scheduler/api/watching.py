"""Watches: the store's changes as a stream of Kubernetes watch events."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from ..errors import BadRequest, Expired, Invalid, StatusError
from ..objects.json import JsonObject
from ..objects.stored import StoredObject
from ..store.operations import Batch, Change, ChangeType, each_change
from . import status_errors
from .backend import Backend
from .listing import Lister, rendering_of
from .negotiation import Form
from .rendering import Rendering
from .request import Call
from .selection import Selection, select
from .status_errors import JSON

INITIAL_END = "k8s.io/initial-events-end"
_STRETCH = 250
_LOOK = 5.0  # seconds between looks whether a quiet client is still there


@dataclass(frozen=True, slots=True)
class Wish:
    """What a watch asks for.

    Args:
        since: the position to start after; None starts with the current objects.
        initial_end: mark the end of the current objects (WatchList).
        seconds: after which the stream ends.
    """

    since: int | None
    bookmarks: bool
    initial_end: bool
    seconds: float


@dataclass(slots=True)
class _Events:
    """Writes changes as events of one watch."""

    selection: Selection
    rendering: Rendering
    shown: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    columns: bool = True

    def event(self, kind: str, stored: StoredObject) -> bytes:
        if self.rendering.accepted.form is Form.TABLE:
            body = self.rendering.table([stored], str(stored.revision), columns=self.columns)
            self.columns = False
        else:
            body = self.rendering.single(stored)
        return b'{"type":"%s","object":%s}\n' % (kind.encode(), body)

    def of(self, change: Change) -> bytes | None:
        """Return the event of a change, None when the watcher does not see the object.

        Under selectors an object that comes into view is ADDED, one that leaves it DELETED.
        """
        now = change.type is not ChangeType.DELETED and self.selection.matches(change.object)
        before = self._matched_before(change, now)
        if now:
            return self.event("MODIFIED" if before else "ADDED", change.object)
        if not before:
            return None
        return self.event("DELETED", change.object)

    def _matched_before(self, change: Change, now: bool) -> bool:
        if change.type is ChangeType.ADDED:
            return False
        if change.prior is not None:
            return self.selection.matches(change.prior)
        if change.type is ChangeType.DELETED:
            return self.selection.matches(change.object)
        # What it was before is unknown (read again from SQL): a client takes MODIFIED of an
        # unknown object as an addition, and DELETED of an unknown one as nothing.
        return now or self.selection.may_have_matched(change.object)

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        kind = self.selection.kind
        meta: JsonObject = {"resourceVersion": str(revision)}
        if initial_end:
            meta["annotations"] = {INITIAL_END: "true"}
        form = self.rendering.accepted.form
        name, version = kind.kind, kind.group_version
        if form in {Form.METADATA, Form.METADATA_LIST}:
            name, version = "PartialObjectMetadata", self.rendering.meta_version
        if form is Form.TABLE:
            obj: JsonObject = {
                "kind": "Table",
                "apiVersion": self.rendering.meta_version,
                "metadata": {"resourceVersion": str(revision)},
                "columnDefinitions": None,
                "rows": [
                    {
                        "cells": [],
                        "object": {"kind": name, "apiVersion": version, "metadata": meta},
                    }
                ],
            }
        else:
            obj = {"kind": name, "apiVersion": version, "metadata": meta}
        return msgspec.json.encode({"type": "BOOKMARK", "object": obj}) + b"\n"


@dataclass(frozen=True, slots=True)
class Watcher:
    """Answers watches.

    Args:
        closing: set when the server stops; every watch then ends cleanly.
    """

    backend: Backend
    closing: asyncio.Event

    async def answer(self, call: Call) -> web.StreamResponse:
        """Stream the changes a call asks for until it ends."""
        wish = self._wish(call)
        selection = select(call.kind, call.namespace, call.name, call.query)
        events = _Events(selection, rendering_of(call))
        response = web.StreamResponse(
            headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        await response.prepare(call.request)
        stream = _Stream(call.request, response, self.backend.settings.write_timeout)
        try:
            await self._run(stream, events, wish)
        except StatusError as error:
            await stream.send(_error(error))
        except (ConnectionResetError, TimeoutError):
            # the client has gone or does not read: it starts again from its last position
            if call.request.transport is not None:
                call.request.transport.abort()
            return response
        with contextlib.suppress(ConnectionResetError):  # the client went away meanwhile
            await response.write_eof()
        return response

    def _wish(self, call: Call) -> Wish:
        query = call.query
        version = query.text("resourceVersion")
        since = query.version if version not in {"", "0"} else None
        initial = query.flag("sendInitialEvents")
        if "sendInitialEvents" in query.values:
            _check_initial(call)
        elif query.text("resourceVersionMatch"):
            raise BadRequest(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch "
                "unless sendInitialEvents is provided"
            )
        if initial:
            since = None
        low, high = self.backend.settings.watch_minutes
        seconds = query.integer("timeoutSeconds") or random.uniform(low, high) * 60
        return Wish(since, query.flag("allowWatchBookmarks"), initial, max(seconds, 0))

    async def _run(self, stream: "_Stream", events: _Events, wish: Wish) -> None:
        end = time.monotonic() + wish.seconds
        since = wish.since
        if since is None:
            since = await self._initial(stream, events)
            if wish.initial_end:
                await stream.send(events.bookmark(since, initial_end=True))
        watch = self.backend.store.watch({events.selection.kind.resource}, since)
        async with contextlib.aclosing(watch) as batches, _Feed(batches, self.closing) as feed:
            position, marked = since, time.monotonic()
            pause = self.backend.settings.bookmark_seconds
            while True:
                left = end - time.monotonic()
                if left <= 0 or self.closing.is_set() or stream.gone:
                    return
                due = marked + pause - time.monotonic() if wish.bookmarks else _LOOK
                batch = await feed.next(min(left, _LOOK, max(due, 0.0)))
                if batch is not None:
                    position = batch.revision
                    await stream.send_all(self._lines(events, batch))
                elif feed.ended:
                    return
                if wish.bookmarks and time.monotonic() - marked >= pause:
                    await stream.send(events.bookmark(position))
                    marked = time.monotonic()

    def _lines(self, events: _Events, batch: Batch) -> Iterator[bytes]:
        for change in each_change(batch.changes):
            if change.object.resource != events.selection.kind.resource:
                continue
            line = events.of(change)
            if line is not None:
                yield line

    async def _initial(self, stream: "_Stream", events: _Events) -> int:
        revision, objects = await Lister(self.backend).select(events.selection)
        for start in range(0, len(objects), _STRETCH):
            part = objects[start : start + _STRETCH]
            await stream.send(b"".join([events.event("ADDED", each) for each in part]))
            await asyncio.sleep(0)
        return revision


class _Stream:
    """The client's end: gives up on one that does not read."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, timeout_seconds: float
    ) -> None:
        self._request = request
        self._response = response
        self._timeout = timeout_seconds

    @property
    def gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(self._timeout):
            await self._response.write(data)

    async def send_all(self, lines: Iterator[bytes]) -> None:
        """Send many lines in few writes."""
        pending: list[bytes] = []
        size = 0
        for line in lines:
            pending.append(line)
            size += len(line)
            if size >= 256 * 1024:
                await self.send(b"".join(pending))
                pending, size = [], 0
        if pending:
            await self.send(b"".join(pending))


class _Feed:
    """The store's batches, waited for with a time limit and until the server closes."""

    def __init__(self, batches: AsyncGenerator[Batch, None], closing: asyncio.Event) -> None:
        self._batches = batches
        self._closing = closing
        self._pending: asyncio.Task[Batch] | None = None
        self._closed: asyncio.Task[bool] | None = None
        self.ended = False

    async def __aenter__(self) -> "_Feed":
        self._closed = asyncio.create_task(self._closing.wait())
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in (self._pending, self._closed):
            if task is not None:
                task.cancel()
        for task in (self._pending, self._closed):
            if task is not None:
                await asyncio.wait({task})

    async def next(self, seconds: float) -> Batch | None:
        """Return the next batch; None when the time is up, the server closes or it ended."""
        if self._pending is None:
            self._pending = asyncio.create_task(self._advance())
        assert self._closed is not None
        await asyncio.wait(
            {self._pending, self._closed},
            timeout=seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not self._pending.done():
            return None
        task, self._pending = self._pending, None
        try:
            return task.result()
        except _Ended:
            self.ended = True
            return None

    async def _advance(self) -> Batch:
        async for batch in self._batches:
            return batch
        raise _Ended


class _Ended(Exception):
    """The store closed its stream."""


def _check_initial(call: Call) -> None:
    if call.query.text("resourceVersionMatch") != "NotOlderThan":
        raise Invalid(
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            kind="ListOptions",
            group="meta.k8s.io",
        )
    if call.query.flag("sendInitialEvents") and not call.query.flag("allowWatchBookmarks"):
        raise Invalid(
            'ListOptions.meta.k8s.io "" is invalid: allowWatchBookmarks: Forbidden: '
            "sendInitialEvents requires allowWatchBookmarks",
            kind="ListOptions",
            group="meta.k8s.io",
        )


def _error(error: StatusError) -> bytes:
    if isinstance(error, Expired):
        error = Expired(f"too old resource version: {error.message}")
    return msgspec.json.encode({"type": "ERROR", "object": status_errors.status(error)}) + b"\n"
