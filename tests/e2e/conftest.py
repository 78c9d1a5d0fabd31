"""The lab of real Docker hosts as fixtures: booted once per process, reset after each test."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.lab import Host, Lab, missing_requirements

HOSTS = 3


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
