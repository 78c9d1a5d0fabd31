"""Images on real daemons, from real registries."""

import base64
import json
import os
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver

from scheduler.drivers import HostAddress, TlsMaterial
from scheduler.errors import EngineRejected
from scheduler.images import PullProgress
from scheduler.nodes.host_storage import HostStorage
from scheduler.nodes.image_collection import CollectionLimits
from scheduler.objects.node import ContainerImage
from tests.e2e.lab import Host, Lab
from tests.e2e.lab.broken_way import BrokenWay
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.lab.registry import ACCOUNT
from tests.e2e.service import Ironfree, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.xdist_group("lab")]


def pod(name, image, **spec):
    main = {"name": "main", "image": image, "command": ["sleep", "100000"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [main], **spec},
    }


def apply(ironfree: Ironfree, *items):
    manifest = {"apiVersion": "v1", "kind": "List", "items": items}
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(manifest))


def waiting(ironfree: Ironfree, name: str):
    statuses = ironfree.get("pod", name)["status"].get("containerStatuses", [{}])
    return statuses[0].get("state", {}).get("waiting", {})


def pushed(lab: Lab, repository: str) -> tuple[str, str]:
    """Push an image that no host keeps; returns its name for everybody and for who logs in."""
    registry, host = lab.registry(), lab.hosts[-1]
    name = f"{registry.address}/{repository}"
    host.run("tag", SHELL_IMAGE, name)
    host.run("push", "-q", name)
    host.remove_image(name)
    return name, f"{registry.private}/{repository}"


def test_private_images_need_the_secrets_of_pod_account_or_service(ironfree: Ironfree, lab: Lab):
    names = [pushed(lab, f"private/{user}:v1")[1] for user in ("pod", "account", "own", "nobody")]
    registry, (user, word) = lab.registry().private, ACCOUNT
    login = base64.b64encode(f"{user}:{word}".encode()).decode()
    config = json.dumps({"auths": {registry: {"auth": login}}})
    host, _, port = registry.partition(":")
    wrong = {f"*.{host.partition('.')[2]}:{port}/private": {"auth": login[::-1]}}
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": f"kubernetes.io/{kind}",
            "stringData": {f".{kind}": content},
        }
        for name, kind, content in (
            ("right", "dockerconfigjson", config),
            ("wrong", "dockercfg", json.dumps(wrong)),
        )
    ]
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "robot"},
        "imagePullSecrets": [{"name": "right"}],
    }
    both = [{"name": "wrong"}, {"name": "right"}]
    apply(
        ironfree,
        *secrets,
        account,
        pod("pod", names[0], imagePullSecrets=both),
        pod("account", names[1], serviceAccountName="robot"),
        pod("nobody", names[3]),
        pod("no-name", "Not/An/Image:v1"),
    )
    for name in "pod", "account":
        ironfree.kubectl(
            "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=100s", seconds=110.0
        )
    why = eventually(
        lambda: (
            waiting(ironfree, "nobody").get("reason") == "ImagePullBackOff"
            and waiting(ironfree, "nobody")["message"]
        ),
        what="nobody: ImagePullBackOff",
    )
    assert why.startswith(f'Back-off pulling image "{names[3]}": ErrImagePull: ')
    assert "auth" in why
    eventually(lambda: waiting(ironfree, "no-name").get("reason") == "InvalidImageName")
    directory = ironfree.directory / ".docker"
    directory.mkdir()
    (directory / "config.json").write_text(config)  # as `docker login` does, at any time
    apply(ironfree, pod("own", names[2]))
    for name in "own", "nobody":
        ironfree.kubectl(
            "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=100s", seconds=110.0
        )
    said = ironfree.log() + ironfree.kubectl("get", "events", "-o", "json")
    assert "Back-off pulling image" in said
    assert word not in said
    assert login not in said
    for host in lab.hosts:
        for name in names:
            host.remove_image(name)


def test_a_pod_does_not_go_where_its_image_is_known_not_to_run(ironfree: Ironfree, lab: Lab):
    name, _ = pushed(lab, "arch/app:v1")
    first, last = lab.hosts[0], lab.hosts[2]
    label = {"spec": {"labels": {"kubernetes.io/arch": "arm64"}}}  # which it is not
    ironfree.kubectl("patch", "dockerhost", last.name, "--type=merge", "-p", json.dumps(label))
    eventually(
        lambda: (
            ironfree.get("node", last.name)["metadata"]["labels"]["kubernetes.io/arch"] == "arm64"
        )
    )
    apply(ironfree, pod("one", name, nodeSelector={"kubernetes.io/hostname": first.name}))
    ironfree.kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=100s", seconds=110.0)
    (known,) = eventually(lambda: ironfree.get("imagemanifests")["items"], what="it is known")
    assert known["spec"]["image"] == name
    assert [each["architecture"] for each in known["status"]["platforms"]] == ["amd64"]
    apply(ironfree, pod("two", name, nodeSelector={"kubernetes.io/hostname": last.name}))

    def why():
        conditions = ironfree.get("pod", "two")["status"].get("conditions", [])
        return next((c.get("message") for c in conditions if c["type"] == "PodScheduled"), None)

    assert "an architecture that an image is not made for" in eventually(why)
    ironfree.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    first.remove_image(name)


