"""Lists: one snapshot, selected, paged, rendered."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from ..errors import BadRequest, Expired
from ..objects.stored import StoredObject
from .backend import Backend
from .negotiation import Accepted, Form, accepted
from .pages import Page
from .rendering import Rendering, include_of
from .request import Call
from .selection import Selection, select
from .status_errors import JSON

_STRETCH = 250  # objects worked on before others get a turn
_STREAMED = 1000  # longer lists are sent in parts


@dataclass(frozen=True, slots=True)
class Lister:
    """Answers GET on collections."""

    backend: Backend

    async def answer(self, call: Call) -> web.StreamResponse:
        """Return the list a call asks for."""
        form = accepted(call.request.headers.get("Accept", ""))
        rendering = Rendering(call.kind, form, include_of(call.query.text("includeObject")))
        page = await self._page(call)
        if form.form is Form.TABLE:
            body = await self._table(rendering, page)
            return web.Response(body=body, headers={"Content-Type": JSON})
        return await _objects(call.request, rendering, page)

    async def _page(self, call: Call) -> Page:
        query = call.query
        limit = query.integer("limit") or 0
        if limit < 0:
            raise BadRequest("limit: Invalid value: must be greater than or equal to 0")
        selection = select(call.kind, call.namespace, "", query)
        token = query.text("continue")
        if token:
            if query.text("resourceVersion") not in {"", "0"}:
                raise BadRequest(
                    "resourceVersion: Forbidden: specifying resource version is not allowed when "
                    "using continue"
                )
            return self.backend.pages.next(selection.scope, token, limit)
        revision, found = await self.select(selection)
        self._check_version(call, revision)
        return self.backend.pages.first(selection.scope, found, revision, limit)

    def _check_version(self, call: Call, revision: int) -> None:
        match_rule = call.query.text("resourceVersionMatch")
        wanted = call.query.version or 0
        if match_rule not in {"", "Exact", "NotOlderThan"}:
            raise BadRequest(
                f'resourceVersionMatch: Unsupported value: "{match_rule[:32]}": supported values: '
                '"Exact", "NotOlderThan"'
            )
        if match_rule and not call.query.text("resourceVersion"):
            raise BadRequest(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless "
                "resourceVersion is provided"
            )
        if match_rule == "Exact" and wanted != revision:
            raise Expired(
                f"The resourceVersion for the provided list is too old: {wanted} (now {revision})"
            )

    async def select(self, selection: Selection) -> tuple[int, tuple[StoredObject, ...]]:
        """Return the selected objects and their revision, giving others a turn now and then."""
        listing = await self.backend.store.list(selection.kind.resource, selection.namespace)
        if selection.everything:
            return listing.revision, tuple(listing.objects)
        found: list[StoredObject] = []
        for index, stored in enumerate(listing.objects, 1):
            if selection.matches(stored):
                found.append(stored)
            if index % (_STRETCH * 8) == 0:
                await asyncio.sleep(0)
        return listing.revision, tuple(found)

    async def _table(self, rendering: Rendering, page: Page) -> bytes:
        if len(page.objects) <= _STRETCH:
            return rendering.table(page.objects, str(page.revision), page.token, page.remaining)
        head = rendering.table((), str(page.revision), page.token, page.remaining)
        parts: list[bytes] = []
        for stretch in _stretches(page.objects):
            rows = rendering.table(stretch, "", columns=False)
            parts.append(rows[rows.index(b'"rows":[') + 8 : -2])
            await asyncio.sleep(0)
        return head[:-2] + b",".join(parts) + b"]}"


async def _objects(request: web.Request, rendering: Rendering, page: Page) -> web.StreamResponse:
    head = rendering.list_head(page.revision, page.token, page.remaining)
    if len(page.objects) <= _STREAMED:
        items = b",".join([rendering.item(each) for each in page.objects])
        return web.Response(body=head + items + b"]}", headers={"Content-Type": JSON})
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(request)
    await response.write(head)
    separator = b""
    for stretch in _stretches(page.objects):
        await response.write(separator + b",".join([rendering.item(each) for each in stretch]))
        separator = b","
        await asyncio.sleep(0)
    await response.write(b"]}")
    await response.write_eof()
    return response


def _stretches(objects: tuple[StoredObject, ...]) -> Iterable[tuple[StoredObject, ...]]:
    return (objects[start : start + _STRETCH] for start in range(0, len(objects), _STRETCH))


def rendering_of(call: Call) -> Rendering:
    """Return how the answer to a call on one object is written."""
    form: Accepted = accepted(call.request.headers.get("Accept", ""))
    return Rendering(call.kind, form, include_of(call.query.text("includeObject")))
