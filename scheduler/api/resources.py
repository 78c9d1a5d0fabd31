"""Requests to resources: which verb it is, and its answer."""

import asyncio
from collections.abc import Sequence

import msgspec
from aiohttp import web

from ..objects.json import JsonObject
from ..objects.kinds import simulation
from ..objects.stored import StoredObject
from . import assignments, bodies, build_context, logs, removal, reviews, status_errors
from .access_reviews import AccessReviews
from .backend import Backend
from .bulk import BulkCreator, is_bulk
from .creation import Creator, checked, submission
from .eviction import Evictor, checked_eviction
from .listing import Lister, rendering_of
from .patches import Patcher
from .removal import Remover
from .rendering import Rendering
from .request import Call, read_body
from .resource_metrics import ResourceMetrics
from .selection import select
from .status_errors import JSON, MethodNotAllowed
from .streaming import Streamer
from .subresources import Binder, Scaler, checked_binding, scale_of
from .token_requests import TokenIssuer
from .updating import Change, Updater, converted
from .watching import Watcher

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_ACTIONS = frozenset(
    {
        "assignments",
        "attach",
        "binding",
        "context",
        "eviction",
        "exec",
        "log",
        "portforward",
        "scale",
        "token",
    }
)


class Resources:
    """Answers every request to a kind's paths."""

    def __init__(
        self, backend: Backend, access_reviews: AccessReviews, closing: asyncio.Event
    ) -> None:
        self._backend = backend
        self._access_reviews = access_reviews
        self._creator = Creator(backend)
        self._updater = Updater(backend)
        self._remover = Remover(backend)
        self._patcher = Patcher(backend)
        self._lister = Lister(backend)
        self._watcher = Watcher(backend, closing)
        self._bulk = BulkCreator(backend)
        self._streamer = Streamer(backend, closing)
        self._uploads = build_context.Uploads(backend)
        self._metrics = ResourceMetrics(backend)

    async def answer(self, call: Call) -> web.StreamResponse:
        """Return the answer to a request.

        Raises:
            StatusError: whatever the client must be told.
        """
        if call.subresource in _ACTIONS:
            return await self._subresource(call)
        verb = _verb(call)
        if verb not in call.kind.verbs:
            raise _not_allowed()
        if call.kind.computed and verb != "create":
            return await self._metrics.answer(call)
        match verb:
            case "get":
                return _object(call, await self._updater.current(call))
            case "list":
                return await self._lister.answer(call)
            case "watch":
                return await self._watcher.answer(call)
            case "create":
                return await self._create(call)
            case "update":
                return await self._update(call)
            case "patch":
                stored, warnings, created = await self._patcher.patch(call)
                return _object(call, stored, warnings, 201 if created else 200)
            case "delete":
                return await self._delete(call)
            case _:
                return await self._delete_collection(call)

    async def _create(self, call: Call) -> web.StreamResponse:
        if call.kind.computed:
            own = self._access_reviews.of(call)
            compute = own or self._backend.answers[call.kind.resource]
            return await reviews.answer(call, compute, self._limit(call))
        if is_bulk(call):
            return await self._bulk.answer_lines(call)
        data = await read_body(call.request, self._limit(call))
        if self._bulk.is_list(call, data):
            return await self._bulk.answer_list(call, data)
        limit = self._backend.settings.body_limit
        if len(data) > limit:
            raise status_errors.TooLarge(f"Request entity too large: limit is {limit}")
        draft = await self._creator.draft(call.kind, submission(call), data)
        stored = await self._creator.store(call.kind, draft, dry_run=call.query.dry_run)
        return _object(call, stored, draft.warnings, 201)

    def _limit(self, call: Call) -> int:
        """Return how long a body may be that is read whole before it is known what it holds.

        Everybody may ask for reviews of himself: only a whole cluster, or a List of an
        administrator's, may be long.
        """
        settings = self._backend.settings
        if call.kind.computed:
            long = call.kind.resource == simulation.KIND.resource
        else:
            long = call.user.unlimited
        return settings.bulk_limit if long else settings.body_limit

    async def _body(self, call: Call) -> tuple[JsonObject, list[str]]:
        data = await read_body(call.request, self._backend.settings.body_limit)
        return await bodies.decode_aside(call.content_type, data)

    async def _update(self, call: Call) -> web.Response:
        given, complaints = await self._body(call)
        obj, warnings = checked(call.kind, given, complaints, call.query.field_validation)
        if call.subresource != "status":
            warnings.extend(call.kind.warnings(obj))

        async def wish(current: StoredObject) -> Change:
            # defaults are filled in place, so every attempt has its own copy
            wanted = msgspec.json.decode(msgspec.json.encode(obj))
            return Change(converted(call.kind, wanted, current), tuple(warnings))

        stored, told = await self._updater.update(call, wish)
        return _object(call, stored, told)

    async def _delete(self, call: Call) -> web.Response:
        wanted = await removal.options(call, self._backend.settings.body_limit)
        stored, lives = await self._remover.delete(call, wanted)
        if lives:
            return _object(call, stored)
        body = status_errors.success(call.kind, stored.meta.name, stored.meta.uid)
        return web.Response(body=body, headers={"Content-Type": JSON})

    async def _delete_collection(self, call: Call) -> web.Response:
        wanted = await removal.options(call, self._backend.settings.body_limit)
        if call.kind.namespaced and not call.namespace:
            raise _not_allowed()
        selection = select(call.kind, call.namespace, "", call.query)
        _revision, found = await self._lister.select(selection)
        gone = await self._remover.delete_all(call.kind, found, wanted)
        revision = max((each.revision for each in gone), default=_revision)
        return web.Response(
            body=_list(rendering_of(call), gone, revision), headers={"Content-Type": JSON}
        )

    async def _subresource(self, call: Call) -> web.StreamResponse:
        match call.subresource, call.request.method:
            case "log", "GET":
                return await logs.answer(self._backend, call)
            case (("exec" | "attach" | "portforward"), ("GET" | "POST")):
                return await self._streamer.answer(call)
            case "assignments", "GET":
                placement = await self._updater.current(call)
                return await assignments.answer(self._backend.store, call, placement)
            case "context", "PUT":
                return _object(call, await self._uploads.take(call))
            case "binding", "POST":
                given, _complaints = await self._body(call)
                await Binder(self._backend).bind(call, checked_binding(call, given))
                return _done()
            case "eviction", "POST":
                given, _complaints = await self._body(call)
                await Evictor(self._backend).evict(call, checked_eviction(call, given))
                return _done()
            case "token", "POST":
                given, _complaints = await self._body(call)
                issued = await TokenIssuer(self._backend).issue(call, given)
                return web.Response(
                    status=201, body=msgspec.json.encode(issued), headers={"Content-Type": JSON}
                )
            case "scale", "GET":
                return _scale(call, await self._updater.current(call))
            case "scale", "PUT":
                given, _complaints = await self._body(call)

                async def wanted(_present: JsonObject) -> JsonObject:
                    return given

                return _scale(call, await Scaler(self._backend).update(call, wanted))
            case "scale", "PATCH":
                return _scale(call, await self._patcher.patch_scale(call))
            case _:
                raise _not_allowed()


