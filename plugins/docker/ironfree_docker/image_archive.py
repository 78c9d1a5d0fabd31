"""Container images written as archives that `POST /images/load` takes: no registry, no build."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RootFile:
    """One file of an image's root.

    Args:
        content: the bytes; ignored for a symbolic link and a directory.
        mode: permission bits.
        link: the target, when this is a symbolic link.
        directory: whether this is a directory.
        group: whom it belongs to.
    """

    content: bytes = b""
    mode: int = 0o644
    link: str = ""
    directory: bool = False
    group: int = 0


@dataclass(frozen=True)
class ImageSettings:
    """What the image's configuration says (OCI image configuration, `config`)."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    architecture: str = "amd64"


def image_archive(name: str, files: Mapping[str, RootFile], settings: ImageSettings) -> bytes:
    """An image of one layer as a docker-save archive.

    Equal arguments give equal bytes, so every host ends with the same image id.

    Args:
        name: repository and tag, e.g. "guestbook:v1".
        files: by path inside the image, without a leading slash.
        settings: entry point, command, environment, architecture.

    Source: the "Combined Image JSON + Filesystem Changeset" format, image specification v1.2.
    """
    layer = tar_archive({path: files[path] for path in sorted(files)})
    configuration = {
        "architecture": settings.architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": list(settings.entrypoint) or None,
            "Cmd": list(settings.command) or None,
            "Env": [f"{key}={value}" for key, value in settings.environment.items()],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    config = json.dumps(configuration, sort_keys=True).encode()
    config_path = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_path, "RepoTags": [name], "Layers": ["layer.tar"]}]
    return tar_archive(
        {
            config_path: RootFile(config),
            "layer.tar": RootFile(layer),
            "manifest.json": RootFile(json.dumps(manifest).encode()),
        }
    )


def tar_archive(files: Mapping[str, RootFile]) -> bytes:
    """Return the files, by path without a leading slash, as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, file in files.items():
            member = tarfile.TarInfo(path)
            member.mode, member.gid = file.mode, file.group
            if file.link:
                member.type, member.linkname = tarfile.SYMTYPE, file.link
                archive.addfile(member)
            elif file.directory:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(file.content)
                archive.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()
