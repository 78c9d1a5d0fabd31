"""An engine reached over SSH: one OpenSSH connection a host, a channel of it for each request's.

The system's `ssh` forwards a unix socket of our own to the engine's (`-L`, OpenSSH PROTOCOL, 2.4
direct-streamlocal), so no command runs on the host and nothing need be installed there. Docker's
own way, `docker system dial-stdio` in a session for each connection, is not used: sshd allows ten
sessions on a connection (sshd_config, MaxSessions), forwarded channels are not counted.

Keys, known hosts, jump hosts and agents are those of the service's user (~/.ssh/config).

A tunnel must not outlive a service that was killed: the kernel ends it then (prctl(2),
PR_SET_PDEATHSIG, which setpriv(1) of util-linux sets), and the next service removes its folder.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from scheduler.drivers import HostAddress
from scheduler.errors import DriverError, HostUnreachable

_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*)|\[(?P<ipv6>[0-9a-fA-F:.]+)\])"
    r"(?::(?P<port>\d{1,5}))?(?P<path>/[A-Za-z0-9_./-]*)?"
)
_SOCKET = "/var/run/docker.sock"
_CONNECT = 10.0
_END = 5.0
_SPEAKS = 1.0
_LONGEST_LINE = 500
_PREFIX = "ironfree-ssh-"
_NEW = 60.0  # seconds for which a folder may have no lock yet
_TIED = """
if setpriv --pdeathsig TERM true 2>/dev/null; then
  exec setpriv --pdeathsig TERM sh -c '[ "$PPID" = "$0" ] && exec "$@"' "$0" "$@"
fi
exec "$@"
"""
"""Has the kernel end a command with its parent, whose id comes first and which may have ended
while that was arranged. Without a setpriv that can, the command just runs."""
_OPTIONS = {
    "BatchMode": "yes",  # it asks nobody
    "ConnectTimeout": f"{_CONNECT:.0f}",
    "ControlMaster": "no",  # nor shares a connection of the user's
    "ControlPath": "none",
    "ExitOnForwardFailure": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "LocalCommand": "echo connected",
    "LogLevel": "INFO",  # which tells of channels that cannot be opened
    "PermitLocalCommand": "yes",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "5",
    "StreamLocalBindMask": "0177",
}
_MEND = (
    ("host key verification failed", "connect once by hand to take its key into known_hosts"),
    ("permission denied", "give the service's user a key that the host takes without a password"),
    ("could not resolve", "correct the name in spec.address"),
    ("prohibited", "set AllowStreamLocalForwarding yes in the host's sshd_config"),
    ("open failed", "is the engine's socket there, and may the user of spec.address use it?"),
)


@dataclass(frozen=True)
class Login:
    """A parsed ssh:// address.

    Args:
        user: "" for what the configuration of ssh says; port: 0 likewise.
        socket: the engine's, on the host.
    """

    host: str
    user: str = ""
    port: int = 0
    socket: str = _SOCKET


def login(address: HostAddress) -> Login:
    """Parse ssh://[user@]host[:port][/path/of.sock]; DriverError saying what to mend."""
    found = _ADDRESS.fullmatch(address.url)
    port = int(found["port"]) if found and found["port"] else 0
    if found is None or (found["port"] and port not in range(1, 65536)):
        shown = re.sub(r"//[^/@]*@", "//…@", address.url)  # no password in a condition
        raise DriverError(
            f"host {address.name}: address {shown!r} is not ssh://user@host:port; passwords have "
            "no place in it, keys come from the service user's ssh configuration"
        )
    path = found["path"] or ""
    socket = path if path.strip("/") else _SOCKET
    return Login(found["host"] or found["ipv6"], found["user"] or "", port, socket)


class _Folder:
    """Where the socket of a tunnel is; locked for as long as the process that made it lives."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def remove(self) -> None:
        """Remove it; removed already is fine."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def sweep() -> None:
    """Remove what tunnels of processes that were killed have left."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # gone, another user's, or locked: somebody has it
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(lock).st_mtime > _NEW:
                    shutil.rmtree(path)
            finally:
                os.close(lock)


class Tunnel:
    """A running ssh; `socket` leads to the engine for as long as it runs."""

    def __init__(self, name: str, folder: _Folder, process: asyncio.subprocess.Process) -> None:
        self.socket = str(folder.path / "engine")
        self._name = name
        self._folder = folder
        self._process = process
        self._words: deque[str] = deque(maxlen=5)
        self._spoke = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(), name=f"ssh to {name}")

    @classmethod
    async def open(cls, name: str, to: Login) -> "Tunnel":
        """Connect; HostUnreachable with ssh's own words and what to mend."""
        folder = _Folder()
        try:
            process = await asyncio.create_subprocess_exec(
                *_command(to, folder.path / "engine"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "SHELL": "/bin/sh", "LC_ALL": "C"},
                start_new_session=True,  # an interrupt from the terminal is for the service
            )
        except OSError as error:
            folder.remove()
            raise DriverError(f"host {name}: ssh cannot be run here: {error}") from error
        tunnel = cls(name, folder, process)
        try:
            await tunnel._connected()
        except BaseException:
            await tunnel.close()
            raise
        return tunnel

    async def close(self) -> None:
        """End it; ended already is fine."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_END):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await asyncio.wait({self._listener})
        self._folder.remove()

    async def explain(self, error: DriverError) -> DriverError:
        """Return a failure of a request with what ssh says of it, maybe a moment later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SPEAKS):
                await self._spoke.wait()
        said = self._said()
        return HostUnreachable(f"{error}; ssh says: {said}") if said else error

    async def _connected(self) -> None:
        assert self._process.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError, ValueError):
            async with asyncio.timeout(_CONNECT + _END):
                line = await self._process.stdout.readline()
        if line.strip() == b"connected":
            return
        await self.close()  # so that all is said
        said = self._said() or "it did not connect in time"
        raise HostUnreachable(f"host {self._name} cannot be reached over ssh: {said}")

    def _said(self) -> str:
        said = "; ".join(self._words)
        hint = next((mend for words, mend in _MEND if words in said.lower()), "")
        return f"{said} ({hint})" if hint else said

    async def _listen(self) -> None:
        """Keep the last words of ssh, which would stand still if nobody read them."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # longer than a line may be
                continue
            if not line:
                return
            if text := line.decode(errors="replace").strip()[:_LONGEST_LINE]:
                self._words.append(text)
                self._spoke.set()


def _command(to: Login, socket: Path) -> list[str]:
    """No value of an address can be taken for an option: each has its flag, the host comes last.

    Raises:
        FileNotFoundError: there is no ssh.
    """
    program = shutil.which("ssh")
    if program is None:
        raise FileNotFoundError("install the OpenSSH client")
    options = [f"-o{key}={value}" for key, value in _OPTIONS.items()]
    who = [f"-l{to.user}"] if to.user else []
    port = [f"-p{to.port}"] if to.port else []
    tied = ["sh", "-c", _TIED, str(os.getpid())]
    return [*tied, program, "-NT", *options, *who, *port, f"-L{socket}:{to.socket}", "--", to.host]
