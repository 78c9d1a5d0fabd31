"""TLS over a connection that a host makes, for HTTPS probes; like kubelet it trusts anybody."""

import ssl

from ..drivers import Connection

_FINE = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsConnection:
    """A drivers.Connection inside another."""

    def __init__(self, plain: Connection) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    async def shake_hands(self) -> str:
        """Agree on keys; returns why that is impossible, "" when done."""
        while True:
            try:
                self._tls.do_handshake()
            except _FINE:
                await self._flush()
                if not await self._feed():
                    return "the connection ended during the handshake"
            except ssl.SSLError as error:
                return str(error.reason or error)
            else:
                await self._flush()
                return ""

    async def send(self, data: bytes) -> None:
        """Send; a connection that has ended swallows it."""
        self._tls.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        """Return what came, b"" once it has ended."""
        while True:
            try:
                return self._tls.read(16384)
            except _FINE:
                if not await self._feed():
                    return b""
            except ssl.SSLError:
                return b""

    async def close(self) -> None:
        """Let it go."""
        await self._plain.close()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._plain.send(self._outgoing.read())

    async def _feed(self) -> bool:
        data = await self._plain.receive()
        if data:
            self._incoming.write(data)
        return bool(data)
