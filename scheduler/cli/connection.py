"""The client's side of the HTTP API: requests, streams, and Status answers as errors."""

import argparse
import http.client
import ssl
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import urlencode, urlsplit

import msgspec

from ..errors import ConfigurationError, StatusError, Unavailable
from ..objects.json import Json, JsonObject
from .kubeconfig import Target, locate

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_TIMEOUT = 60.0  # seconds for an answer
_QUIET = 90.0  # seconds without a byte on a watch; servers send a bookmark every 60
_CHUNK = 65536

Query = Mapping[str, str]


class Connection:
    """Requests to one server, one after the other, over a kept connection."""

    def __init__(self, target: Target) -> None:
        url = urlsplit(target.url)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigurationError(
                f'"{target.url}" is not a server\'s URL; it looks like http://127.0.0.1:7443'
            )
        self.target = target
        self._url = url
        self._kept: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Let go of the kept connection; the next request opens another."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def get(self, path: str, query: Query | None = None, accept: str = JSON) -> JsonObject:
        """GET a JSON document; raises StatusError as every method here."""
        return self.request("GET", path, query=query, accept=accept)[1]

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> tuple[int, JsonObject]:
        """Send a request with an optional JSON body; returns the code and the JSON answer.

        Raises:
            StatusError: the server's Status, with its code and reason.
            Unavailable: no server answers.
        """
        payload = None if body is None else msgspec.json.encode(body)
        return self.send(method, _with_query(path, query), payload, content_type, accept)

    def send(
        self, method: str, path: str, payload: bytes | None, content_type: str, accept: str = JSON
    ) -> tuple[int, JsonObject]:
        """Send a request whose body is already encoded; otherwise as `request`."""
        headers = {"Accept": accept} | ({"Content-Type": content_type} if payload else {})
        kept, self._kept = self._kept, None
        try:
            response, connection = self._exchange(kept, method, path, payload, headers)
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        if not response.will_close:
            self._kept = connection
        if response.status >= 400:
            raise _failure(response.status, text)
        return response.status, _document(text)

    def stream(self, path: str, query: Query | None = None, accept: str = JSON) -> Iterator[bytes]:
        """Yield the body as it arrives, on a connection of its own; ends when the server ends."""
        connection = self._open(_QUIET)
        try:
            connection.request("GET", _with_query(path, query), headers=self._headers(accept))
            response = connection.getresponse()
            if response.status >= 400:
                raise _failure(response.status, response.read())
            while chunk := response.read1(_CHUNK):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def watch(
        self, path: str, query: Query, accept: str = JSON
    ) -> Iterator[tuple[str, JsonObject]]:
        """Yield (type, object) of a watch until the server ends it; an ERROR is raised."""
        for line in lines(self.stream(path, {**query, "watch": "true"}, accept)):
            event = _document(line)
            obj = cast(JsonObject, event.get("object") or {})
            if event.get("type") == "ERROR":
                raise _status_error(obj, 500)
            yield str(event.get("type")), obj

    def _headers(self, accept: str) -> dict[str, str]:
        token = self.target.token
        authorised = {"Authorization": f"Bearer {token}"} if token else {}
        return {"Accept": accept, "User-Agent": "ironfree"} | authorised

    def _exchange(
        self,
        kept: http.client.HTTPConnection | None,
        method: str,
        path: str,
        payload: bytes | None,
        headers: dict[str, str],
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        headers = self._headers(headers["Accept"]) | headers
        if kept is not None:
            try:
                kept.request(method, path, payload, headers)
                return kept.getresponse(), kept
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                kept.close()
                if method == "POST":  # may have been carried out
                    raise
        connection = self._open(_TIMEOUT)
        connection.request(method, path, payload, headers)
        return connection.getresponse(), connection

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl.create_default_context(cadata=self.target.ca or None)
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"no answer from {self.target.url}: {error or type(error).__name__}; start the server "
            "with `ironfree up`, or name another with --server or IRONFREE_SERVER"
        )


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a stream at its newlines."""
    pending = b""
    for chunk in chunks:
        *whole, pending = (pending + chunk).split(b"\n")
        yield from whole


def entries(value: Json) -> list[JsonObject]:
    """Return the objects of a JSON list; nothing for anything else."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def child(obj: JsonObject, field: str) -> JsonObject:
    """Return the object in a field, empty where there is none."""
    value = obj.get(field)
    return value if isinstance(value, dict) else {}


def metadata(obj: JsonObject) -> dict[str, str]:
    """Return the texts in an object's metadata: name, namespace, uid, resourceVersion."""
    return {k: v for k, v in child(obj, "metadata").items() if isinstance(v, str)}


def _with_query(path: str, query: Query | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _document(text: bytes) -> JsonObject:
    if not text.strip():
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, object])  # pyright: ignore[reportReturnType]
    except msgspec.DecodeError as error:
        raise StatusError(f"the server's answer is not JSON ({error}); is it Ironfree?") from error


def _failure(code: int, text: bytes) -> StatusError:
    try:
        status = _document(text)
    except StatusError:
        message = text.decode(errors="replace")[:500] or f"HTTP {code}"
        return _status_error({"message": message}, code)
    return _status_error(status, code)


def _status_error(status: JsonObject, code: int) -> StatusError:
    error = StatusError(str(status.get("message") or f"the server answered {code}"))
    answered = status.get("code")
    error.code = answered if isinstance(answered, int) else code
    error.reason = str(status.get("reason") or "Unknown")
    return error


def add_arguments(parser: argparse.ArgumentParser, *, namespaced: bool = True) -> None:
    """Declare what every client verb takes: --server, --json and -n."""
    parser.add_argument("--server", metavar="URL", help="the API server")
    parser.add_argument("--json", action="store_true", help="print JSON")
    if namespaced:
        parser.add_argument("-n", "--namespace", metavar="NS", help="default: default")


def connect(arguments: argparse.Namespace) -> Connection:
    """Return a connection to the server the arguments and the environment name."""
    return Connection(locate(cast("str | None", arguments.server)))


def namespace_of(arguments: argparse.Namespace, connection: Connection) -> str:
    """Return the namespace a command works in."""
    return cast("str | None", arguments.namespace) or connection.target.namespace
