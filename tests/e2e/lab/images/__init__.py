"""Images made on the spot: Debian's static busybox, and the guestbook from one static C program."""

import os
import shutil
import subprocess
from pathlib import Path

from ironfree_docker.image_archive import ImageSettings, RootFile, image_archive

SHELL_IMAGE = "lab-shell:v1"
CLIENT_IMAGE = "lab-client:v1"
GUESTBOOK_IMAGES = {role: f"guestbook-{role}:v1" for role in ("leader", "follower", "frontend")}
_SOURCE = Path(__file__).with_name("guestbook.c")


def lab_images(directory: Path) -> list[bytes]:
    """Archives of all images of the lab; `directory` takes the compiled program."""
    return [shell_image(), *guestbook_images(directory)]


def shell_image(name: str = SHELL_IMAGE, ballast: int = 0) -> bytes:
    """Busybox with all its applets; runs `sh` unless told otherwise.

    Args:
        ballast: bytes that nobody has yet, so that they must travel.

    Debian's static build has a `wget` that crashes and an `nc` without `-z`.
    """
    files = _busybox() | {
        "etc/passwd": RootFile(b"root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n"),
        "etc/group": RootFile(b"root:x:0:\nuser:x:1000:\n"),
        "ballast": RootFile(os.urandom(ballast)),
    }
    return image_archive(name, files, _settings(command=["sh"]))


def client_image(kubectl: Path) -> bytes:
    """The shell with kubectl, which finds the API as any client within a pod does."""
    files = _busybox() | {"bin/kubectl": RootFile(kubectl.read_bytes(), 0o755)}
    return image_archive(CLIENT_IMAGE, files, _settings(command=["sh"]))


def guestbook_images(directory: Path) -> list[bytes]:
    """Leader, follower and front end; what each reads and says is in guestbook.c."""
    program = directory / "guestbook"
    compiler = ["gcc", "-O1", "-static", "-pthread", "-w", "-s"]
    subprocess.run([*compiler, "-o", program, _SOURCE], check=True, capture_output=True)
    binary = RootFile(program.read_bytes(), 0o755)
    return [
        image_archive(
            name, {"guestbook": binary}, _settings(entrypoint=["/guestbook"], command=[role])
        )
        for role, name in GUESTBOOK_IMAGES.items()
    ]


def _settings(entrypoint: list[str] | None = None, command: list[str] | None = None):
    path = {"PATH": "/bin"}
    return ImageSettings(entrypoint=entrypoint or [], command=command or [], environment=path)


def _busybox() -> dict[str, RootFile]:
    program = shutil.which("busybox")
    assert program is not None
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True)
    applets = set(listed.stdout.split()) - {"busybox"}
    links = {f"bin/{applet}": RootFile(link="busybox", mode=0o777) for applet in applets}
    return links | {"bin/busybox": RootFile(Path(program).read_bytes(), 0o755)}
