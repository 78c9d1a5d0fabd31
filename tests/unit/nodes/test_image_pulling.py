"""Images are had as kubelet has them: policies, reasons, messages, credentials in order."""

import base64
import json

import msgspec
import pytest

from scheduler.errors import EngineRejected, ImageUnavailable
from scheduler.images import LocalImage
from scheduler.nodes.config_json import ConfigJson
from scheduler.nodes.image_pulling import ImagePuller, ImageRequest
from scheduler.nodes.pull_measures import PullMeasures
from scheduler.nodes.pull_pacing import PacingLimits, PullPacer
from scheduler.nodes.registry_logins import RegistryLogins
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import Container, Pod, PodSpec, PodStatus
from scheduler.objects.stored import Body, StoredObject


class Store:
    """A host's images, and a registry that knows who may pull."""

    def __init__(self, *here, registry=(), accounts=(None,)):
        self.here = set(here)
        self.registry = set(registry)
        self.accounts = accounts
        self.tried = []
        self.broken = ""
        self.marked = []
        self.others = ()

    async def find(self, name):
        if self.broken:
            raise EngineRejected(self.broken, 500)
        names = (name, f"{name.partition(':')[0]}@sha256:0", *self.others)
        return LocalImage(f"sha256:{name}", names, 42) if name in self.here else None

    async def mark_pulled(self, image):
        self.marked.append(image.id)

    async def pull(self, name, credentials, progress):
        user = credentials.username if credentials else None
        self.tried.append(user)
        if name not in self.registry or user not in self.accounts:
            raise ImageUnavailable(f"pull access denied for {name} as {user}")
        self.here.add(name)


class Objects:
    def __init__(self, **found):
        self._found = found

    async def get(self, key):
        assert key.namespace == "default"
        fields = self._found.get(f"{key.resource}_{key.name}")
        if fields is None:
            return None
        body = Body(msgspec.json.encode(fields))
        meta = ObjectMeta(name=key.name, namespace="default", uid="s")
        return StoredObject(key.resource, meta, 1, 1, body)


