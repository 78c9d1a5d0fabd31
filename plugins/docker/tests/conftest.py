"""A fake engine on a unix socket, and the driver connected to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import Host, HostAddress


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    engine = FakeEngine(images={"app:v1"})
    yield engine
    await engine.stop()


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> HostAddress:
    return HostAddress("one", await engine.serve(tmp_path / "docker.sock"))


@pytest.fixture
async def host(address: HostAddress) -> AsyncIterator[Host]:
    host = await DockerDriver().connect(address)
    yield host
    await host.close()
