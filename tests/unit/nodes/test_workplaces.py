"""Directories with credentials in them go with their process, or soon after."""

import os
import subprocess
import sys
import tempfile

import pytest

from scheduler.nodes.workplaces import PREFIX, sweep, workplace

_USER = """
import sys, tempfile
from scheduler.nodes.workplaces import workplace
tempfile.tempdir = sys.argv[1]
with workplace() as directory:
    (directory / "key").write_text("secret")
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_workplace_is_this_users_own_and_goes_in_the_end(folder):
    with workplace() as directory:
        assert directory.parent == folder
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "some").mkdir()
        assert sweep() == 0, "it is in use"
        assert directory.exists()
    assert [*folder.iterdir()] == []


def test_what_a_killed_process_left_is_swept_but_not_what_one_uses(folder):
    command = [sys.executable, "-c", _USER, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        directory = folder / process.stdout.readline().strip()
        assert sweep() == 0
        assert (directory / "key").read_text() == "secret"
        process.kill()
    assert directory.exists()
    assert sweep() == 1
    assert not directory.exists()


def test_what_only_has_the_name_is_left_alone(folder):
    loose = folder / f"{PREFIX}loose"
    loose.mkdir(mode=0o755)
    file = folder / f"{PREFIX}file"
    file.touch()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    link = folder / f"{PREFIX}link"
    link.symlink_to(elsewhere)
    assert sweep() == 0
    assert {*folder.iterdir()} == {loose, file, elsewhere, link}


def test_one_that_is_swept_before_it_is_locked_is_made_again(folder, monkeypatch):
    made, make = [], tempfile.mkdtemp

    def swept(**given):
        made.append(make(**given))
        if len(made) < 3:
            os.rmdir(made[-1])
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    with workplace() as directory:
        assert str(directory) == made[2]
    with pytest.raises(FileNotFoundError), workplace_of_nobody(monkeypatch, folder):
        pass


def workplace_of_nobody(monkeypatch, folder):
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(folder / "gone"))
    return workplace()
