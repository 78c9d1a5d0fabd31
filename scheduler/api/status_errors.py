"""Errors as Kubernetes Status objects (meta/v1 Status)."""

import msgspec
from aiohttp import web

from ..errors import Cause, Invalid, StatusError
from ..objects.json import Json, JsonObject
from ..objects.kind import Kind

JSON = "application/json"


class Unauthorized(StatusError):
    """No credentials, or wrong ones."""

    code = 401
    reason = "Unauthorized"


class MethodNotAllowed(StatusError):
    """The resource does not know the method."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(StatusError):
    """No media type the client accepts can be served."""

    code = 406
    reason = "NotAcceptable"


class TooLarge(StatusError):
    """The request body is larger than the limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(StatusError):
    """The request body is in a form the resource does not take."""

    code = 415
    reason = "UnsupportedMediaType"


class TooManyRequests(StatusError):
    """Not now: a disruption budget forbids it."""

    code = 429
    reason = "TooManyRequests"


class Timeout(StatusError):
    """The request took too long to arrive or to answer."""

    code = 504
    reason = "Timeout"


def status(error: StatusError) -> JsonObject:
    """Return the Status of an error."""
    found: JsonObject = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
    }
    details = _details(error)
    if details:
        found["details"] = details
    found["code"] = error.code
    return found


def _details(error: StatusError) -> JsonObject:
    details: JsonObject = {}
    for key, value in (("name", error.name), ("group", error.group), ("kind", error.kind)):
        if value:
            details[key] = value
    if error.causes:
        causes: list[Json] = [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in error.causes
        ]
        details["causes"] = causes
    if error.retry_after is not None:
        details["retryAfterSeconds"] = error.retry_after
    return details


def response(error: StatusError) -> web.Response:
    """Return the HTTP answer for an error."""
    headers = {"Content-Type": JSON}
    retry_after = error.retry_after
    if error.code == 503:
        retry_after = retry_after or 1
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if error.code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="ironfree"'
    return web.Response(status=error.code, body=msgspec.json.encode(status(error)), headers=headers)


def success(kind: Kind, name: str, uid: str) -> bytes:
    """Return the Status of an object that is gone."""
    details: JsonObject = {"name": name, "kind": kind.plural, "uid": uid}
    if kind.group:
        details["group"] = kind.group
    return msgspec.json.encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
    )


def invalid(kind: Kind, name: str, causes: tuple[Cause, ...]) -> Invalid:
    """Return the error for an object whose fields are not allowed.

    Args:
        causes: at least one.
    """
    listed = [f"{cause.field}: {cause.message}" for cause in causes]
    text = listed[0] if len(listed) == 1 else f"[{', '.join(listed)}]"
    shown = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return Invalid(
        f'{shown} "{name}" is invalid: {text}',
        kind=kind.kind,
        group=kind.group,
        name=name,
        causes=causes,
    )
