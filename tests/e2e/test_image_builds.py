"""Images made on real daemons: of a Dockerfile, a repository, a container; pushed and copied."""

import base64
import json
from pathlib import Path

import pytest

from tests.e2e.lab import Host, Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.lab.registry import ACCOUNT
from tests.e2e.service import Ironfree, eventually
from tests.git_server import commit, git_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.xdist_group("lab")]


def apply(ironfree: Ironfree, *items):
    manifest = {"apiVersion": "v1", "kind": "List", "items": items}
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(manifest))


def build(name: str, image: str, **spec):
    return {
        "apiVersion": "ironfree.dev/v1",
        "kind": "ImageBuild",
        "metadata": {"name": name},
        "spec": {"image": image, **spec},
    }


def ended(ironfree: Ironfree, name: str):
    """Wait for a build's end; returns its status."""

    def look():
        status = ironfree.get("imagebuild", name).get("status", {})
        return status if status.get("phase") in {"Succeeded", "Failed"} else None

    return eventually(look, what=f"build {name} has ended")


def said(host: Host, image: str, *command: str) -> str:
    """What a container of an image says, made past Ironfree."""
    return host.run("run", "--rm", "--network=none", image, *command)


def pod(name, image, host, **container):
    main = {"name": "main", "image": image, "command": ["sleep", "100000"], **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"kubernetes.io/hostname": host.name},
            "containers": [main],
        },
    }


def ready(ironfree: Ironfree, name: str) -> None:
    ironfree.kubectl(
        "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=100s", seconds=110.0
    )


def test_a_dockerfile_is_built_and_copied_to_every_host(ironfree: Ironfree, lab: Lab):
    text = f"FROM {SHELL_IMAGE}\nARG WORD\nCOPY etc/told /told\nRUN echo $WORD >> /told\n"
    source = {"text": text, "files": {"etc/told": "one\n"}}
    arguments = {"WORD": "two"}
    first = lab.hosts[0]
    apply(
        ironfree,
        build(
            "app",
            "built/app:v1",
            dockerfile=source,
            buildArgs=arguments,
            nodeName=first.name,
            distributeTo={},
        ),
        build("bad", "built/bad:v1", dockerfile={"text": f"FROM {SHELL_IMAGE}\nRUN false\n"}),
    )
    status = ended(ironfree, "app")
    assert status["phase"] == "Succeeded", status
    assert status["nodeName"] == first.name
    assert status["distribution"]["hosts"] == status["distribution"]["copied"] == 2
    assert any("RUN echo" in line for line in status["log"])
    for host in lab.hosts:
        assert said(host, "built/app:v1", "cat", "/told") == "one\ntwo\n"
        assert host.run("images", "-q", "--no-trunc", "built/app:v1").strip() == status["imageID"]
    failed = ended(ironfree, "bad")
    assert (failed["phase"], failed["reason"]) == ("Failed", "BuildFailed")
    assert "non-zero code: 1" in failed["message"]
    apply(ironfree, pod("app", "built/app:v1", lab.hosts[2], imagePullPolicy="Never"))
    ready(ironfree, "app")
    ironfree.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    for host in lab.hosts:
        host.remove_image("built/app:v1")


def test_a_repository_is_built_and_pushed(ironfree: Ironfree, lab: Lab, tmp_path: Path):
    registry, (user, word) = lab.registry().private, ACCOUNT
    config = {"auths": {registry: {"auth": base64.b64encode(f"{user}:{word}".encode()).decode()}}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps(config)},
    }
    image, first = f"{registry}/built/git:v1", lab.hosts[0]
    with git_server(tmp_path / "served") as server:
        files = {"sub/Dockerfile": f"FROM {SHELL_IMAGE}\nCOPY told /told\n", "sub/told": "git\n"}
        made = commit(server.root / "app", files)
        git = {"url": f"{server.url}/app", "ref": "main", "directory": "sub"}
        push = {"secretName": "login"}
        apply(ironfree, secret, build("git", image, git=git, push=push, nodeName=first.name))
        status = ended(ironfree, "git")
    assert status["phase"] == "Succeeded", status
    assert any(made in line for line in status["log"])
    first.remove_image(image)
    first.run("pull", "-q", f"{lab.registry().address}/built/git@{status['digest']}")
    told = ironfree.log() + ironfree.kubectl("get", "imagebuilds,events", "-o", "json")
    assert word not in told
    digest = f"{lab.registry().address}/built/git@{status['digest']}"
    assert said(first, digest, "cat", "/told") == "git\n"
    first.remove_image(digest)


