"""Names of images mean what they mean to Docker and kubelet."""

import pytest

from scheduler.objects.image_reference import (
    ImageReference,
    InvalidReference,
    default_pull_policy,
    image_reference,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("user/app", "docker.io/user/app:latest"),
        ("index.docker.io/app", "docker.io/library/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("registry:5000/team/app:v1", "registry:5000/team/app:v1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        (f"quay.io/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        (f"quay.io/a/b:v1@{DIGEST}", f"quay.io/a/b:v1@{DIGEST}"),
    ],
)
def test_a_name_in_its_normal_form(name, normal):
    reference = image_reference(name)
    assert isinstance(reference, ImageReference)
    assert str(reference) == normal


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Not An Image",
        "app:",
        "app:-v1",
        "App",
        "quay.io/App",
        "a//b",
        "app@sha256:short",
        f"app@{DIGEST.upper()}",
        "0123456789abcdef" * 4,
        "registry:port/app",
        "x" * 2000,
    ],
)
def test_what_is_no_name_says_why(name):
    reference = image_reference(name)
    assert isinstance(reference, InvalidReference)
    assert reference.why


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("registry:5000/app", "Always"),
        (f"app:latest@{DIGEST}", "Always"),
        ("app:v1", "IfNotPresent"),
        (f"app@{DIGEST}", "IfNotPresent"),
        (f"app:v1@{DIGEST}", "IfNotPresent"),
        ("Not An Image", "IfNotPresent"),
    ],
)
def test_the_default_pull_policy_follows_the_tag(name, policy):
    assert default_pull_policy(name) == policy