def built(lab: Lab, directory: Path, repository: str) -> str:
    """Build and push an image whose last layer no host has; returns its repository and tag."""
    registry, host = lab.registry(), lab.hosts[-1]
    (directory / "Dockerfile").write_text(f"FROM {SHELL_IMAGE}\nCOPY blob /blob\n")
    (directory / "blob").write_bytes(os.urandom(4 << 20))
    name = f"{registry.address}/{repository}"
    host.run("build", "-q", "-t", name, str(directory))
    host.run("push", "-q", name)
    host.remove_image(name)
    return repository


def driver_address(lab: Lab, host: Host) -> HostAddress:
    """How the driver reaches a host."""
    tls = TlsMaterial(*(each.read_bytes() for each in (lab.tls.ca, lab.tls.cert, lab.tls.key)))
    return HostAddress(host.name, f"tcp://{host.tcp_address}", tls, cluster="0a1b2c3d-1")


def ready(ironfree: Ironfree, name: str) -> str:
    """Wait until a pod is; return the id of its container's image."""
    ironfree.kubectl(
        "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=100s", seconds=110.0
    )
    return ironfree.get("pod", name)["status"]["containerStatuses"][0]["imageID"]


def pulls(ironfree: Ironfree) -> dict[str, float]:
    """The metrics of pulls, by name and labels."""
    lines = ironfree.kubectl("get", "--raw", "/metrics").splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("ironfree_image_pulls"))
    return {name: float(value) for name, _, value in found}


def test_a_registry_that_dies_in_the_middle_of_a_pull(ironfree: Ironfree, lab: Lab, tmp_path: Path):
    repository, host = built(lab, tmp_path, "faults/big:v1"), lab.hosts[0]
    good, _ = pushed(lab, "faults/small:v1")
    here = {"nodeSelector": {"kubernetes.io/hostname": host.name}}
    port = int(lab.registry().address.rpartition(":")[2]) + 10
    with BrokenWay(lab.registry().address, port, limit=1 << 20) as way:
        name = f"{way.address}/{repository}"
        apply(ironfree, pod("big", name, **here))
        assert way.broken.wait(60)
        apply(ironfree, pod("small", good, **here))
        ironfree.kubectl(
            "wait", "pod/small", "--for=condition=Ready", "--timeout=100s", seconds=110.0
        )
        eventually(
            lambda: waiting(ironfree, "big").get("reason") in {"ErrImagePull", "ImagePullBackOff"},
            what="the broken pull is told",
        )
        way.mend()
        ironfree.kubectl(
            "wait", "pod/big", "--for=condition=Ready", "--timeout=100s", seconds=110.0
        )
    found = pulls(ironfree)
    labels = f'registry="{way.address}",result'
    assert found[f'ironfree_image_pulls_total{{{labels}="failed"}}'] >= 1
    assert found[f'ironfree_image_pulls_total{{{labels}="pulled"}}'] == 1
    left = [value for key, value in found.items() if "waiting" in key or "under_way" in key]
    assert not any(left)
    mark = next(line for line in host.run("images").splitlines() if "/pulled-by-" in line)
    ironfree.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    host.remove_image(":".join(mark.split()[:2]))
    for image in name, good:
        host.remove_image(image)


async def test_a_full_disk_loses_what_was_pulled_and_is_not_used(lab: Lab, tmp_path: Path):
    names = [f"{lab.registry().address}/gc/{name}:v1" for name in ("unused", "used", "foreign")]
    for name in names:
        built(lab, tmp_path, name.partition("/")[2])
    unused, used, foreign = names
    host = lab.hosts[0]
    host.run("pull", "-q", foreign)
    engine = await DockerDriver().connect(driver_address(lab, host))
    try:
        for name in unused, used:
            heard: list[PullProgress] = []
            await engine.images.pull(name, None, heard.append)
            assert heard[-1].layers == heard[-1].layers_done > 0
            found = await engine.images.find(name)
            assert found is not None
            await engine.images.mark_pulled(found)
        host.run("create", "--name", "keeps-image", used, "true")
        disk = await engine.images.filesystem()
        assert disk is not None
        real = os.statvfs(host.directory)
        assert disk.capacity == real.f_frsize * real.f_blocks
        said: list[tuple[ContainerImage, ...]] = []

        async def changed(images: tuple[ContainerImage, ...]) -> None:
            said.append(images)

        limits = CollectionLimits(high=0, low=0, least_age=0)
        await HostStorage(host.name, engine.images, changed, limits, 60.0).look()
        left = {name for image in await engine.images.list() for name in image.names}
        assert left & set(names) == {used, foreign}
        assert SHELL_IMAGE in left
        assert "pulled-by-0a1b2c3d" in host.run("images"), "the mark of what is in use stays"
        assert used in {name for image in said[0] for name in image.names}
        host.run("rm", "keeps-image")
        await HostStorage(host.name, engine.images, changed, limits, 60.0).look()
        left = {name for image in await engine.images.list() for name in image.names}
        assert left & set(names) == {foreign}
        assert "pulled-by-0a1b2c3d" not in host.run("images")
    finally:
        await engine.close()
        host.remove_image(foreign)


