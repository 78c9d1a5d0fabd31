"""The program that travels with the driver, run as it would run on a host."""

import os
import platform
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from ironfree_docker import tools

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The program as its source is now; None where it cannot be built."""
    if shutil.which("gcc") is None or platform.machine() not in MACHINES.values():
        return None
    path = tmp_path_factory.mktemp("built") / "tools"
    sources = sorted(Path(tools.__file__).parent.glob("*.c"))
    flags = "-Os -nostdlib -static -ffreestanding -fno-stack-protector -fno-pic -no-pie"
    more = "-fno-tree-loop-distribute-patterns -fno-strict-aliasing"
    build = ["gcc", *flags.split(), *more.split(), "-o", path, *sources]
    subprocess.run(build, check=True, capture_output=True)
    return path


@pytest.fixture(params=["amd64", "arm64", "source"])
def program(request: pytest.FixtureRequest, tmp_path: Path, built: Path | None) -> list[str]:
    path = tmp_path / "tools"
    if request.param == "source":
        if built is None:
            pytest.skip("needs gcc on amd64 or arm64")
        return [str(built)]
    machine = MACHINES[request.param]
    content = tools.program(request.param)
    assert content is not None
    path.write_bytes(content)
    path.chmod(0o755)
    if platform.machine() == machine:
        return [str(path)]
    emulator = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    if emulator is None:
        pytest.skip(f"needs a {machine} processor or qemu")
    return [emulator, str(path)]


def test_swap_lets_all_files_change_at_once_and_clears_up(program: list[str], tmp_path: Path):
    root = tmp_path / "volume"
    for version in ("..1", "..2"):
        (root / version / "deep").mkdir(parents=True)
        (root / version / "a").write_text(version)
        (root / version / "deep" / "b").write_text(version)
    (root / "..data").symlink_to("..1")
    for name in ("a", "deep", "gone"):
        (root / name).symlink_to(f"..data/{name}")
    subprocess.run([*program, "swap", root, "..2"], check=True)
    assert sorted(each.name for each in root.iterdir()) == ["..2", "..data", "a", "deep"]
    assert (root / "deep" / "b").read_text() == "..2"
    subprocess.run([*program, "swap", root, "..2"], check=True)
    assert (root / "a").read_text() == "..2"
    assert subprocess.run([*program, "swap", tmp_path / "none", "x"], check=False).returncode == 1
    assert subprocess.run([*program, "nonsense"], check=False).returncode == 64


def test_dial_carries_connections_over_one_stream(program: list[str]):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        subprocess.Popen(
            [*program, "dial"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as dialer,
    ):
        assert dialer.stdin is not None
        assert dialer.stdout is not None
        port = server.getsockname()[1]

        def send(number: int, kind: int, payload: bytes) -> None:
            assert dialer.stdin is not None
            dialer.stdin.write(struct.pack("<IHH", number, kind, len(payload)) + payload)
            dialer.stdin.flush()

        def receive() -> tuple[int, int, bytes]:
            assert dialer.stdout is not None
            number, kind, length = struct.unpack("<IHH", dialer.stdout.read(8))
            return number, kind, dialer.stdout.read(length)

        where = struct.pack("=H", 2) + struct.pack(">H", port) + bytes([127, 0, 0, 1]) + bytes(8)
        peers = {}
        for number in (7, 8):
            send(number, 1, where)
            assert receive() == (number, 1, b"")
            peers[number] = server.accept()[0]
        send(8, 2, b"hello")
        assert peers[8].recv(9) == b"hello"
        peers[7].sendall(b"x" * 5000)
        assert receive()[0] == 7
        while (frame := receive())[1] == 2 and len(frame[2]) == 4096:
            pass
        peers[8].close()
        assert receive() == (8, 3, bytes(4))
        send(7, 3, b"")
        assert receive() == (7, 3, bytes(4))
        assert peers[7].recv(1) == b""
        peers[7].close()
        server.close()
        send(9, 1, where)
        assert receive() == (9, 3, struct.pack("<i", 111))
        dialer.stdin.close()
        assert dialer.wait(10) == 0


def test_dial_tells_of_the_file_system(program: list[str]):
    asked = struct.pack("<IHH", 7, 4, 0)
    answer = subprocess.run([*program, "dial"], input=asked, capture_output=True, check=True).stdout
    number, kind, length = struct.unpack_from("<IHH", answer)
    assert (number, kind, length) == (7, 2, 120)
    _, block, blocks, *_ = struct.unpack_from("<5Q", answer, 8)
    here = os.statvfs("/")
    assert block * blocks == here.f_frsize * here.f_blocks
    assert answer[8 + 120 :] == struct.pack("<IHHi", 7, 3, 4, 0)


def test_dial_tells_how_files_begin(program: list[str], tmp_path: Path):
    long, short, empty = (tmp_path / name for name in ("long", "short", "empty"))
    long.write_bytes(b"x" * 300)
    short.write_bytes(b"y")
    empty.write_bytes(b"")
    named = b"".join(bytes(path) + b"\0" for path in (long, empty, short))

    def told(paths: bytes) -> bytes:
        asked = struct.pack("<IHH", 7, 5, len(paths)) + paths
        return subprocess.run(
            [*program, "dial"], input=asked, capture_output=True, check=True
        ).stdout

    first, second = struct.pack("<IHH", 7, 2, 256), struct.pack("<IHH", 7, 2, 1)
    end = struct.pack("<IHH", 7, 3, 4)
    assert told(named) == first + b"x" * 256 + second + b"y" + end + bytes(4)
    assert told(bytes(tmp_path / "none") + b"\0" + named) == end + struct.pack("<i", 2)
    assert told(b"unended") == end + bytes(4)
