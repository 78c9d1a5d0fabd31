"""What can be set, from the environment; the command line overrides single fields.

Imports nothing of the package but its errors.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import platformdirs

from .errors import ConfigurationError

_WHOLE = (
    "port",
    "peer_port",
    "heartbeat_seconds",
    "node_grace_seconds",
    "toleration_seconds",
    "tombstone_seconds",
    "event_seconds",
    "decision_days",
    "pressure_seconds",
    "storage_limit_seconds",
    "pulls_per_host",
    "pulls_per_registry",
    "image_gc_high_percent",
    "image_gc_low_percent",
)
_POSITIVE = frozenset(_WHOLE) - {"port", "toleration_seconds"}
NO_NETWORK = "none"
_LONGEST = 23
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR"})


@dataclass(frozen=True)
class Settings:
    """The service's settings; change them with dataclasses.replace.

    Args:
        database_url: a PostgreSQL ≥ 14 of somebody else's; "" runs the embedded one.
        data_dir: the embedded database, certificates and tokens.
        listen, port: where the API listens.
        tls_certificate, tls_key: PEM files; needed, as is token, to listen beyond this machine.
        token: bearer token that clients must show; "" admits everybody on this machine.
        log_level: DEBUG, INFO, WARNING or ERROR.
        heartbeat_seconds: between two heartbeats of a node.
        node_grace_seconds: without a heartbeat, after which a node counts as lost.
        toleration_seconds: how long pods stay bound to a lost node unless they say otherwise.
        tombstone_seconds: how long a watch may be away and still continue where it was.
        event_seconds: age at which Event objects are removed (Kubernetes: one hour).
        decision_days: age at which decision records are removed.
        pressure_seconds: between two looks at what a host has left of memory, process ids and disk.
        storage_limit_seconds: between two looks, at least, at how much pods that may keep only so
            much on disk do keep there.
        pulls_per_host, pulls_per_registry: images that one host pulls at once, and that all hosts
            together pull at once from one registry.
        image_gc_high_percent, image_gc_low_percent: how full a host's disk is from which on images
            are removed until it is no fuller than the latter; 100 removes none.
        pod_range: that hosts' subnets of 254 addresses are taken from (CIDR, IPv4); "none" leaves
            pods on each engine's own network, without Services.
        service_range: that Services' addresses are taken from; its tenth is the name server's.
        peer_port: TCP, where hosts reach each other for connections between their pods.
        share_images: copy an image that a host cannot pull, or may not, from a host that has it.
        profiles: a file with a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), whose
            profiles come on top of the built-in ones.
    """

    database_url: str
    data_dir: Path
    listen: str = "127.0.0.1"
    port: int = 7443
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token: str = field(default="", repr=False)
    log_level: str = "INFO"
    heartbeat_seconds: int = 10
    node_grace_seconds: int = 40
    toleration_seconds: int = 300
    tombstone_seconds: int = 3600
    event_seconds: int = 3600
    decision_days: int = 180
    pressure_seconds: int = 10
    storage_limit_seconds: int = 60
    pulls_per_host: int = 3
    pulls_per_registry: int = 32
    image_gc_high_percent: int = 85
    image_gc_low_percent: int = 80
    pod_range: str = "10.240.0.0/12"
    service_range: str = "10.96.0.0/16"
    peer_port: int = 7447
    share_images: bool = False
    profiles: Path | None = None

    def __post_init__(self) -> None:
        if self.log_level not in _LEVELS:
            raise ConfigurationError(
                f'log level "{self.log_level}" is unknown; use one of {", ".join(sorted(_LEVELS))}'
            )
        for port in (self.port, self.peer_port):
            if not 0 <= port <= 65535:
                raise ConfigurationError(f"port {port} is not between 0 and 65535")
        _check_ranges(self.pod_range, self.service_range)
        for name in _WHOLE:
            if getattr(self, name) < (name in _POSITIVE):
                wanted = "be positive" if name in _POSITIVE else "not be negative"
                raise ConfigurationError(f"{name} must {wanted}")
        if self.heartbeat_seconds >= self.node_grace_seconds:
            raise ConfigurationError(
                f"node_grace_seconds ({self.node_grace_seconds}) must exceed heartbeat_seconds "
                f"({self.heartbeat_seconds}), or every node counts as lost"
            )
        if not self.image_gc_low_percent < self.image_gc_high_percent <= 100:
            raise ConfigurationError(
                f"image_gc_low_percent ({self.image_gc_low_percent}) must be below "
                f"image_gc_high_percent ({self.image_gc_high_percent}), and that at most 100"
            )
        scheme = self.database_url.partition("://")[0]
        if self.database_url and scheme.partition("+")[0] not in {"postgresql", "postgres"}:
            raise ConfigurationError(
                f'DATABASE_URL must begin with postgresql://, not "{scheme}://"'
            )


def _check_ranges(pods: str, services: str) -> None:
    service_range = _range("service_range", services)
    if pods == NO_NETWORK:
        return
    pod_range = _range("pod_range", pods)
    if pod_range.overlaps(service_range):
        raise ConfigurationError(f"pod_range {pods} and service_range {services} overlap")


def _range(name: str, text: str) -> IPv4Network:
    try:
        found = IPv4Network(text)
    except ValueError as error:
        usual = getattr(Settings, name)
        raise ConfigurationError(
            f'{name} must be an IPv4 range such as {usual}, not "{text}": {error}'
        ) from error
    if found.prefixlen > _LONGEST:
        raise ConfigurationError(f"{name} {text} is too small: it must be /{_LONGEST} or larger")
    return found


def default_data_dir() -> Path:
    """Return where data lives by the platform's convention; /var/lib/ironfree for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/ironfree")
    return Path(platformdirs.user_data_dir("ironfree", appauthor=False))


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings of an environment.

    Reads DATABASE_URL, and IRONFREE_ with every other field in capitals (IRONFREE_DATA_DIR, …).

    Raises:
        ConfigurationError: a value cannot be read.
    """

    def text(field_name: str) -> str:
        return environment.get(f"IRONFREE_{field_name.upper()}", "")

    def path(field_name: str) -> Path | None:
        return Path(found) if (found := text(field_name)) else None

    numbers: dict[str, int] = {}
    for name in _WHOLE:
        if found := text(name):
            try:
                numbers[name] = int(found)
            except ValueError as error:
                raise ConfigurationError(
                    f'IRONFREE_{name.upper()} must be a whole number, not "{found}"'
                ) from error
    return Settings(
        database_url=environment.get("DATABASE_URL", ""),
        data_dir=path("data_dir") or default_data_dir(),
        listen=text("listen") or Settings.listen,
        tls_certificate=path("tls_certificate"),
        tls_key=path("tls_key"),
        token=text("token"),
        profiles=path("profiles"),
        pod_range=text("pod_range") or Settings.pod_range,
        service_range=text("service_range") or Settings.service_range,
        share_images=_switch("IRONFREE_SHARE_IMAGES", text("share_images")),
        log_level=(text("log_level") or Settings.log_level).upper(),
        **numbers,
    )


def _switch(name: str, found: str) -> bool:
    if found.lower() not in {"", "true", "false"}:
        raise ConfigurationError(f'{name} must be true or false, not "{found}"')
    return found.lower() == "true"