def test_a_running_container_becomes_an_image(ironfree: Ironfree, lab: Lab, tmp_path: Path):
    host = lab.hosts[1]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "word"},
        "stringData": {"WORD": "hush-hush"},
    }
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "word", "key": "WORD"}}}]
    command = ["sh", "-c", "echo here > /told; sleep 100000"]
    apply(ironfree, secret, pod("web", SHELL_IMAGE, host, env=env, command=command))
    ready(ironfree, "web")
    assert ironfree.kubectl("exec", "web", "--", "cat", "/told") == "here\n"
    apply(ironfree, build("snap", "built/snap:v1", commit={"pod": "web"}))
    status = ended(ironfree, "snap")
    assert status["phase"] == "Succeeded", status
    assert status["nodeName"] == host.name
    assert "hush-hush" not in host.run("image", "inspect", "built/snap:v1")
    host.run("save", "-o", str(tmp_path / "saved"), "built/snap:v1")
    assert b"hush-hush" not in (tmp_path / "saved").read_bytes()
    sleep = ("built/snap:v1", "sleep", "1000")
    host.run("run", "-d", "--name", "foreign", "--network=none", *sleep)
    apply(ironfree, pod("again", "built/snap:v1", host, imagePullPolicy="Never"))
    ready(ironfree, "again")
    assert ironfree.kubectl("exec", "again", "--", "cat", "/told") == "here\n"
    assert "foreign" in host.run("ps", "--format", "{{.Names}}")
    host.run("rm", "-f", "foreign")
    ironfree.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    host.remove_image("built/snap:v1")


def test_the_command_line_builds_directories_and_repositories_and_commits(
    ironfree: Ironfree, lab: Lab, tmp_path: Path
):
    context, host = tmp_path / "context", lab.hosts[0]
    files = {"Dockerfile": f"FROM {SHELL_IMAGE}\nCOPY . /all\n", "kept": "1", "left": "2"}
    with git_server(tmp_path) as server:
        commit(context, {**files, ".dockerignore": "left\n.git\n"})
        code, told = ironfree.cli(
            *("build", str(context), "-t", "built/dir:v1", "--node", host.name, "--distribute")
        )
        assert code == 0, told
        assert f"on host {host.name}, copied to 2 of 2 others" in told
        url = f"{server.url}/context#main"
        words = ("build", url, "-t", "built/url:v1", "--node", host.name, "--json")
        code, told = ironfree.cli(*words)
        assert code == 0, told
        assert json.loads(told)["status"]["phase"] == "Succeeded"
    for each in lab.hosts:
        assert said(each, "built/dir:v1", "ls", "/all").split() == ["Dockerfile", "kept"]
    assert said(host, "built/url:v1", "ls", "/all").split() == ["Dockerfile", "kept", "left"]
    (context / "Dockerfile").write_text(f"FROM {SHELL_IMAGE}\nRUN false\n")
    code, told = ironfree.cli("build", str(context), "-t", "built/bad:v1")
    assert code == 1
    assert "BuildFailed" in told
    apply(ironfree, pod("web", "built/dir:v1", host, imagePullPolicy="Never"))
    ready(ironfree, "web")
    ironfree.kubectl("exec", "web", "--", "rm", "/all/kept")
    code, told = ironfree.cli("commit", "web", "built/snap:v2")
    assert code == 0, told
    assert said(host, "built/snap:v2", "ls", "/all").split() == ["Dockerfile"]
    assert ironfree.get("imagebuilds")["items"] == []
    ironfree.kubectl("delete", "pod", "--all", "--timeout=100s", seconds=110.0)
    for each in lab.hosts:
        for image in "built/snap:v2", "built/url:v1", "built/dir:v1":
            each.remove_image(image)


def test_a_deleted_build_ends_on_its_host(ironfree: Ironfree, lab: Lab):
    host = lab.hosts[0]
    text = f"FROM {SHELL_IMAGE}\nRUN sleep 1000\n"
    apply(ironfree, build("long", "built/long:v1", dockerfile={"text": text}, nodeName=host.name))
    eventually(lambda: "sleep 1000" in host.run("ps", "--no-trunc"), what="the step runs")
    ironfree.kubectl("delete", "imagebuild", "long")
    eventually(lambda: "sleep 1000" not in host.run("ps", "--no-trunc"), what="it has ended")
    assert "built/long" not in host.run("images")
