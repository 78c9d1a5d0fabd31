"""A fake engine on a unix socket, and the driver connected to it; two hosts in namespaces."""

import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver

from plugins.docker.tests.fake_engine import FakeEngine
from plugins.docker.tests.network_hosts import PROGRAM, HostNetwork, Hosts, join
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


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if not PROGRAM.is_file():
        pytest.skip("needs an amd64 or arm64 processor")
    with contextlib.ExitStack() as closing:
        try:
            one, other = (closing.enter_context(contextlib.closing(HostNetwork(n))) for n in (1, 2))
        except PermissionError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        join(one, other)
        yield one, other
