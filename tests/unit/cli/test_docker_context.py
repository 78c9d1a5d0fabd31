"""Reading Docker contexts; the docker SDK, which writes them, is the witness."""

from pathlib import Path

import pytest
from docker.context import ContextAPI
from docker.tls import TLSConfig

from scheduler.cli.docker_context import DockerContext, read_context
from scheduler.errors import BadRequest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_an_address():
    ContextAPI.create_context("box", host="ssh://me@box:2222")
    assert read_context("box") == DockerContext("ssh://me@box:2222", None)


def test_tls_material(folder: Path):
    names = ("cert.pem", "key.pem", "ca.pem")
    files = [folder / name for name in names]
    for file in files:
        file.write_text(f"PEM of {file.name}")
    tls = TLSConfig(client_cert=(str(files[0]), str(files[1])), ca_cert=str(files[2]), verify=True)
    ContextAPI.create_context("box", host="tcp://box:2376", tls_cfg=tls)
    found = read_context("box")
    assert found.address == "tcp://box:2376"
    assert found.tls is not None
    assert {(found.tls / name).read_text() for name in names} == {f"PEM of {n}" for n in names}


def test_the_default_context(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert read_context("default") == DockerContext("unix:///var/run/docker.sock", None)
    monkeypatch.setenv("DOCKER_HOST", "tcp://h:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert read_context("default") == DockerContext("tcp://h:2376", folder)


def test_what_cannot_be_used_says_why(folder: Path):
    with pytest.raises(BadRequest, match='no Docker context "absent"'):
        read_context("absent")
    ContextAPI.create_context("lax", host="tcp://box:2376")
    (meta,) = folder.glob("contexts/meta/*/meta.json")
    meta.write_text(meta.read_text().replace('"SkipTLSVerify": false', '"SkipTLSVerify": true'))
    with pytest.raises(BadRequest, match="skips the verification"):
        read_context("lax")
    meta.write_text("{")
    with pytest.raises(BadRequest, match="cannot be read"):
        read_context("lax")
    meta.write_text("{}")
    with pytest.raises(BadRequest, match="says no address"):
        read_context("lax")
