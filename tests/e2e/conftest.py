"""The lab of real Docker hosts as fixtures: booted once per process, reset after each test."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.lab import Host, Lab, missing_requirements
from tests.e2e.recovery import Recovery, measured
from tests.e2e.service import Ironfree, eventually

HOSTS = 3
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here e2e, and keep it in one worker: one lab serves all."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("lab"))


@pytest.fixture(scope="session")
def lab_of_session() -> Iterator[Lab]:
    """The booted lab as it is; use `lab` instead."""
    if reason := missing_requirements():
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    lab = Lab.start(HOSTS)
    yield lab
    lab.close()


@pytest.fixture
def lab(lab_of_session: Lab) -> Iterator[Lab]:
    """Three healthy Docker hosts without containers."""
    yield lab_of_session
    lab_of_session.reset()


@pytest.fixture
def host(lab: Lab) -> Host:
    """The first host of the lab."""
    return lab.hosts[0]


@contextlib.contextmanager
def _running(database_url: str) -> Iterator[Ironfree]:
    with tempfile.TemporaryDirectory(prefix="ironfree-e2e-") as directory:
        service = Ironfree(Path(directory), database_url)
        try:
            service.start()
            yield service
        finally:
            service.stop()


@pytest.fixture
def ironfree(lab: Lab, database_url: str) -> Iterator[Ironfree]:
    """Ironfree in a process of its own, with the lab's hosts as Ready nodes."""
    with _running(database_url) as service:
        service.add_hosts(lab)
        yield service


@pytest.fixture(scope="module")
def ironfree_of_module(lab_of_session: Lab, module_database_url: str) -> Iterator[Ironfree]:
    """Use `shared_ironfree` instead."""
    with _running(module_database_url) as service:
        service.add_hosts(lab_of_session)
        yield service
    lab_of_session.reset()  # since the last test, it has had hosts serve its network again


@pytest.fixture
def shared_ironfree(lab: Lab, ironfree_of_module: Ironfree) -> Iterator[Ironfree]:
    """As `ironfree`, but one process for all tests of a module; emptied after each."""
    service = ironfree_of_module
    service.wait_for_hosts(lab.hosts)
    yield service
    service.kubectl("delete", "rc,deployments,jobs,pdb,pods", "--all", "--wait=false")
    lab.reset()  # so that all hosts answer
    eventually(lambda: not service.pods(), what="all pods are gone")


@pytest.fixture
def bare_ironfree(lab: Lab, database_url: str) -> Iterator[Ironfree]:
    """Ironfree in a process of its own, without hosts."""
    with _running(database_url) as service:
        yield service


@pytest.fixture
def recovery(record_property: Callable[[str, object], None]) -> Recovery:
    """Measures the time from the end of a fault until all is as desired."""
    return measured(record_property)


@pytest.fixture
def neighbours(
    lab: Lab, host: Host, database_url: str, second_database_url: str
) -> Iterator[tuple[Ironfree, Ironfree]]:
    """Two installations, each with the lab's first host as its only node."""
    with _running(database_url) as one, _running(second_database_url) as other:
        one.add_hosts(lab, [host])
        other.add_hosts(lab, [host])
        yield one, other
