"""The service's own credentials, of a file and of real helper programs."""

import json
import os
import stat
import sys

import pytest

from scheduler.nodes import config_json
from scheduler.nodes.config_json import ConfigJson
from scheduler.objects.image_reference import image_reference

HELPER = """#!{python}
import sys
server = sys.stdin.read()
{body}
"""


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Write a config.json, and helpers by name, where they are looked for."""

    def write(config, **helpers):
        for name, body in helpers.items():
            program = tmp_path / f"docker-credential-{name}"
            program.write_text(HELPER.format(python=sys.executable, body=body))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        path = tmp_path / "config.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return ConfigJson(path)

    return write


def answers(user):
    """A program that answers with a user, and with the server it was asked for as secret."""
    answer = {"ServerURL": "x", "Username": user}
    return f"import json; print(json.dumps({answer} | {{'Secret': server}}))"


async def found(config, image):
    return [(each.username, each.password) for each in await config.lookup(image_reference(image))]


async def test_the_file_alone(configured):
    config = configured({"auths": {"r.io": {"username": "me", "password": "p"}}})
    assert await found(config, "r.io/app") == [("me", "p")]
    assert await found(config, "q.io/app") == []


async def test_a_helper_of_the_registry_then_the_store_then_the_file(configured):
    config = configured(
        {
            "auths": {"r.io": {"username": "file", "password": "p"}},
            "credHelpers": {"r.io": "one"},
            "credsStore": "all",
        },
        one=answers("one"),
        all=answers("all"),
    )
    assert await found(config, "r.io/app") == [("one", "r.io"), ("file", "p")]
    assert await found(config, "q.io/app") == [("all", "q.io")]
    assert await found(config, "nginx") == [("all", "https://index.docker.io/v1/")]


async def test_a_token_is_no_password(configured):
    config = configured({"credsStore": "tok"}, tok=answers("<token>"))
    (credentials,) = await config.lookup(image_reference("r.io/app"))
    assert (credentials.username, credentials.identity_token) == ("", "r.io")


@pytest.mark.parametrize("body", ["sys.exit(1)", "print('not json')", "print('[]')"])
async def test_a_helper_that_has_nothing_leaves_the_file(configured, body):
    config = {"auths": {"r.io": {"username": "me", "password": "p"}}, "credsStore": "bad"}
    assert await found(configured(config, bad=body), "r.io/app") == [("me", "p")]


async def test_a_helper_that_hangs_is_ended(configured, monkeypatch, caplog):
    monkeypatch.setattr(config_json, "HELPER_PATIENCE", 0.2)
    config = configured({"credsStore": "slow"}, slow="import time; time.sleep(1000)")
    assert await found(config, "r.io/app") == []
    assert "took more than" in caplog.text


@pytest.mark.parametrize("helper", ["absent", "../../bin/sh"])
async def test_a_helper_that_cannot_be_is_told(configured, caplog, helper):
    assert await found(configured({"credsStore": helper}), "r.io/app") == []
    assert "credential helper" in caplog.text


async def test_a_file_that_is_none_has_no_credentials(configured, tmp_path, caplog):
    assert await found(ConfigJson(tmp_path / "absent.json"), "r.io/app") == []
    assert caplog.text == ""
    assert await found(configured("{"), "r.io/app") == []
    assert "is not a Docker configuration" in caplog.text
