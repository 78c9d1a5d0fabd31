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
from .repeated_lists import Written
from .request import Call
from .selection import Selection, select
from .status_errors import JSON

_STRETCH = 250  # objects worked on before others get a turn
_STREAMED = 1000  # longer lists are sent in parts
_KEPT = 16  # shorter lists cost little anyway


@dataclass(frozen=True, slots=True)
class Lister:
    """Answers GET on collections."""

    backend: Backend

    async def answer(self, call: Call) -> web.StreamResponse:
        """Return the list a call asks for."""
        form = accepted(call.request.headers.get("Accept", ""))
        rendering = Rendering(call.kind, form, include_of(call.query.text("includeObject")))
        selection, limit = select(call.kind, call.namespace, "", call.query), _limit(call)
        if form.form is Form.TABLE:
            body = await self._table(rendering, await self._page(call, selection, limit))
            return web.Response(body=body, headers={"Content-Type": JSON})
        scope = f"{call.kind.group_version} {form.form.name} {form.version} {selection.scope}"
        again = await self._again(call, selection, scope, limit)
        if again is not None:
            head, written = rendering.list_head(again[0]), again[1]
            body = b"".join((head, *written.items, b"]}"))
            return web.Response(body=body, headers={"Content-Type": JSON})
        page = await self._page(call, selection, limit)
        whole = not page.token and not call.query.text("continue")
        return await self._objects(call.request, rendering, page, scope if whole else "")

    async def _again(
        self, call: Call, selection: Selection, scope: str, limit: int
    ) -> tuple[int, Written] | None:
        """Return a list that was written before and still holds, and the present revision."""
        written = None if call.query.text("continue") else self.backend.lists.find(scope)
        if written is None or 0 < limit < written.count:
            return None
        revision = await self.backend.store.unchanged(
            selection.kind.resource, selection.namespace, written.revision
        )
        if revision is None:
            return None
        self._check_version(call, revision)
        return revision, written

    async def _page(self, call: Call, selection: Selection, limit: int) -> Page:
        query = call.query
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

    async def _objects(
        self, request: web.Request, rendering: Rendering, page: Page, scope: str
    ) -> web.StreamResponse:
        """Write objects; under a scope, remember them as all that it has."""
        head, count = (
            rendering.list_head(page.revision, page.token, page.remaining),
            len(page.objects),
        )
        if count <= _STREAMED:
            items = b",".join([rendering.item(each) for each in page.objects])
            if scope and count >= _KEPT:
                self.backend.lists.keep(scope, Written((items,), count, page.revision))
            return web.Response(body=b"".join((head, items, b"]}")), headers={"Content-Type": JSON})
        response = web.StreamResponse(headers={"Content-Type": JSON})
        await response.prepare(request)
        await response.write(head)
        lists, parts, size, comma = self.backend.lists, list[bytes](), 0, b""
        for stretch in _stretches(page.objects):
            part = comma + b",".join([rendering.item(each) for each in stretch])
            comma, size = b",", size + len(part)
            if scope and lists.takes(size):
                parts.append(part)
            else:  # nobody will want them again: hold one stretch at a time
                parts.clear()
            await response.write(part)
            await asyncio.sleep(0)
        await response.write(b"]}")
        await response.write_eof()
        if parts:
            lists.keep(scope, Written(tuple(parts), count, page.revision))
        return response


def _limit(call: Call) -> int:
    """Return how many objects are wanted on a page, 0 for all."""
    limit = call.query.integer("limit") or 0
    if limit < 0:
        raise BadRequest("limit: Invalid value: must be greater than or equal to 0")
    return limit


def _stretches(objects: tuple[StoredObject, ...]) -> Iterable[tuple[StoredObject, ...]]:
    return (objects[start : start + _STRETCH] for start in range(0, len(objects), _STRETCH))


def rendering_of(call: Call) -> Rendering:
    """Return how the answer to a call on one object is written."""
    form: Accepted = accepted(call.request.headers.get("Accept", ""))
    return Rendering(call.kind, form, include_of(call.query.text("includeObject")))
