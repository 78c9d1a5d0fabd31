"""What can be set, from the environment; the command line overrides single fields.

Imports nothing of the package but its errors.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from .errors import ConfigurationError

_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR"})


@dataclass(frozen=True)
class Settings:
    """The service's settings; change them with dataclasses.replace.

    Args:
        database_url: a PostgreSQL ≥ 14 of somebody else's; "" runs the embedded one.
        data_dir: the embedded database, certificates and tokens.
        listen, port: where the API listens.
        log_level: DEBUG, INFO, WARNING or ERROR.
        tombstone_seconds: how long a watch may be away and still continue where it was.
        event_seconds: age at which Event objects are removed (Kubernetes: one hour).
        decision_days: age at which decision records are removed.
    """

    database_url: str
    data_dir: Path
    listen: str = "127.0.0.1"
    port: int = 7443
    log_level: str = "INFO"
    tombstone_seconds: int = 3600
    event_seconds: int = 3600
    decision_days: int = 180

    def __post_init__(self) -> None:
        if self.log_level not in _LEVELS:
            raise ConfigurationError(
                f'log level "{self.log_level}" is unknown; use one of {", ".join(sorted(_LEVELS))}'
            )
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"port {self.port} is not between 0 and 65535")
        for name in ("tombstone_seconds", "event_seconds", "decision_days"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} must be positive")
        scheme = self.database_url.partition("://")[0]
        if self.database_url and scheme.partition("+")[0] not in {"postgresql", "postgres"}:
            raise ConfigurationError(
                f'DATABASE_URL must begin with postgresql://, not "{scheme}://"'
            )


def default_data_dir() -> Path:
    """Return where data lives by the platform's convention; /var/lib/ironfree for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/ironfree")
    return Path(platformdirs.user_data_dir("ironfree", appauthor=False))


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings of an environment.

    Reads DATABASE_URL, and IRONFREE_ with DATA_DIR, LISTEN, PORT, LOG_LEVEL, TOMBSTONE_SECONDS,
    EVENT_SECONDS and DECISION_DAYS.

    Raises:
        ConfigurationError: a value cannot be read.
    """

    def number(name: str, default: int) -> int:
        text = environment.get(name, "")
        try:
            return int(text) if text else default
        except ValueError as error:
            raise ConfigurationError(f'{name} must be a whole number, not "{text}"') from error

    data_dir = environment.get("IRONFREE_DATA_DIR", "")
    return Settings(
        database_url=environment.get("DATABASE_URL", ""),
        data_dir=Path(data_dir) if data_dir else default_data_dir(),
        listen=environment.get("IRONFREE_LISTEN") or Settings.listen,
        port=number("IRONFREE_PORT", Settings.port),
        log_level=(environment.get("IRONFREE_LOG_LEVEL") or Settings.log_level).upper(),
        tombstone_seconds=number("IRONFREE_TOMBSTONE_SECONDS", Settings.tombstone_seconds),
        event_seconds=number("IRONFREE_EVENT_SECONDS", Settings.event_seconds),
        decision_days=number("IRONFREE_DECISION_DAYS", Settings.decision_days),
    )
