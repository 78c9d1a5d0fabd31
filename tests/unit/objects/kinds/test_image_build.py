"""What an ImageBuild may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.objects.image_build import git_url, inner_path_complaint
from scheduler.objects.kinds import REGISTRY

KIND = REGISTRY.by_resource("imagebuilds.ironfree.dev")
TEXT = {"dockerfile": {"text": "FROM x\n"}}


def causes(**spec):
    obj = {"metadata": {"name": "b"}, "spec": {"image": "new:v1", **spec}}
    KIND.default(obj)
    return {cause.field: cause.message for cause in KIND.validate(obj)}


@pytest.mark.parametrize(
    "spec",
    [
        {"dockerfile": {"text": "FROM x\n", "files": {"a/b": "1", "a/c": "2"}}},
        {"git": {"url": "https://h.example/r.git", "ref": "v1.0", "directory": "a/b"}},
        {"git": {"url": "ssh://git@h:22/r", "secretName": "s", "ref": "a" * 40}},
        {"git": {"url": "http://127.0.0.1:80/r"}},
        {"commit": {"pod": "web"}, "push": {"secretName": "s"}, "image": "r:5/a:v1"},
        {"upload": {}, "buildArgs": {"A": "1"}, "target": "last", "nodeSelector": {"a": "b"}},
        {**TEXT, "distributeTo": {}, "image": "me/app"},
    ],
)
def test_what_is_right_is_taken(spec):
    assert causes(**spec) == {}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec"),
        ({**TEXT, "upload": {}}, "spec"),
        ({**TEXT, "image": ""}, "spec.image"),
        ({**TEXT, "image": "No/Name"}, "spec.image"),
        ({**TEXT, "image": "a@sha256:" + "0" * 64}, "spec.image"),
        ({**TEXT, "image": "ironfree/pause:1"}, "spec.image"),
        ({**TEXT, "image": "docker.io/ironfree/pause:1"}, "spec.image"),
        ({**TEXT, "push": {}}, "spec.image"),
        ({"dockerfile": {"text": " "}}, "spec.dockerfile.text"),
        ({"dockerfile": {"text": "x", "files": {"../a": ""}}}, "spec.dockerfile.files"),
        ({"dockerfile": {"text": "x", "files": {"Dockerfile": ""}}}, "spec.dockerfile.files"),
        ({"dockerfile": {"text": "x", "files": {"a": "", "a/b": ""}}}, "spec.dockerfile.files"),
        ({"dockerfile": {"text": "x" * (1 << 20 | 1)}}, "spec.dockerfile"),
        ({"git": {"url": "/srv/r"}}, "spec.git.url"),
        ({"git": {"url": "file:///srv/r"}}, "spec.git.url"),
        ({"git": {"url": "ext::sh -c id"}}, "spec.git.url"),
        ({"git": {"url": "git@h:r"}}, "spec.git.url"),
        ({"git": {"url": "https://me:hush@h/r"}}, "spec.git.url"),
        ({"git": {"url": "ssh://-oProxyCommand=x/r", "secretName": "s"}}, "spec.git.url"),
        ({"git": {"url": "ssh://-x@h/r", "secretName": "s"}}, "spec.git.url"),
        ({"git": {"url": "ssh://git@h/r"}}, "spec.git.secretName"),
        ({"git": {"url": "https://h/r", "ref": "--upload-pack=x"}}, "spec.git.ref"),
        ({"git": {"url": "https://h/r", "ref": "a:b"}}, "spec.git.ref"),
        ({"git": {"url": "https://h/r", "ref": "+a"}}, "spec.git.ref"),
        ({"git": {"url": "https://h/r", "directory": "/etc"}}, "spec.git.directory"),
        ({"git": {"url": "https://h/r", "dockerfile": "../D"}}, "spec.git.dockerfile"),
        ({"commit": {}}, "spec.commit.pod"),
        ({"commit": {"pod": "p"}, "nodeName": "n"}, "spec.nodeName"),
        ({**TEXT, "buildArgs": {"a b": "1"}}, "spec.buildArgs"),
        ({**TEXT, "target": "-x"}, "spec.target"),
        ({**TEXT, "nodeName": "a_b"}, "spec.nodeName"),
        ({**TEXT, "deadlineSeconds": 0}, "spec.deadlineSeconds"),
        ({**TEXT, "distributeTo": {"matchLabels": {"a b": "1"}}}, "spec.distributeTo.matchLabels"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(spec, field):
    found = causes(**spec)
    assert list(found) == [field]
    assert "hush" not in str(found)


@given(st.text())
def test_any_text_is_a_url_or_says_why_not(text):
    assert git_url(text)


@given(st.text(alphabet="ab./\\ \n", max_size=12))
def test_an_inner_path_stays_inside(path):
    if not inner_path_complaint(path):
        assert not path.startswith("/")
        assert ".." not in path.split("/")


def test_a_build_argument_that_sounds_like_a_secret_is_warned_of():
    arguments = {"VERSION": "1", "NPM_TOKEN": "hush", "dbPassword": "hush", "MONKEY": "1"}
    found = [*KIND.warnings({"spec": {**TEXT, "buildArgs": arguments}})]
    assert [each.partition(":")[0] for each in found] == [
        "spec.buildArgs[NPM_TOKEN]",
        "spec.buildArgs[dbPassword]",
    ]
    assert "hush" not in "".join(found)
