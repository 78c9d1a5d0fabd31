"""GET placements/{name}/assignments: which pod goes where, in pages."""

import msgspec
from aiohttp import web

from ..errors import BadRequest
from ..objects.json import Json, JsonObject
from ..objects.stored import StoredObject
from ..store.store import Store
from .request import Call
from .status_errors import JSON

_PAGE = 500
_LONGEST_PAGE = 10_000


async def answer(store: Store, call: Call, placement: StoredObject) -> web.Response:
    """Return a page of assignments; `limit` and `continue` as in lists.

    Raises:
        BadRequest: limit or continue is no number.
    """
    limit = min(_number(call, "limit") or _PAGE, _LONGEST_PAGE)
    start = _number(call, "continue")
    found, total = await store.assignments_of(placement.meta.uid, start, limit)
    items: list[Json] = [{"pod": each.pod, "node": each.node} for each in found]
    metadata: JsonObject = {"resourceVersion": str(placement.revision)}
    remaining = total - start - len(found)
    if remaining > 0:
        metadata |= {"continue": str(start + len(found)), "remainingItemCount": remaining}
    body: JsonObject = {
        "kind": "PlacementAssignmentList",
        "apiVersion": call.kind.group_version,
        "metadata": metadata,
        "items": items,
    }
    return web.Response(body=msgspec.json.encode(body), headers={"Content-Type": JSON})


def _number(call: Call, name: str) -> int:
    given = call.query.text(name)
    if given and not (given.isascii() and given.isdecimal() and len(given) < 10):
        raise BadRequest(f"{name} is {given[:40]!r}; it must be a whole number")
    return int(given or 0)