def login(**auths):
    entries = {server: {"username": user, "password": "hush"} for server, user in auths.items()}
    content = base64.b64encode(json.dumps({"auths": entries}).encode()).decode()
    return {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": content}}


@pytest.fixture
def ensure(tmp_path):
    """Ask for an image; returns the problem, and the events."""

    async def ask(images, image, policy="", *, objects=None, own=None, **spec):
        path = tmp_path / "config.json"
        if own:
            path.write_text(json.dumps({"auths": own}))
        pacer = PullPacer(PacingLimits(), PullMeasures())
        logins = RegistryLogins(objects or Objects(), ConfigJson(path))
        puller = ImagePuller(logins, pacer, within=5.0)
        container = Container(name="c", image=image, image_pull_policy=policy)
        meta = ObjectMeta(name="p", namespace="default", uid="u")
        pod = Pod(meta, msgspec.convert(spec, PodSpec), PodStatus(), "h1", 1, b"")
        events = []
        request = ImageRequest("h1", images, pod, container, events.append)
        return await puller.ensure(request), events

    return ask


async def test_an_image_that_is_there_is_pulled_only_by_always(ensure):
    for policy in "IfNotPresent", "Never", "":
        images = Store("app:v1")
        problem, events = await ensure(images, "app:v1", policy)
        assert problem is None
        assert images.tried == []
        told = 'Container image "app:v1" already present on machine'
        assert events == [("Normal", "Pulled", told)]
    images = Store("app:v1", "app", registry=["app:v1", "app"])
    assert (await ensure(images, "app:v1", "Always"))[0] is None
    assert (await ensure(images, "app"))[0] is None
    assert images.tried == [None, None]


async def test_never_pulls_never(ensure):
    images = Store(registry=["app:v1"])
    problem, events = await ensure(images, "app:v1", "Never")
    told = 'Container image "app:v1" is not present with pull policy of Never'
    assert (problem.reason, problem.message) == ("ErrImageNeverPull", told)
    assert events == [
        ("Warning", "ErrImageNeverPull", told),
        ("Warning", "Failed", "Error: ErrImageNeverPull"),
    ]
    assert images.tried == []


async def test_what_is_no_name_is_not_looked_for(ensure):
    images = Store()
    images.broken = "asked"
    problem, events = await ensure(images, "Not An Image")
    assert problem.reason == "InvalidImageName"
    assert 'couldn\'t parse image name "Not An Image"' in problem.message
    assert events[0][:2] == ("Warning", "InspectFailed")


async def test_an_engine_that_cannot_look_is_told(ensure):
    images = Store()
    images.broken = "database is locked"
    problem, _ = await ensure(images, "app:v1")
    assert problem.reason == "ImageInspectError"
    assert "database is locked" in problem.message


async def test_a_failed_pull_has_the_words_of_every_try(ensure):
    images = Store()
    problem, events = await ensure(images, "app:v1")
    assert (problem.reason, problem.message) == (
        "ErrImagePull",
        "pull access denied for app:v1 as None",
    )
    assert events == [
        ("Warning", "Failed", f'Failed to pull image "app:v1": {problem.message}'),
        ("Warning", "Failed", "Error: ErrImagePull"),
    ]
    own = {"r.io": {"username": "me", "password": "hush"}}
    objects = Objects(secrets_one=login(**{"r.io": "you"}))
    secrets = [{"name": "one"}]
    problem, events = await ensure(
        images, "r.io/app:v1", objects=objects, own=own, imagePullSecrets=secrets
    )
    assert images.tried == [None, "you", "me"]
    assert "as you" in problem.message
    assert "as me" in problem.message
    assert "hush" not in f"{problem} {events}"


async def test_the_first_credentials_that_do_are_enough(ensure):
    images = Store(registry=["r.io/team/app:v1"], accounts=["team"])
    objects = Objects(secrets_one=login(**{"r.io": "host", "r.io/team": "team", "q.io": "other"}))
    problem, events = await ensure(
        images, "r.io/team/app:v1", objects=objects, imagePullSecrets=[{"name": "one"}]
    )
    assert problem is None
    assert images.tried == ["team"]
    assert events[-1][1] == "Pulled"
    assert events[-1][2].endswith("Image size: 42 bytes.")


@pytest.mark.parametrize(
    ("account", "spec"), [("default", {}), ("robot", {"serviceAccountName": "robot"})]
)
async def test_a_pod_without_secrets_has_those_of_its_account(ensure, account, spec):
    images = Store(registry=["r.io/app:v1"], accounts=["me"])
    found = {
        f"serviceaccounts_{account}": {"imagePullSecrets": [{"name": "one"}, {"name": "one"}]},
        "secrets_one": login(**{"r.io": "me"}),
        "secrets_two": login(**{"r.io": "you"}),
    }
    assert (await ensure(images, "r.io/app:v1", objects=Objects(**found), **spec))[0] is None
    spec["imagePullSecrets"] = [{"name": "two"}]
    images.here.clear()
    problem, _ = await ensure(images, "r.io/app:v1", objects=Objects(**found), **spec)
    assert problem is not None
    assert images.tried == ["me", "you"]


async def test_secrets_that_are_missing_are_told_and_the_pull_is_tried(ensure):
    images = Store(registry=["app:v1"])
    objects = Objects(secrets_odd={"type": "Opaque", "data": {}})
    secrets = [{"name": "absent"}, {"name": "odd"}]
    problem, events = await ensure(images, "app:v1", objects=objects, imagePullSecrets=secrets)
    assert problem is None
    (told,) = [text for _, reason, text in events if reason == "FailedToRetrieveImagePullSecret"]
    assert "(absent, odd)" in told


async def test_a_pull_that_does_not_show_is_a_failure(ensure):
    class Forgetful(Store):
        async def pull(self, name, credentials, progress):
            """Say that it is done."""

    problem, _ = await ensure(Forgetful(), "app:v1")
    assert "does not show it" in problem.message


async def test_only_what_came_by_a_pull_is_marked_so(ensure):
    new = Store(registry=["app:v1"])
    await ensure(new, "app:v1")
    await ensure(new, "app:v1", "Always")
    assert new.marked == ["sha256:app:v1"]
    there = Store("app:v1", registry=["app:v1"])
    await ensure(there, "app:v1", "Always")
    named = Store(registry=["app:v1"])
    named.others = ("somebodys/own:v2",)
    await ensure(named, "app:v1")
    assert there.marked == named.marked == []
