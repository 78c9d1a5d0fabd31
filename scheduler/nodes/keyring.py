"""Which credentials go with an image (kubelet's BasicDockerKeyring). Pure.

Entries come from Secrets of type kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg and
from a config.json; all have the same form. Nothing of them appears in a message.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from re import Pattern
from re import compile as regex

import msgspec

from ..images import RegistryCredentials
from ..objects.image_reference import DEFAULT_REGISTRY

_DEFAULT_KEY = f"index.{DEFAULT_REGISTRY}"
_ROOTS = ("/v1/", "/v2/")


class _Entry(msgspec.Struct):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""

    def __repr__(self) -> str:
        """Say nothing."""
        return "_Entry()"


class DockerConfig(msgspec.Struct):
    """The parts of a config.json that say how to log in."""

    auths: dict[str, _Entry] = {}
    creds_store: str = msgspec.field(name="credsStore", default="")
    cred_helpers: dict[str, str] = msgspec.field(name="credHelpers", default={})


_config = msgspec.json.Decoder(DockerConfig)
_legacy = msgspec.json.Decoder(dict[str, _Entry])

SECRET_TYPES = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
"""Types of Secrets with credentials, and the key of their data."""


def docker_config(content: bytes) -> DockerConfig | None:
    """Decode a config.json, None when it is none."""
    try:
        return _config.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def secret_config(kind: str, data: Mapping[str, bytes]) -> DockerConfig | None:
    """Decode a Secret, None when it has no credentials that can be read."""
    content = data.get(SECRET_TYPES.get(kind, ""), b"")
    if kind == "kubernetes.io/dockercfg":
        try:
            return DockerConfig(auths=_legacy.decode(content))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
    return docker_config(content) if content else None


@dataclass(frozen=True, slots=True)
class _Slot:
    """One place that credentials are for: a host, which may be a pattern, and a path."""

    key: str
    host: tuple[Pattern[str], ...]
    port: str
    path: str
    credentials: RegistryCredentials


class Keyring:
    """Credentials by place."""

    def __init__(self, configs: Iterable[DockerConfig] = ()) -> None:
        slots = [
            slot
            for config in configs
            for server, entry in config.auths.items()
            if (slot := _slot(server, entry)) is not None
        ]
        self._slots = sorted(slots, key=lambda slot: slot.key, reverse=True)

    def lookup(self, repository: str) -> tuple[RegistryCredentials, ...]:
        """Return what to try for a repository, the most specific first.

        Args:
            repository: in normal form, "docker.io/library/nginx".
        """
        host, _, path = repository.partition("/")
        name, port = _port(host)
        parts = name.split(".")
        found = [each for each in self._slots if _matches(each, parts, port, f"/{path}")]
        if not found and host == DEFAULT_REGISTRY:
            found = [each for each in self._slots if each.key == _DEFAULT_KEY]
        return tuple(each.credentials for each in found)

    def all(self) -> tuple[RegistryCredentials, ...]:
        """Return everything there is, once each."""
        return tuple(dict.fromkeys(slot.credentials for slot in self._slots))


def _matches(slot: _Slot, host: list[str], port: str, path: str) -> bool:
    return (
        slot.port == port
        and len(slot.host) == len(host)
        and path.startswith(slot.path)
        and all(pattern.match(part) for pattern, part in zip(slot.host, host, strict=True))
    )


def _slot(server: str, entry: _Entry) -> _Slot | None:
    credentials = _credentials(server, entry)
    if credentials is None:
        return None
    rest = server.removeprefix("https://").removeprefix("http://")
    place, slash, path = rest.partition("/")
    path = slash + path
    if path.startswith(_ROOTS):
        path = path[3:]
    path = "" if path == "/" else path
    name, port = _port(place)
    host = tuple(regex(translate(part)) for part in name.split("."))
    return _Slot(place + path, host, port, path, credentials)


def _port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdecimal() else (host, "")


def _credentials(server: str, entry: _Entry) -> RegistryCredentials | None:
    username, password = entry.username, entry.password
    if entry.auth:
        try:
            padded = entry.auth + "=" * (-len(entry.auth) % 4)
            plain = base64.b64decode(padded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        username, colon, password = plain.partition(":")
        if not colon:
            return None
        password = password.rstrip("\0")
    if not (username or password or entry.identitytoken):
        return None
    return RegistryCredentials(server, username, password, entry.identitytoken)
