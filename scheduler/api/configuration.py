"""How the API listens, whom it lets in, and what it bounds."""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigurationError
from .loopback import names_this_machine

MIB = 1024 * 1024


@dataclass(frozen=True)
class ApiSettings:
    """Settings of the HTTP API.

    Args:
        host, port: where to listen; port 0 takes a free one.
        tls_certificate, tls_key: PEM files; both or neither.
        token: static bearer token, "" admits everybody (loopback without TLS only).
        body_limit: bytes of one object's request body; bulk_limit: of a bulk one.
        page_ttl: seconds that the rest of a paged list is kept.
        page_objects: objects kept for all paged lists together.
        watch_minutes: shortest and longest life of a watch that sets no timeout.
        bookmark_seconds: longest silence on a watch that asked for bookmarks.
        write_timeout: seconds a watcher may take to accept an event.
        toleration_seconds: how long pods stay bound to a lost node by default
            (DefaultTolerationSeconds).
        service_range: IPv4 network of cluster IPs.
    """

    host: str = "127.0.0.1"
    port: int = 8001
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token: str = field(default="", repr=False)
    body_limit: int = 3 * MIB
    bulk_limit: int = 256 * MIB
    page_ttl: float = 300.0
    page_objects: int = 500_000
    watch_minutes: tuple[float, float] = (30.0, 60.0)
    bookmark_seconds: float = 50.0
    write_timeout: float = 30.0
    toleration_seconds: int = 300
    service_range: str = "10.96.0.0/16"

    def check(self) -> None:
        """Refuse settings that would expose the cluster.

        Raises:
            ConfigurationError: TLS or a token is missing where the network can reach the API.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("tls_certificate and tls_key go together: give both or none")
        if self.loopback:
            return
        missing = [
            what
            for what, absent in (
                ("a TLS certificate and key", self.tls_certificate is None),
                ("a bearer token", not self.token),
            )
            if absent
        ]
        if missing:
            raise ConfigurationError(
                f"the API would listen on {self.host}, which other machines can reach, without "
                f"{' and '.join(missing)}; give them, or listen on 127.0.0.1"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return names_this_machine(self.host)
