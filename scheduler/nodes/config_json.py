"""The service's own Docker credentials: config.json and the credential helpers it names.

Read anew at each pull, so that `docker login` needs no restart. A helper is another program: it
gets a registry's name on its standard input and may take no longer than HELPER_PATIENCE. (The
docker SDK has the same, without a time limit and in a thread that cannot be ended.)
"""

import asyncio
import contextlib
import logging
import os
import re
from pathlib import Path

import msgspec

from ..images import RegistryCredentials
from ..objects.image_reference import DEFAULT_REGISTRY, ImageReference
from .keyring import DockerConfig, Keyring, docker_config

_log = logging.getLogger(__name__)
_LONGEST = 1 << 20
HELPER_PATIENCE = 15.0
_HELPER = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_DEFAULT_SERVER = "https://index.docker.io/v1/"
_TOKEN = "<token>"  # noqa: S105 - what helpers say in place of a user's name


def default_path() -> Path:
    """Return where Docker's tools look: $DOCKER_CONFIG, or ~/.docker."""
    directory = os.environ.get("DOCKER_CONFIG", "")
    return (Path(directory) if directory else Path("~/.docker").expanduser()) / "config.json"


class ConfigJson:
    """One config.json; one that is absent, too large or no JSON has no credentials."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def lookup(self, image: ImageReference) -> tuple[RegistryCredentials, ...]:
        """Return what to try for an image: of its registry's helper, then of the file itself."""
        content = await asyncio.to_thread(_read, self._path)
        config = docker_config(content) if content else None
        if config is None:
            if content:
                _log.warning("%s is not a Docker configuration; it is left out", self._path)
            return ()
        server = _DEFAULT_SERVER if image.registry == DEFAULT_REGISTRY else image.registry
        program = config.cred_helpers.get(server) or config.cred_helpers.get(image.registry, "")
        helped = await _ask(program or config.creds_store, server)
        own = Keyring([DockerConfig(auths=config.auths)]).lookup(image.repository)
        return (helped, *own) if helped is not None else own


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError:
        return b""
    if len(content) > _LONGEST:
        _log.warning("%s is larger than %d bytes; it is left out", path, _LONGEST)
        return b""
    return content


class _Answer(msgspec.Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


async def _ask(helper: str, server: str) -> RegistryCredentials | None:
    """Ask a helper; None when it has nothing, which is no failure: images may be public."""
    if not helper:
        return None
    if not _HELPER.match(helper):
        _log.warning("credential helper %r is no name of a program", helper[:80])
        return None
    program = f"docker-credential-{helper}"
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        _log.warning("credential helper %s cannot be started: %s", program, error.strerror)
        return None
    try:
        async with asyncio.timeout(HELPER_PATIENCE):
            output, _ = await process.communicate(server.encode())
    except TimeoutError:
        _log.warning("credential helper %s took more than %g s", program, HELPER_PATIENCE)
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        return None  # it has none for this registry
    try:
        answer = msgspec.json.decode(output, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        _log.warning("credential helper %s answered what is no answer", program)
        return None
    if answer.username == _TOKEN:
        return RegistryCredentials(server, identity_token=answer.secret)
    return RegistryCredentials(server, answer.username, answer.secret)