def _verb(call: Call) -> str:
    method = call.request.method
    if method in {"GET", "HEAD"}:
        if call.query.flag("watch") and not call.subresource:
            return "watch"
        return "get" if call.name else "list"
    if method == "DELETE":
        if call.subresource:
            raise _not_allowed()
        return "delete" if call.name else "deletecollection"
    verb = _VERBS.get(method, "")
    if not verb or (verb == "create") == bool(call.name):
        raise _not_allowed()
    return verb


def _done() -> web.Response:
    body = msgspec.json.encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "code": 201,
        }
    )
    return web.Response(status=201, body=body, headers={"Content-Type": JSON})


def _not_allowed() -> MethodNotAllowed:
    return MethodNotAllowed("the server does not allow this method on the requested resource")


def _object(
    call: Call, stored: StoredObject, warnings: Sequence[str] = (), code: int = 200
) -> web.Response:
    body = rendering_of(call).single(stored)
    response = web.Response(status=code, body=body, headers={"Content-Type": JSON})
    for warning in warnings:
        response.headers.add("Warning", f'299 - "{_quoted(warning)}"')
    return response


def _quoted(text: str) -> str:
    """Return text as it may stand in a quoted header string."""
    plain = "".join(c if c.isprintable() and c.isascii() else "?" for c in text[:1024])
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def _scale(call: Call, stored: StoredObject) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(scale_of(call, stored)), headers={"Content-Type": JSON}
    )


def _list(rendering: Rendering, objects: Sequence[StoredObject], revision: int) -> bytes:
    items = b",".join([rendering.item(each) for each in objects])
    return rendering.list_head(revision) + items + b"]}"
