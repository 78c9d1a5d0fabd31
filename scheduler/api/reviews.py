"""Kinds that are answered instead of stored: a document comes in, it goes out with a status.

As Kubernetes' SubjectAccessReview: POST, 201, nothing kept. Who answers lives beyond this room.
"""

import msgspec
from aiohttp import web

from ..errors import BadRequest
from ..objects.schema import load
from . import bodies
from .backend import Answer
from .creation import checked
from .request import Call, read_body
from .status_errors import JSON


async def answer(call: Call, compute: Answer, limit: int) -> web.Response:
    """Return the document with its status.

    Args:
        limit: bytes of the body at most.
    """
    data = await read_body(call.request, limit)
    given, complaints = await bodies.decode_aside(call.content_type, data)
    obj, _warnings = checked(call.kind, given, complaints, call.query.field_validation)
    spec = obj.get("spec") if "spec" in load().message(call.kind.message).fields else {}
    if not isinstance(spec, dict):
        raise BadRequest(f"{call.kind.kind}: spec must be an object")
    obj["status"] = await compute(call.namespace, spec)
    obj["apiVersion"], obj["kind"] = call.kind.group_version, call.kind.kind
    body = msgspec.json.encode(obj)
    return web.Response(status=201, body=body, headers={"Content-Type": JSON})