async def test_an_image_streams_from_a_host_to_one_without_a_registry(lab: Lab, tmp_path: Path):
    name = f"{lab.registry().address}/{built(lab, tmp_path, 'copies/app:v1')}"
    one, two = lab.hosts[:2]
    one.run("pull", "-q", name)
    engines = [await DockerDriver().connect(driver_address(lab, host)) for host in (one, two)]
    try:
        source, target = (engine.images for engine in engines)
        assert await target.find(name) is None
        async with source.save(name) as archive:
            await target.load(archive)
        there, here = await source.find(name), await target.find(name)
        assert there is not None
        assert here is not None
        assert here.id == there.id
        with pytest.raises(EngineRejected, match="absent"):
            async with source.save("absent:v1") as archive:
                await target.load(archive)
        assert await target.find(name) is not None
    finally:
        for engine, host in zip(engines, (one, two), strict=True):
            await engine.close()
            host.remove_image(name)


def test_images_are_on_hosts_before_pods_come(ironfree: Ironfree, lab: Lab):
    name, _ = pushed(lab, "early/app:v1")
    for host in lab.hosts:
        assert name not in host.run("images", "--format", "{{.Repository}}:{{.Tag}}")
    wish = {
        "apiVersion": "ironfree.dev/v1",
        "kind": "ImagePrePull",
        "metadata": {"name": "early"},
        "spec": {"images": [name]},
    }
    apply(ironfree, wish)
    ironfree.kubectl(
        "wait",
        "imageprepull/early",
        "--for=jsonpath={.status.ready}=3",
        "--timeout=100s",
        seconds=110.0,
    )
    for host in lab.hosts:
        assert name in host.run("images", "--format", "{{.Repository}}:{{.Tag}}")
    apply(ironfree, pod("late", name))
    ironfree.kubectl("wait", "pod/late", "--for=condition=Ready", "--timeout=100s", seconds=110.0)
    ironfree.kubectl("delete", "imageprepull", "early")
    ironfree.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    for host in lab.hosts:
        host.remove_image(name)


def test_a_tag_that_moves_a_digest_that_does_not(ironfree: Ironfree, lab: Lab, tmp_path: Path):
    host = lab.hosts[0]
    name = f"{lab.registry().address}/{built(lab, tmp_path, 'moving/app:v1')}"

    def here(image: str, policy: str):
        main = {"name": "main", "image": image, "imagePullPolicy": policy}
        main["command"] = ["sleep", "100000"]
        return {"containers": [main], "nodeSelector": {"kubernetes.io/hostname": host.name}}

    apply(ironfree, pod("first", name, **here(name, "Always")))
    first = ready(ironfree, "first")
    repository = name.rpartition(":")[0]
    digests = host.run("image", "inspect", "--format", '{{join .RepoDigests " "}}', name).split()
    (pinned,) = (each for each in digests if each.startswith(f"{repository}@sha256:"))
    built(lab, tmp_path, "moving/app:v1")
    apply(
        ironfree,
        pod("present", name, **here(name, "IfNotPresent")),
        pod("never", name, **here(name, "Never")),
    )
    assert [ready(ironfree, each) for each in ("present", "never")] == [first, first]
    apply(ironfree, pod("always", name, **here(name, "Always")))
    assert ready(ironfree, "always") != first
    elsewhere = here(pinned, "IfNotPresent")
    elsewhere["nodeSelector"] = {"kubernetes.io/hostname": lab.hosts[1].name}
    apply(ironfree, pod("pinned", pinned, **elsewhere))
    assert ready(ironfree, "pinned") == first
    apply(ironfree, pod("absent", name, **here("absent/image:v1", "Never")))
    eventually(lambda: waiting(ironfree, "absent").get("reason") == "ErrImageNeverPull")
    ironfree.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    host.remove_image(name)
    for each, image in (host, pinned), (lab.hosts[1], pinned):
        each.remove_image(image)


def test_hosts_without_a_registry_have_images_from_others(
    lab: Lab, database_url: str, tmp_path: Path
):
    service = Ironfree(tmp_path, database_url, IRONFREE_SHARE_IMAGES="true")
    name = "127.0.0.1:9/only/here:v1"  # where no registry is
    one, two = lab.hosts[:2]
    one.run("tag", SHELL_IMAGE, name)
    try:
        service.start()
        service.add_hosts(lab)
        apply(service, pod("guest", name, nodeSelector={"kubernetes.io/hostname": two.name}))
        ready(service, "guest")
        assert name in two.run("images", "--format", "{{.Repository}}:{{.Tag}}")
        service.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    finally:
        service.stop()
        for host in one, two:
            host.remove_image(name)
