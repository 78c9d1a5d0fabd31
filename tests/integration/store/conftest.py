"""Data directories that the server's user may enter."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def data_dir():
    directory = Path(tempfile.mkdtemp(prefix="ironfree-data-"))
    directory.chmod(0o755)
    yield directory / "data"
    shutil.rmtree(directory)
