"""The pure parts: frames, references, archives, the pause program, shares."""

import io
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ironfree_docker import pause
from ironfree_docker.container_spec import cpu_shares, sandbox_body
from ironfree_docker.frames import demultiplex, stamped_lines
from ironfree_docker.image_archive import ImageSettings, RootFile, image_archive
from ironfree_docker.images import split_reference

from plugins.docker.tests.fake_dialer import frame
from scheduler.drivers import PodIdentity, PortMapping, SandboxSpec

BINARY = st.binary(max_size=40)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), BINARY)), st.lists(st.integers(1, 20)))
async def test_frames_cut_anywhere_give_the_bytes_in_order(
    written: list[tuple[int, bytes]], cuts: list[int]
):
    whole = b"".join(frame(stream, content) for stream, content in written)

    async def chunks() -> AsyncIterator[bytes]:
        rest = whole
        for cut in cuts:
            yield rest[:cut]
            rest = rest[cut:]
        yield rest

    seen = [part async for part in demultiplex(chunks(), "one")]
    for wanted in (1, 2):
        got = b"".join(content for stream, content in seen if stream == wanted)
        assert got == b"".join(content for stream, content in written if stream == wanted)
    assert b"".join(part for _, part in seen) == b"".join(content for _, content in written)


LINES = st.lists(st.tuples(st.sampled_from([1, 2]), st.text("ab \n", max_size=9)), max_size=9)


@given(LINES, st.integers(1, 40))
async def test_a_line_in_many_frames_keeps_one_stamp(pieces: list[tuple[int, str]], cut: int):
    whole, expected, unended = b"", "", {1: False, 2: False}
    for number, (stream, text) in enumerate(pieces):
        stamp = f"2026-01-02T03:04:05.{number:09}Z "
        whole += frame(stream, (stamp + text).encode())
        expected += text if unended[stream] else stamp + text
        unended[stream] = not text.endswith("\n")

    async def chunks() -> AsyncIterator[bytes]:
        for begun in range(0, len(whole), cut):
            yield whole[begun : begun + cut]

    seen = b"".join([part async for part in stamped_lines(chunks(), "one")])
    assert seen.decode() == expected


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nginx", ("nginx", "latest")),
        ("nginx:1.27", ("nginx", "1.27")),
        ("reg:5000/a/b", ("reg:5000/a/b", "latest")),
        ("reg:5000/a/b:v1", ("reg:5000/a/b", "v1")),
        ("a/b@sha256:00ff", ("a/b", "sha256:00ff")),
        ("a/b:v1@sha256:00ff", ("a/b:v1", "sha256:00ff")),
    ],
)
def test_references(name: str, parts: tuple[str, str]):
    assert split_reference(name) == parts


@pytest.mark.parametrize(("millis", "shares"), [(0, 2), (1, 2), (500, 512), (1000, 1024)])
def test_shares_are_those_of_kubernetes(millis: int, shares: int):
    assert cpu_shares(millis) == shares


def test_one_container_port_on_two_host_ports():
    ports = (PortMapping(80, 1000), PortMapping(80, 1001, host_ip="127.0.0.1"))
    udp = PortMapping(80, 1000, "UDP")
    spec = SandboxSpec(PodIdentity("u", "n", "p"), "p", ports=(*ports, udp))
    host = sandbox_body(spec, "pause", {})["HostConfig"]
    assert isinstance(host, dict)
    assert host["PortBindings"] == {
        "80/tcp": [
            {"HostIp": "", "HostPort": "1000"},
            {"HostIp": "127.0.0.1", "HostPort": "1001"},
        ],
        "80/udp": [{"HostIp": "", "HostPort": "1000"}],
    }


def test_an_archive_holds_what_it_says_and_is_the_same_each_time():
    files = {"b": RootFile(b"x", 0o755), "a": RootFile(link="b"), "d": RootFile(directory=True)}
    settings = ImageSettings(entrypoint=["/b"], environment={"A": "1"})
    content = image_archive("i:v1", files, settings)
    assert content == image_archive("i:v1", dict(reversed(files.items())), settings)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {m.name: archive.extractfile(m) for m in archive.getmembers()}
        (manifest,) = json.load(members["manifest.json"])  # type: ignore[arg-type]
        config = json.load(members[manifest["Config"]])  # type: ignore[arg-type]
        with tarfile.open(fileobj=members["layer.tar"]) as layer:
            assert layer.getnames() == ["a", "b", "d"]
    assert manifest["RepoTags"] == ["i:v1"]
    assert config["config"]["Env"] == ["A=1"]


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_the_pause_program_is_a_tiny_elf_file(architecture: str, machine: int):
    binary = pause.program(architecture)
    assert binary is not None
    assert len(binary) < 1024
    kind, found, _, entry = struct.unpack("<HHIQ", binary[16:32])
    assert (binary[:4], kind, found) == (b"\x7fELF", 2, machine)
    assert (entry - 0x400000) % 4 == 0
    assert pause.archive(architecture) is not None
    assert pause.archive("riscv64") is None


RUNNERS = {"amd64": ("x86_64", "qemu-x86_64-static"), "arm64": ("aarch64", "qemu-aarch64-static")}


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_pause_program_waits_and_ends_on_term(tmp_path: Path, architecture: str):
    machine, emulator = RUNNERS[architecture]
    native = platform.machine() == machine and platform.system() == "Linux"
    if not native and shutil.which(emulator) is None:
        pytest.skip(f"needs a {machine} processor or {emulator}")
    binary = pause.program(architecture)
    assert binary is not None
    path = tmp_path / "pause"
    path.write_bytes(binary)
    path.chmod(0o755)
    process = subprocess.Popen([path] if native else [emulator, path])
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    os.kill(process.pid, signal.SIGCHLD)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.terminate()
    assert process.wait(5) == 0
