"""Fixtures for every suite: real PostgreSQL, one server per session, one database per test."""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from scheduler.store.embedded import EmbeddedPostgres
from scheduler.store.migration import upgrade
from scheduler.store.postgres import connect
from scheduler.store.store import Store
from tests.watchdog import Watchdog

# A busy machine is no failure: no test asserts how long an example or its making takes. CI tries
# the same examples each time, so that it tells of the change and not of chance; others, new ones.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI", "").lower() == "true",
)
settings.load_profile("untimed")

TEMPLATE = "ironfree_template"
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class Server:
    """An embedded PostgreSQL in a thread of its own, with a migrated template database."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="ironfree-test-"))
        self.directory.chmod(0o755)
        self.url = ""
        self._error = None
        self._started = threading.Event()
        self._loop = None
        self._stop = None
        self._thread = threading.Thread(target=self._main, name="test PostgreSQL")

    def start(self):
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self

    def stop(self):
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _main(self):
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error
        finally:
            self._started.set()

    async def _serve(self):
        given = os.environ.get("IRONFREE_TEST_DATABASE_URL", "")
        if given:  # another server, such as the oldest we support
            await self._offer(given)
            return
        async with EmbeddedPostgres(self.directory / "data", settings=FAST).run() as url:
            await self._offer(url)

    async def _offer(self, url):
        connection = await connect(url)
        await connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
        await connection.close()
        await upgrade(of_database(url, TEMPLATE))
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.url = url
        self._started.set()
        await self._stop.wait()


def of_database(url, name):
    """Return the URL of another database of the same server."""
    return re.sub(r"(://[^/]*/)[^?]*", rf"\g<1>{name}", url)


class SharedServer:
    """Gives every xdist worker the one server that the controlling process runs."""

    def __init__(self):
        self.server = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node):
        if self.server is None:
            self.server = Server().start()
        node.workerinput["postgres_url"] = self.server.url

    def pytest_unconfigure(self):
        if self.server is not None:
            self.server.stop()


class CompiledCode:
    """Lets all Python processes of a run share compiled code where none may be written otherwise.

    Compiling everything anew is most of what the start of a service costs.
    """

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="ironfree-pycache-")
        os.environ["PYTHONPYCACHEPREFIX"] = self.directory
        del os.environ["PYTHONDONTWRITEBYTECODE"]

    def pytest_unconfigure(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def pytest_configure(config):
    if not config.getvalue("usepdb"):
        config.pluginmanager.register(Watchdog(float(config.getini("timeout"))))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SharedServer())
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            config.pluginmanager.register(CompiledCode())


def pytest_terminal_summary(terminalreporter):
    """Print how long recoveries took (tests/e2e/recovery.py); no test asserts it."""
    reports = terminalreporter.getreports("passed")
    told = [said for r in reports for name, said in r.user_properties if name == "time to recover"]
    if told:
        terminalreporter.section("time to recover, until desired is observed again")
        terminalreporter.write_line("\n".join(told))


@pytest.fixture(scope="session")
def postgres_url(request):
    """A running PostgreSQL server (not crash safe), with the template database."""
    given = getattr(request.config, "workerinput", {}).get("postgres_url")
    if given:
        yield given
        return
    server = Server().start()
    yield server.url
    server.stop()


@contextlib.asynccontextmanager
async def _database(postgres_url):
    name = f"test_{uuid.uuid4().hex}"
    connection = await connect(postgres_url)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield of_database(postgres_url, name)
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def database_url(postgres_url):
    """A migrated, empty database of the test's own."""
    async with _database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(postgres_url):
    """A migrated database that the tests of a module share."""
    database = _database(postgres_url)
    with asyncio.Runner() as runner:
        yield runner.run(database.__aenter__())
        runner.run(database.__aexit__(None, None, None))


@pytest.fixture
async def second_database_url(postgres_url):
    """Another one."""
    async with _database(postgres_url) as url:
        yield url


@pytest.fixture
async def store(database_url):
    """A store on a database of the test's own."""
    async with Store.open(database_url) as opened:
        yield opened
