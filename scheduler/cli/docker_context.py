"""Docker contexts: where an engine is and how to prove oneself to it, as `docker context` keeps it.

Source: docker/cli, "cli/context/store": contexts/meta/DIGEST/meta.json and contexts/tls/DIGEST/
docker/*.pem below the configuration's folder, the digest being the name's SHA-256.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..errors import BadRequest

_LOCAL = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class DockerContext:
    """Args: tls: folder with ca.pem, cert.pem and key.pem; None without."""

    address: str
    tls: Path | None


class _Endpoint(msgspec.Struct, rename="pascal"):
    host: str = ""
    skip_tls_verify: bool = msgspec.field(default=False, name="SkipTLSVerify")


class _Meta(msgspec.Struct, rename="pascal"):
    endpoints: dict[str, _Endpoint] = {}


def read_context(name: str) -> DockerContext:
    """Return what a context says.

    Raises:
        BadRequest: there is none of that name, or it cannot be used; says why.
    """
    if name == "default":
        return DockerContext(os.environ.get("DOCKER_HOST") or _LOCAL, _given_tls())
    digest = hashlib.sha256(name.encode()).hexdigest()
    contexts = _folder() / "contexts"
    try:
        content = (contexts / "meta" / digest / "meta.json").read_bytes()
        endpoint = msgspec.json.decode(content, type=_Meta).endpoints.get("docker", _Endpoint())
    except FileNotFoundError as error:
        raise BadRequest(
            f'no Docker context "{name}" in {contexts}; `docker context ls` lists them'
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        raise BadRequest(f'Docker context "{name}" cannot be read: {error}') from error
    if not endpoint.host:
        raise BadRequest(f'Docker context "{name}" says no address of an engine')
    if endpoint.skip_tls_verify:
        raise BadRequest(
            f'Docker context "{name}" skips the verification of certificates, which Ironfree does '
            "not: add its CA to the context"
        )
    tls = contexts / "tls" / digest / "docker"
    address = re.sub(r"\Ahttps?://", "tcp://", endpoint.host)  # which the docker SDK writes
    return DockerContext(address, tls if tls.is_dir() else None)


def _folder() -> Path:
    given = os.environ.get("DOCKER_CONFIG", "")
    return Path(given) if given else Path.home() / ".docker"


def _given_tls() -> Path | None:
    """Return what `docker` itself would take (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH)."""
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        return None
    given = os.environ.get("DOCKER_CERT_PATH", "")
    return Path(given) if given else _folder()
