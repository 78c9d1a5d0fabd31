"""A build context from a git repository, by the git command line.

git runs with a configuration of its own, in a directory of its own: it asks nobody, runs no hook
and no filter, follows no redirect, fetches no submodule, and speaks https, ssh and http only.
Credentials are files in that directory, so they are neither arguments nor variables.
"""

import asyncio
import contextlib
import os
import shlex
import signal
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, quote, urlunsplit

from ..errors import SourceUnavailable
from ..objects.image_build import MOST_CONTEXT, GitSource, git_url

_MOST_FETCHED = 512 << 20  # bytes
_MOST_SAID = 64 << 10
_LONGEST_COMPLAINT = 600  # characters of it that are told
_BLOCK = 512  # bytes, by which POSIX shells limit files
_INHERITED = ("PATH", "https_proxy", "http_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO")
_CONFIGURATION = """
[protocol]
	allow = never
[protocol "https"]
	allow = always
[protocol "http"]
	allow = always
[protocol "ssh"]
	allow = always
[http]
	followRedirects = false
	lowSpeedLimit = 1000
	lowSpeedTime = 60
[core]
	hooksPath = /dev/null
	askPass =
[fetch]
	unpackLimit = 1
	recurseSubmodules = false
[gc]
	auto = 0
"""


@dataclass(frozen=True, slots=True)
class GitLogin:
    """How to show a server who one is; never printed.

    Args:
        username, password: for https and http.
        key, known_hosts: of OpenSSH, for ssh; without hosts those of the service's user count.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    key: bytes = field(default=b"", repr=False)
    known_hosts: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class GitContext:
    """What was fetched: the commit, and a tar archive of the directory."""

    commit: str
    archive: Path


def git_login(source: GitSource, kind: str, data: dict[str, bytes]) -> GitLogin:
    """Return the login in a Secret.

    Args:
        kind: the Secret's type.

    Raises:
        SourceUnavailable: it has none that goes with the repository's URL.
    """
    ssh = source.url.startswith("ssh://")
    if ssh and kind == "kubernetes.io/ssh-auth" and data.get("ssh-privatekey"):
        return GitLogin(key=data["ssh-privatekey"], known_hosts=data.get("known_hosts", b""))
    if not ssh and kind == "kubernetes.io/basic-auth" and data.get("password"):
        user, password = data.get("username", b""), data["password"]
        with contextlib.suppress(UnicodeDecodeError):
            return GitLogin(user.decode() or "git", password.decode())
    wanted = "ssh-auth (ssh-privatekey)" if ssh else "basic-auth (username, password)"
    raise SourceUnavailable(
        "InvalidSecret",
        f'secret "{source.secret_name}" must be of type kubernetes.io/{wanted} for {source.url}',
    )


async def git_context(source: GitSource, login: GitLogin | None, directory: Path) -> GitContext:
    """Fetch one commit, and make an archive of it.

    Args:
        directory: an empty one that is the caller's to remove.

    Raises:
        SourceUnavailable: with git's words.
    """
    url = git_url(source.url)
    assert isinstance(url, SplitResult)  # the API has seen to it
    git = _Git(directory, await asyncio.to_thread(_prepare, directory, url, login))
    await git.run("init", "--quiet", "--bare", "--template=", "repository")
    await asyncio.to_thread(_attributes, directory)
    fetch = ("fetch", "--quiet", "--depth=1", "--no-tags", "--", source.url, source.ref or "HEAD")
    await git.run(*fetch, within="repository", most=_MOST_FETCHED)
    named = await git.run("rev-parse", "--verify", "FETCH_HEAD^{commit}", within="repository")
    commit = named.decode().strip()
    tree = f"{commit}:{source.directory}" if source.directory else commit
    archive = ("archive", "--format=tar", "--output=../context.tar", tree)
    await git.run(*archive, within="repository", most=MOST_CONTEXT)
    return GitContext(commit, directory / "context.tar")


def _prepare(directory: Path, url: SplitResult, login: GitLogin | None) -> dict[str, str]:
    """Write git's configuration; returns its environment."""
    configuration = _CONFIGURATION
    ssh = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
    ssh += ["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15", "-a", "-x"]
    if login is not None and login.key:
        ssh += ["-i", str(_secret(directory / "key", login.key.rstrip() + b"\n"))]
        if login.known_hosts:
            ssh += ["-o", f"UserKnownHostsFile={_secret(directory / 'hosts', login.known_hosts)}"]
    else:  # the keys of the service's own user are for its hosts
        ssh += ["-o", "IdentityFile=none"]
    if login is not None and not login.key:
        user, password = quote(login.username, safe=""), quote(login.password, safe="")
        place = urlunsplit((url.scheme, f"{user}:{password}@{url.netloc}", "", "", ""))
        file = _secret(directory / "logins", f"{place}\n".encode())
        configuration += f'[credential]\n\thelper = "store --file={shlex.quote(str(file))}"\n'
    (directory / "gitconfig").write_text(configuration)
    inherited = {k: os.environ[k] for k in (*_INHERITED, *_TRUST) if k in os.environ}
    return inherited | {
        "HOME": str(directory),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(directory / "gitconfig"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_SSH_COMMAND": shlex.join(ssh),
        "GIT_SSH_VARIANT": "ssh",
    }


def _secret(path: Path, content: bytes) -> Path:
    path.touch(0o600)
    path.write_bytes(content)
    return path


def _attributes(directory: Path) -> None:
    """Have everything in the archive, as it is: a context is no release."""
    info = directory / "repository" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("* -export-ignore -export-subst\n")


class _Git:
    """Runs git in a directory."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._directory = directory
        self._environment = environment

    async def run(self, *words: str, within: str = ".", most: int = _MOST_FETCHED) -> bytes:
        """Run a command to its end; returns what it printed.

        Args:
            within: below the directory.
            most: bytes of each file that it writes.
        """
        limited = 'ulimit -f "$0" && exec git "$@"'  # a limit that holds for what git starts, too
        try:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", limited, str(most // _BLOCK), *words),
                cwd=self._directory / within,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise SourceUnavailable("GitFailed", f"git cannot be started: {error}") from error
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.TaskGroup() as group:
                printed = group.create_task(_some(process.stdout))
                said = group.create_task(_some(process.stderr))
            code = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if code != 0:
            raise SourceUnavailable("GitFailed", _complaint(words[0], code, said.result(), most))
        return printed.result()


async def _some(stream: asyncio.StreamReader) -> bytes:
    """Return the end of what comes, having read it all."""
    kept = b""
    while chunk := await stream.read(_MOST_SAID):
        kept = (kept + chunk)[-_MOST_SAID:]
    return kept


def _complaint(verb: str, code: int, said: bytes, most: int) -> str:
    if code == 127:
        return "git is not installed where Ironfree runs; install it there"
    text = " ".join(said.decode(errors="replace").split())[-_LONGEST_COMPLAINT:]
    large = code in {-signal.SIGXFSZ, 128 + signal.SIGXFSZ} or "index-pack" in text
    limit = f"; the repository is larger than {most >> 20} MiB" if large else ""
    return f"git {verb}: {text or f'exit code {code}'}{limit}"
