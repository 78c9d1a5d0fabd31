"""Credentials go with images as kubelet's keyring has it."""

import base64
import json

import pytest

from scheduler.nodes.keyring import DockerConfig, Keyring, docker_config, secret_config


def keyring(**auths):
    entries = {server: {"username": user, "password": "p"} for server, user in auths.items()}
    config = docker_config(json.dumps({"auths": entries}).encode())
    return Keyring([config])


def users(found):
    return [each.username for each in found]


@pytest.mark.parametrize(
    ("server", "image", "matches"),
    [
        ("quay.io", "quay.io/team/app", True),
        ("https://quay.io", "quay.io/team/app", True),
        ("http://quay.io/v1/", "quay.io/team/app", True),
        ("quay.io/team", "quay.io/team/app", True),
        ("quay.io/team", "quay.io/teams/app", True),  # a prefix of text, as in kubelet
        ("quay.io/other", "quay.io/team/app", False),
        ("*.quay.io", "eu.quay.io/app", True),
        ("*.quay.io", "quay.io/app", False),
        ("*.quay.io", "a.eu.quay.io/app", False),
        ("e[a-z].quay.io", "eu.quay.io/app", True),
        ("reg:5000", "reg:5000/app", True),
        ("reg:5000", "reg:5001/app", False),
        ("reg", "reg:5000/app", False),
        ("*:5000", "reg:5000/app", True),
        ("https://index.docker.io/v1/", "docker.io/library/nginx", True),
        ("index.docker.io", "docker.io/user/app", True),
        ("docker.io", "docker.io/library/nginx", True),
        ("https://index.docker.io/v1/", "quay.io/app", False),
    ],
)
def test_where_an_entry_matches(server, image, matches):
    assert bool(keyring(**{server: "me"}).lookup(image)) is matches


def test_the_longest_path_comes_first_and_all_are_tried():
    ring = keyring(**{"quay.io": "host", "quay.io/team": "team", "quay.io/team/app": "app"})
    assert users(ring.lookup("quay.io/team/app")) == ["app", "team", "host"]
    assert users(ring.lookup("quay.io/other")) == ["host"]


def test_docker_hub_by_its_old_name_is_the_last_resort():
    ring = keyring(**{"docker.io/user": "user", "https://index.docker.io/v1/": "hub"})
    assert users(ring.lookup("docker.io/user/app")) == ["user"]
    assert users(ring.lookup("docker.io/library/app")) == ["hub"]


def test_auth_is_user_and_password_and_wins():
    auth = base64.b64encode(b"me:pass:word").decode().rstrip("=")
    config = docker_config(
        json.dumps({"auths": {"r.io": {"auth": auth, "username": "x"}}}).encode()
    )
    (found,) = Keyring([config]).lookup("r.io/app")
    assert (found.username, found.password) == ("me", "pass:word")


def test_identity_tokens_are_kept():
    config = docker_config(b'{"auths": {"r.io": {"identitytoken": "t"}}}')
    (found,) = Keyring([config]).lookup("r.io/app")
    assert found.identity_token == "t"


@pytest.mark.parametrize("entry", [{}, {"auth": "%%%"}, {"auth": "bm9jb2xvbg=="}])
def test_an_entry_that_says_nothing_is_left_out(entry):
    config = docker_config(json.dumps({"auths": {"r.io": entry, "http://[": entry}}).encode())
    assert Keyring([config]).lookup("r.io/app") == ()


def test_both_forms_of_secrets_are_read():
    entry = {"r.io": {"username": "me", "password": "p"}}
    new = {".dockerconfigjson": json.dumps({"auths": entry}).encode()}
    old = {".dockercfg": json.dumps(entry).encode()}
    for kind, data in ("kubernetes.io/dockerconfigjson", new), ("kubernetes.io/dockercfg", old):
        config = secret_config(kind, data)
        assert users(Keyring([config]).lookup("r.io/app")) == ["me"]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("Opaque", {".dockerconfigjson": b'{"auths":{}}'}),
        ("kubernetes.io/dockerconfigjson", {}),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b"[1]"}),
        ("kubernetes.io/dockercfg", {".dockercfg": b"\xff"}),
    ],
)
def test_what_is_no_such_secret_is_none(kind, data):
    assert secret_config(kind, data) is None


def test_nothing_secret_is_printed():
    config = docker_config(b'{"auths": {"r.io": {"username": "me", "password": "hush"}}}')
    assert "hush" not in f"{config!r}{Keyring([config]).lookup('r.io/app')!r}"


def test_an_empty_config_has_no_credentials():
    assert Keyring([DockerConfig()]).lookup("r.io/app") == ()
