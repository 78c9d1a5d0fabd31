"""What the containers of a pod find to ask the API with."""

import msgspec
import pytest

from scheduler.access import Holder, Tokens
from scheduler.nodes.api_access import (
    MOUNT_PATH,
    VOLUME,
    account_key,
    account_view,
    has_access,
    may_have_access,
    with_access,
)
from scheduler.nodes.environment import ConfigProblem, PodFacts
from scheduler.nodes.pod_case import spec_hash
from scheduler.nodes.pod_tokens import ApiForPods, PodTokens
from scheduler.nodes.translation import container_spec, sandbox_spec
from scheduler.nodes.volume_content import files_of, sources
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.names import label_name_complaints
from scheduler.objects.pod import (
    Container,
    EmptyDirVolumeSource,
    EphemeralContainer,
    Pod,
    PodSpec,
    PodStatus,
    Volume,
    VolumeMount,
)
from scheduler.objects.security import PodSecurityContext, SecurityContext
from scheduler.objects.stored import Body, ObjectKey, StoredObject
from scheduler.objects.volumes import ConfigMapSource, ProjectedSource, Projection, TokenSource
from scheduler.volumes import FilesVolume, Mount

TOKENS = PodTokens(ApiForPods(Tokens(bytes(32)), b"CA"), Holder("shop", "robot", "u-a"), 0, 0)
SILENT = Container("c")


def pod(*containers, **spec):
    made = PodSpec(containers=containers or (SILENT,), **spec)
    return Pod(ObjectMeta(name="web", namespace="shop", uid="u"), made, PodStatus(), "h1", 1, b"")


def mounting(path, name="v", **mount):
    return Container("c", volume_mounts=(VolumeMount(name, path, **mount),))


def account(**body):
    meta = ObjectMeta(name="robot", namespace="shop", uid="u-a")
    return account_view(
        StoredObject("serviceaccounts", meta, 1, 1, Body(msgspec.json.encode(body)), b"")
    )


def files(volume, of):
    return files_of(volume, PodFacts(of, "", ""), {}, TOKENS)


def test_every_container_but_ephemeral_ones_has_one_volume_mounted():
    plain = pod(
        SILENT,
        Container("d"),
        init_containers=(Container("i"),),
        ephemeral_containers=(EphemeralContainer("e"),),
    )
    spec = with_access(plain).spec
    sandbox = sandbox_spec(with_access(plain), 0, 1)
    assert sandbox.volumes == (FilesVolume(VOLUME.name),)
    assert sandbox.api_access
    assert not sandbox_spec(plain, 0, 1).api_access
    mount = Mount(VOLUME.name, MOUNT_PATH, read_only=True)
    for each in (*spec.init_containers, *spec.containers):
        assert container_spec(spec, each, 0, 0, ()).mounts == (mount,)
    assert spec.ephemeral_containers[0].volume_mounts == ()
    assert spec_hash(spec.containers[0], 0) == spec_hash(SILENT, 0), "nothing is restarted for it"
    assert list(label_name_complaints(VOLUME.name)), "it would be taken for a pod's own"


def test_its_volume_is_the_first_and_those_of_the_pod_keep_their_order():
    own = (Volume("b", EmptyDirVolumeSource()), Volume("a", EmptyDirVolumeSource()))
    found = sandbox_spec(with_access(pod(volumes=own)), 0, 1).volumes
    assert [volume.name for volume in found] == [VOLUME.name, "b", "a"]


@pytest.mark.parametrize(
    ("path", "mount", "lacks"),
    [
        (MOUNT_PATH, {}, False),
        (f"{MOUNT_PATH}/", {}, False),
        ("/var/run", {}, True),
        ("/var/run", {"read_only": True}, False),
        ("/run/secrets", {"name": "written"}, False),
        ("/var/run/secrets/other", {"name": "written"}, True),
    ],
)
def test_what_is_mounted_already_stays(path, mount, lacks):
    volumes = (
        Volume("v", EmptyDirVolumeSource()),
        Volume("written", config_map=ConfigMapSource("m")),
    )
    own = mounting(path, **mount)
    assert may_have_access(PodSpec(containers=(own,), volumes=volumes)) == lacks
    both = with_access(pod(own, Container("d"), volumes=volumes)).spec.containers
    assert [len(each.volume_mounts) for each in both] == [1 + lacks, 1]


@pytest.mark.parametrize(
    ("said", "by_account", "mounted"),
    [
        (None, None, True),
        (None, False, False),
        (True, False, True),
        (False, None, False),
        (False, True, False),
    ],
)
def test_the_pods_word_counts_before_the_accounts(said, by_account, mounted):
    found = account(automountServiceAccountToken=by_account)
    spec = pod(automount_service_account_token=said).spec
    assert has_access(spec, found) == mounted


def test_its_files_are_token_authority_and_namespace():
    found = files(VOLUME, pod())
    assert not found.memory
    assert [(f.path, f.mode, f.user) for f in found.files] == [
        ("ca.crt", 0o644, 0),
        ("namespace", 0o644, 0),
        ("token", 0o644, 0),
    ]
    assert [f.content for f in found.files[:2]] == [b"CA", b"shop"]
    token = found.files[2].content.decode()
    assert token not in repr(found)


def test_a_token_waits_for_its_account_by_name():
    keys = {ObjectKey("serviceaccounts", "shop", "robot")}
    robot = pod(service_account_name="robot")
    assert {account_key(robot)} == keys
    assert sources(with_access(robot)) == keys
    assert account_key(pod()).name == "default"


def asking(**source):
    return Volume(
        "v",
        projected=ProjectedSource(
            (Projection(service_account_token=TokenSource("t", **source)),), 0o440
        ),
    )


@pytest.mark.parametrize(
    ("user", "others", "group", "expected"),
    [
        (None, None, None, (0o440, 0)),
        (1000, None, None, (0o600, 1000)),
        (1000, 2000, None, (0o440, 0)),
        (1000, 2000, 3000, (0o600, 0)),
    ],
)
def test_a_token_is_for_the_one_user_or_the_group(user, others, group, expected):
    other = Container("d", security_context=SecurityContext(run_as_user=others))
    security = PodSecurityContext(run_as_user=user, fs_group=group)
    (file,) = files(asking(), pod(SILENT, other, security_context=security)).files
    assert (file.mode, file.user) == expected


def test_without_an_api_a_token_cannot_be_had():
    found = files_of(asking(), PodFacts(pod(), "", ""), {})
    assert isinstance(found, ConfigProblem)
    assert "no API for pods" in found.message
