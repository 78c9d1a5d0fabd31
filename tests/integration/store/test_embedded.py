"""Our own PostgreSQL: starts, stops, recovers, and stays alone on its data."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from scheduler.errors import ConfigurationError
from scheduler.store.embedded import EmbeddedPostgres
from scheduler.store.postgres import CONNECTION_ERRORS, connect

SERVICE = """
import asyncio, sys
from pathlib import Path
from scheduler.store.embedded import EmbeddedPostgres
async def main():
    async with EmbeddedPostgres(Path(sys.argv[1])).run() as url:
        print(url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def value(url, query):
    connection = await connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def until_it_answers(url, query):
    while True:
        with suppress(*CONNECTION_ERRORS):
            return await value(url, query)
        await asyncio.sleep(0.02)


def server_pid(server):
    return int((server.cluster / "postmaster.pid").read_text().splitlines()[0])


def user_of(pid):
    return Path(f"/proc/{pid}").stat().st_uid


async def test_a_restart_finds_its_data(data_dir):
    async with EmbeddedPostgres(data_dir).run() as url:
        await value(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    async with EmbeddedPostgres(data_dir).run() as url:
        assert await value(url, "SELECT answer FROM kept") == 42


async def test_the_server_is_not_root_and_not_on_the_network(data_dir):
    server = EmbeddedPostgres(data_dir)
    async with server.run() as url:
        assert user_of(server_pid(server)) != 0
        assert await value(url, "SHOW listen_addresses") == ""
        assert await value(url, "SHOW fsync") == "on"
        assert await value(url, "SHOW synchronous_commit") == "on"
        assert os.stat(url.partition("host=")[2]).st_mode & 0o777 == 0o700


async def test_two_services_cannot_share_a_data_directory(data_dir):
    async with EmbeddedPostgres(data_dir).run() as url:
        with pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"):
            await EmbeddedPostgres(data_dir).run().__aenter__()
        assert await value(url, "SELECT 1") == 1


async def test_what_a_killed_service_left_running_is_taken_over(data_dir):
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    url = (await service.stdout.readline()).decode().strip()
    await value(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    service.kill()
    await service.wait()
    server = EmbeddedPostgres(data_dir)
    left = server_pid(server)
    async with server.run() as again:
        assert server_pid(server) != left
        assert await value(again, "SELECT answer FROM kept") == 42


async def test_a_server_that_dies_is_restarted(data_dir):
    server = EmbeddedPostgres(data_dir)
    async with server.run() as url:
        await value(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(server_pid(server), signal.SIGQUIT)  # pg_ctl stop -m immediate
        assert await until_it_answers(url, "SELECT answer FROM kept") == 42


async def test_a_stale_pid_file_of_another_process_is_ignored(data_dir):
    async with EmbeddedPostgres(data_dir).run():
        pass
    pidfile = data_dir / "postgres" / "postmaster.pid"
    pidfile.write_text(f"{os.getpid()}\n{data_dir}/postgres\n")
    async with EmbeddedPostgres(data_dir).run() as url:
        assert await value(url, "SELECT 1") == 1


async def test_an_interrupted_setup_is_begun_again(data_dir):
    cluster = data_dir / "postgres"
    cluster.mkdir(parents=True)
    (cluster / "base").mkdir()
    (cluster / "postgresql.conf").write_text("half a")
    async with EmbeddedPostgres(data_dir).run() as url:
        assert await value(url, "SELECT 1") == 1


async def test_a_long_path_still_has_a_socket(data_dir):
    deep = data_dir / ("long" * 20) / ("longer" * 10)
    async with EmbeddedPostgres(deep).run() as url:
        assert await value(url, "SELECT 1") == 1
        assert len(url.partition("host=")[2]) < 100


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
async def test_a_directory_the_server_may_not_enter(data_dir):
    data_dir.parent.chmod(0o700)
    with pytest.raises(ConfigurationError, match="may not enter"):
        await EmbeddedPostgres(data_dir / "x").run().__aenter__()


async def test_a_broken_cluster_says_so(data_dir):
    async with EmbeddedPostgres(data_dir).run():
        pass
    (data_dir / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ConfigurationError, match=r"did not start.*version"):
        await EmbeddedPostgres(data_dir).run().__aenter__()
