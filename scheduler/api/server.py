"""The HTTP application: who may ask, what is asked, and errors as Status."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from urllib.parse import unquote
from uuid import uuid4

import msgspec
from aiohttp import web

from ..access.accounts import Accounts
from ..access.identity import User
from ..access.keys import Keys
from ..access.policy import Policy
from ..errors import BadRequest, StatusError
from ..meter import Meter
from ..objects.kind import KindRegistry
from ..store.store import Store
from . import authorization, impersonation, negotiation, openapi_v2, status_errors
from .access_reviews import AccessReviews
from .authentication import Authenticator, Door
from .authorization import Authorizer
from .backend import Backend, Consulted
from .configuration import ApiSettings
from .discovery import AGGREGATED, Discovery, version
from .escalation import Escalation
from .further_rights import FurtherRights
from .limit_ranges import LimitRanges
from .loopback import check_local
from .pages import Pages
from .pod_admission import PodAdmission
from .pod_classes import PodClasses
from .repeated_lists import RepeatedLists
from .repeats import RepeatedSpecs
from .request import Call, Query
from .resources import Resources
from .routes import find, unknown_path
from .service_claims import ServiceClaims
from .status_errors import JSON
from .traffic import GONE, Telemetry, Visit

_log = logging.getLogger(__name__)
_STORE_PATIENCE = 2.0  # seconds /readyz waits for the database
_CLOSING = web.AppKey("closing", asyncio.Event)
_HEALTH = frozenset({"healthz", "livez", "readyz"})
_MAX_PATH = 4096


class Api:
    """Dispatches requests; holds nothing that changes but what Backend keeps, and its counters."""

    def __init__(
        self,
        backend: Backend,
        authenticator: Authenticator,
        closing: asyncio.Event,
        telemetry: Telemetry,
    ) -> None:
        self.backend = backend
        self._telemetry = telemetry
        self._discovery = Discovery(backend.registry)
        self._authenticator = authenticator
        self._authorizer = backend.authorizer
        reviews = AccessReviews(backend.authorizer, authenticator)
        self._resources = Resources(backend, reviews, closing)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request that came in at the main door, and count it."""
        return await self._count(request, Door.MAIN)

    async def handle_from_pod(self, request: web.Request) -> web.StreamResponse:
        """Answer any request that came in at the pods' door, and count it."""
        return await self._count(request, Door.PODS)

    async def _count(self, request: web.Request, door: Door) -> web.StreamResponse:
        visit, code = Visit(self._telemetry.traffic, request.method), GONE
        try:
            response = await self._handle(request, visit, door)
            code = response.status
            return response
        finally:
            visit.end(code)

    async def _handle(self, request: web.Request, visit: Visit, door: Door) -> web.StreamResponse:
        """Answer any request; every failure is a Status."""
        try:
            return await self._answer(request, visit, door)
        except StatusError as error:
            return status_errors.response(error)
        except web.RequestPayloadError as error:
            return status_errors.response(BadRequest(f"the body cannot be read: {error}"))
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - the last resort: a client gets no internals
            request_id = uuid4().hex[:12]
            _log.exception(
                "request %s failed: %s %s", request_id, request.method, request.path[:200]
            )
            error = StatusError(
                f"Internal error occurred: see the server's log for request {request_id}"
            )
            return status_errors.response(error)

    async def _answer(self, request: web.Request, visit: Visit, door: Door) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if len(path) > _MAX_PATH:
            raise unknown_path()
        parts = [unquote(part) for part in path.split("/") if part]
        health = bool(parts) and parts[0] in _HEALTH
        if health and door is Door.MAIN:  # whoever supervises the service has no token
            return await self._health(parts[0])
        if door is Door.MAIN and not self.backend.settings.token:
            check_local(request.headers)
        user = self._authenticator.at_once(request.headers, door)
        if user is None:
            user = await self._authenticator.by_token(request.headers)
        if impersonation.asked(request.headers):
            user = await impersonation.impersonated(self._authorizer, user, request.headers)
        if len(parts) > 2 and parts[0] in {"api", "apis"}:
            short = parts[0] == "apis" and len(parts) == 3
            if not short:
                return await self._resource(request, parts, visit, user)
        if not user.unlimited:
            await self._authorizer.check(user, authorization.of_path(request.method, parts))
        if health:
            return await self._health(parts[0])
        return await self._no_resource(request, parts)

    async def _no_resource(self, request: web.Request, parts: list[str]) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            raise status_errors.MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        if parts == ["metrics"] and self._telemetry.exposition is not None:
            body, kind = await self._telemetry.exposition(request.headers.get("Accept", ""))
            return web.Response(body=body, headers={"Content-Type": kind})
        return self._document(request, parts)

    async def _resource(
        self, request: web.Request, parts: list[str], visit: Visit, user: User
    ) -> web.StreamResponse:
        place = find(parts, self.backend.registry)
        query = Query(request.query)
        visit.goes_to(place, watches=query.flag("watch"), follows=query.flag("follow"))
        if not user.unlimited:
            for wanted in authorization.of_resource(request.method, place, query):
                await self._authorizer.check(user, wanted)
        kind, subresource = place.kind, place.subresource
        call = Call(request, kind, place.namespace, place.name, subresource, query, user)
        return await self._resources.answer(call)

    async def _health(self, name: str) -> web.Response:
        if name == "readyz":
            try:
                async with asyncio.timeout(_STORE_PATIENCE):
                    await self.backend.store.revision()
            except (StatusError, TimeoutError):
                return web.Response(
                    status=503, text="[-]database failed: it does not answer\nreadyz check failed\n"
                )
        return web.Response(text="ok")

    def _document(self, request: web.Request, parts: list[str]) -> web.Response:
        found = self._discovery
        match parts:
            case ["version"]:
                return _json(msgspec.json.encode(version()))
            case ["api"]:
                return self._discover(request, found.core, found.aggregated_core)
            case ["apis"]:
                return self._discover(request, found.groups, found.aggregated_groups)
            case ["apis", group]:
                return _json(found.group(group))
            case ["api", version_name]:
                return _json(found.resources("", version_name))
            case ["apis", group, version_name]:
                return _json(found.resources(group, version_name))
            case ["openapi", "v2"]:
                return self._openapi_v2(request)
            case ["openapi", "v3", *rest]:
                return _json(found.openapi("/".join(rest)))
            case _:
                raise unknown_path()

    def _openapi_v2(self, request: web.Request) -> web.Response:
        if not openapi_v2.wanted(request.headers.get("Accept", "")):
            raise status_errors.NotAcceptable("OpenAPI v2 is not served; use /openapi/v3")
        body = openapi_v2.document(self.backend.registry.kinds)
        return web.Response(body=body, headers={"Content-Type": openapi_v2.CONTENT_TYPE})

    def _discover(self, request: web.Request, plain: bytes, aggregated: bytes) -> web.Response:
        form = negotiation.accepted(request.headers.get("Accept", ""), discovery=True).form
        if form is negotiation.Form.DISCOVERY:
            return web.Response(body=aggregated, headers={"Content-Type": AGGREGATED})
        return _json(plain)


