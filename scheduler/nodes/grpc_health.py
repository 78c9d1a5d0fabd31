"""The gRPC health check (grpc.health.v1.Health/Check) over a connection that a host makes.

Source: GRPC Health Checking Protocol; gRPC over HTTP/2. HTTP/2 itself is the package h2.
"""

import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from ..drivers import Connection

_LONGEST = 16 * 1024
_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


async def check(connection: Connection, service: str, authority: str) -> tuple[bool, str]:
    """Ask whether a service is serving.

    Returns:
        Whether it is, and what it answered otherwise.
    """
    http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    stream = http.get_next_available_stream_id()
    http.send_headers(stream, _headers(authority))
    http.send_data(stream, _request(service), end_stream=True)
    await connection.send(http.data_to_send())
    try:
        answer, status = await _answer(connection, http)
    except h2.exceptions.ProtocolError as error:
        return False, f"{authority} does not speak gRPC: {error}"
    if status not in {"", "0"}:
        return False, f"service health check failed: gRPC status {status}"
    state = _STATES.get(_serving(answer), "no answer") if answer else "no answer"
    if state == "SERVING":
        return True, ""
    return False, f'service unhealthy (responded with "{state}")'


def _headers(authority: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "kube-probe/1.33"),
    ]


def _request(service: str) -> bytes:
    """HealthCheckRequest {string service = 1} behind gRPC's prefix."""
    name = service.encode()
    length = bytes([len(name) & 0x7F | 0x80, len(name) >> 7]) if len(name) > 127 else b""
    message = b"\x0a" + (length or bytes([len(name)])) + name if name else b""
    return struct.pack(">BI", 0, len(message)) + message


async def _answer(connection: Connection, http: h2.connection.H2Connection) -> tuple[bytes, str]:
    """Return the message's bytes and grpc-status, each empty where there was none."""
    body, status = b"", ""
    while len(body) < _LONGEST:
        data = await connection.receive()
        if not data:
            break
        for event in http.receive_data(data):
            match event:
                case h2.events.DataReceived():
                    body += event.data or b""
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    found = {str(name): str(value) for name, value in event.headers or ()}
                    status = found.get("grpc-status", status)
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    return body, status
                case _:
                    pass
        if len(body) >= 7:
            return body, status
        await connection.send(http.data_to_send())
    return body, status


def _serving(body: bytes) -> int:
    """HealthCheckResponse {ServingStatus status = 1}; an absent field is 0."""
    message = body[5:]
    return message[1] if len(message) >= 2 and message[0] == 0x08 else 0
