"""What a request asks for: query parameters, options and the body, as values."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from ..access.identity import User
from ..errors import BadRequest
from ..objects.kind import Kind
from .status_errors import Timeout, TooLarge

PATIENCE = 30.0  # seconds a client may pause in the middle of a body
_FALSE = frozenset({"0", "false"})
_VALIDATION = ("Strict", "Warn", "Ignore")


@dataclass(frozen=True, slots=True)
class Query:
    """Query parameters, read as Kubernetes reads them; unknown ones are ignored."""

    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return the parameter, "" when absent."""
        return self.values.get(name, "")

    def flag(self, name: str) -> bool:
        """Return false iff absent, "0" or "false" in any case."""
        value = self.values.get(name)
        return value is not None and value.lower() not in _FALSE

    def integer(self, name: str) -> int | None:
        """Return the parameter as a number, None when absent or empty.

        Raises:
            BadRequest: it is not a number of at most 18 digits.
        """
        value = self.values.get(name, "")
        if not value:
            return None
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            raise BadRequest(f'strconv.ParseInt: parsing "{value[:32]}": invalid syntax ({name})')
        return int(value)

    @property
    def version(self) -> int | None:
        """The resourceVersion, None when absent or empty.

        Raises:
            BadRequest: it is no version that was ever given out.
        """
        found = self.integer("resourceVersion")
        if found is not None and found < 0:
            raise BadRequest(f"resourceVersion: Invalid value: {found}: must not be negative")
        return found

    @property
    def dry_run(self) -> bool:
        """Whether everything is to be done but kept (dryRun=All)."""
        value = self.text("dryRun")
        if value not in {"", "All"}:
            raise BadRequest(
                f'Invalid value: ["{value[:64]}"]: dryRun: Unsupported value: supported values: '
                '"All"'
            )
        return value == "All"

    @property
    def field_validation(self) -> str:
        """Strict, Warn (the default) or Ignore."""
        value = self.text("fieldValidation") or "Warn"
        if value not in _VALIDATION:
            raise BadRequest(
                f'fieldValidation: Unsupported value: "{value[:64]}": supported values: "Ignore", '
                '"Strict", "Warn"'
            )
        return value


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a resource.

    Args:
        namespace: "" for cluster scope and for all namespaces.
        name: "" for a collection.
        user: who asks, and may.
    """

    request: web.Request
    kind: Kind
    namespace: str
    name: str
    subresource: str
    query: Query
    user: User

    @property
    def stored(self) -> "Call":
        """The same request to the version in which objects are kept."""
        return self if self.kind.conversion is None else replace(self, kind=self.kind.stored)

    @property
    def manager(self) -> str:
        """Who writes, for managedFields: fieldManager, else the User-Agent up to its slash."""
        given = self.query.text("fieldManager")
        if len(given) > 128:
            raise BadRequest("fieldManager: Too long: may not be more than 128 bytes")
        if not given.isprintable():
            raise BadRequest(
                "fieldManager: Invalid value: should only contain printable characters"
            )
        agent = self.request.headers.get("User-Agent", "unknown")
        return given or agent.partition("/")[0][:128] or "unknown"

    @property
    def content_type(self) -> str:
        """The media type of the body without parameters, "" when there is none."""
        header = self.request.headers.get("Content-Type", "")
        return header.partition(";")[0].strip().lower()


async def read_body(request: web.Request, limit: int) -> bytes:
    """Return the whole body.

    Raises:
        TooLarge: it is longer than `limit` bytes.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in arriving(request):
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def arriving(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Raises:
        Timeout: nothing came for too long.
    """
    content = request.content
    while not content.at_eof():
        try:
            async with asyncio.timeout(PATIENCE):
                data = await content.readany()
        except TimeoutError:
            raise Timeout(f"the request's body did not arrive within {PATIENCE} s") from None
        if data:
            yield data


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"Request entity too large: limit is {limit}")