_API = web.AppKey("api", Api)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": JSON})


def build(  # noqa: PLR0913, PLR0917 - what it is made of, most of it once
    store: Store,
    registry: KindRegistry,
    meter: Meter,
    consulted: Consulted,
    settings: ApiSettings,
    telemetry: Telemetry | None = None,
    keys: Keys | None = None,
) -> web.Application:
    """Return the application, for whoever comes in at the main door.

    Args:
        meter: measures what runs on hosts, and finds them.
        consulted: what other rooms say.
        telemetry: where requests are counted, and what /metrics tells.
        keys: of the cluster; without them no tokens of ServiceAccounts are known.

    Raises:
        ConfigurationError: the settings would expose the cluster.
    """
    settings.check()
    tokens = None if keys is None else keys.tokens
    authorizer = Authorizer(Policy(store))
    backend = Backend(
        store=store,
        registry=registry,
        meter=meter,
        settings=settings,
        classes=PodClasses(store),
        admission=PodAdmission(store),
        limits=LimitRanges(store),
        repeats=RepeatedSpecs(),
        pages=Pages(settings.page_ttl, settings.page_objects),
        lists=RepeatedLists(),
        claims=ServiceClaims(store, settings.service_range),
        answers=consulted.answers,
        review=consulted.review,
        authorizer=authorizer,
        escalation=Escalation(authorizer),
        further_rights=FurtherRights(authorizer),
        tokens=tokens,
    )
    app = web.Application(client_max_size=settings.body_limit)
    closing = asyncio.Event()
    app[_CLOSING] = closing

    async def follow(_app: web.Application) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(backend.classes.priorities.run(), name="api priority classes"),
            asyncio.create_task(backend.classes.runtimes.run(), name="api runtime classes"),
            asyncio.create_task(backend.admission.run(), name="api namespaces"),
            asyncio.create_task(backend.limits.run(), name="api limit ranges"),
            asyncio.create_task(authorizer.policy.run(), name="api roles"),
        ]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def close_watches(_app: web.Application) -> None:
        closing.set()

    app.cleanup_ctx.append(follow)
    app.on_shutdown.append(close_watches)
    authenticator = Authenticator(settings.token, Accounts(store, tokens))
    app[_API] = api = Api(backend, authenticator, closing, telemetry or Telemetry())
    app.router.add_route("*", "/{path:.*}", api.handle)
    return app


def for_pods(app: web.Application) -> web.Application:
    """Return the same API for requests of pods: nobody is let in who does not say who it is.

    It works while the other one runs, and of its own keeps nothing; whichever of both shuts down
    first ends the watches and streams of both.
    """

    async def close_watches(_door: web.Application) -> None:
        app[_CLOSING].set()

    api = app[_API]
    door = web.Application(client_max_size=api.backend.settings.body_limit)
    door[_CLOSING] = app[_CLOSING]
    door.on_shutdown.append(close_watches)
    door.router.add_route("*", "/{path:.*}", api.handle_from_pod)
    return door


async def serve(
    app: web.Application, settings: ApiSettings, started: asyncio.Future[int] | None = None
) -> None:
    """Listen until cancelled; watches then end cleanly, and other requests get a moment.

    Args:
        started: gets the port once the server listens.

    Raises:
        OSError: the address cannot be listened on.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0, keepalive_timeout=120.0)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner, settings.host, settings.port, ssl_context=_tls(settings), backlog=1024
        )
        await site.start()
        if started is not None:
            started.set_result(runner.addresses[0][1])
        await asyncio.Event().wait()
    finally:
        app[_CLOSING].set()
        await runner.cleanup()


def _tls(settings: ApiSettings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    context.set_alpn_protocols(["http/1.1"])
    return context
