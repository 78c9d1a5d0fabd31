"""The files of written volumes, and who a container runs as."""

import pytest

from scheduler.nodes.environment import ConfigProblem, PodFacts
from scheduler.nodes.security import (
    effective,
    lone_group,
    root_problem,
    runs_as_non_root,
    with_group,
)
from scheduler.nodes.volume_content import decoded, files_of, sources, version
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Container, Pod, PodSpec, PodStatus, ResourceRequirements, Volume
from scheduler.objects.security import PodSecurityContext, Profile, SecurityContext
from scheduler.objects.stored import ObjectKey
from scheduler.objects.volumes import (
    ConfigMapSource,
    DownwardFile,
    DownwardSource,
    FieldRef,
    KeyToPath,
    ProjectedSource,
    Projection,
    ResourceFieldRef,
    SecretSource,
)
from scheduler.volumes import VolumeFile

LOOK, KEYS = ObjectKey("configmaps", "shop", "look"), ObjectKey("secrets", "shop", "keys")
CONTENTS = {LOOK: {"a": b"1", "b": b"2"}, KEYS: {"word": b"hush"}}


def pod(*volumes, **meta):
    container = Container("c", resources=ResourceRequirements(limits={"memory": "64Mi"}))
    return Pod(
        ObjectMeta(name="web", namespace="shop", uid="u", **meta),
        PodSpec(containers=(container,), volumes=volumes),
        PodStatus(),
        "h1",
        1,
        b"",
    )


def files(volume, contents=CONTENTS, **meta):
    return files_of(volume, PodFacts(pod(volume, **meta), "10.0.0.2", "192.0.2.1"), contents)


def test_whole_objects_and_chosen_keys():
    whole = files(Volume("v", config_map=ConfigMapSource("look")))
    assert whole.files == (VolumeFile("a", b"1"), VolumeFile("b", b"2"))
    assert not whole.memory
    items = (KeyToPath("word", "deep/w", 0o400),)
    chosen = files(Volume("v", secret=SecretSource("keys", items=items)))
    assert chosen.files == (VolumeFile("deep/w", b"hush", 0o400),)
    assert chosen.memory
    assert "hush" not in repr(chosen)


def test_what_is_missing_is_named_unless_it_is_optional():
    absent = files(Volume("v", secret=SecretSource("none")))
    assert absent == ConfigProblem('secret "none" not found')
    key = files(Volume("v", config_map=ConfigMapSource("look", (KeyToPath("x", "x"),))))
    assert key == ConfigProblem("configmap look has no key x")
    assert files(Volume("v", secret=SecretSource("none", optional=True))).files == ()


def test_a_projected_volume_puts_sources_together_with_one_mode():
    of_pod = (
        DownwardFile("labels", FieldRef("metadata.labels")),
        DownwardFile("one", FieldRef("metadata.labels['app']"), mode=0o600),
        DownwardFile("memory", None, ResourceFieldRef("limits.memory", "c", "1Mi")),
    )
    projected = ProjectedSource(
        (
            Projection(config_map=ConfigMapSource("look")),
            Projection(secret=SecretSource(name="keys")),
            Projection(downward_api=DownwardSource(of_pod)),
        ),
        0o440,
    )
    volume = Volume("v", projected=projected)
    found = files(volume, labels={"b": 'x"y', "app": "web"})
    assert found.memory
    assert {f.path: (f.content, f.mode) for f in found.files} == {
        "a": (b"1", 0o440),
        "b": (b"2", 0o440),
        "word": (b"hush", 0o440),
        "labels": (b'app="web"\nb="x\\"y"', 0o440),
        "one": (b"web", 0o600),
        "memory": (b"64", 0o440),
    }
    assert sources(pod(volume)) == {LOOK, KEYS}


def test_the_version_tells_sandboxes_apart_and_labels_where_they_matter():
    config = Volume("v", config_map=ConfigMapSource("look"))
    assert version(pod(), 0) == ""
    assert version(pod(config), 0) != version(pod(config), 1)
    assert version(pod(config, labels={"a": "b"}), 0) == version(pod(config), 0)
    for field, depends in (("metadata.labels['a']", True), ("metadata.name", False)):
        own = Volume("v", downward_api=DownwardSource((DownwardFile("f", FieldRef(field)),)))
        assert (version(pod(own, labels={"a": "b"}), 0) != version(pod(own), 0)) is depends
    assert version(pod(), 0, access=True) != version(pod(), 1, access=True)


def test_data_is_decoded():
    assert decoded("configmaps", {"a": "é"}, {"b": "AAE="}) == {"a": "é".encode(), "b": b"\0\1"}
    assert decoded("secrets", {"a": "aHVzaA=="}, {}) == {"a": b"hush"}


def test_a_group_alone_is_beside_the_images_user():
    spec = PodSpec(security_context=PodSecurityContext(run_as_group=3000))
    assert lone_group(spec, Container("c")) == 3000
    own = SecurityContext(run_as_group=0)
    assert lone_group(spec, Container("c", security_context=own)) == 0
    named = Container("c", security_context=SecurityContext(run_as_user=1000))
    assert (lone_group(spec, named), effective(spec, named).user) == (None, "1000:3000")
    users = ("", "web", "web:www", "10:20")
    assert [with_group(u, 3000) for u in users] == ["0:3000", "web:3000", "web:3000", "10:3000"]


def test_a_container_runs_as_it_says_or_as_its_pod_says():
    of_pod = PodSecurityContext(
        run_as_user=1,
        run_as_group=2,
        supplemental_groups=(5, 6),
        fs_group=5,
        run_as_non_root=True,
        seccomp_profile=Profile("Unconfined"),
    )
    spec = PodSpec(security_context=of_pod)
    plain = effective(spec, Container("c"))
    assert (plain.user, plain.groups, plain.seccomp) == ("1:2", (5, 6), "unconfined")
    own = SecurityContext(
        run_as_user=0,
        run_as_non_root=False,
        seccomp_profile=Profile("RuntimeDefault"),
        app_armor_profile=Profile("Localhost", "mine"),
        allow_privilege_escalation=False,
    )
    found = effective(spec, Container("c", security_context=own))
    assert (found.user, found.seccomp, found.apparmor) == ("0:2", "", "mine")
    assert found.no_new_privileges
    assert lone_group(spec, Container("c")) is None
    assert runs_as_non_root(spec, Container("c"))
    assert not runs_as_non_root(spec, Container("c", security_context=own))


@pytest.mark.parametrize(
    ("user", "words"),
    [("", "will run as root"), ("root", "will run as root"), ("0:5", "breaks"), ("www", "(www)")],
)
def test_who_counts_as_root(user, words):
    assert words in root_problem(user)
    assert root_problem("1000:0") == ""
