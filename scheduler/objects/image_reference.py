"""Names of images: registry, repository, tag and digest.

Source: the grammar of the distribution project's `reference` package, and Docker's normal form
("nginx" is docker.io/library/nginx), which kubelet uses, too.
"""

import re
from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
LATEST = "latest"
_LONGEST = 255
_LONGEST_NAME = 1024  # registry, repository, tag and digest together; longer ones are not looked at

_DOMAIN = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z"
)
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*\Z"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
_ID = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image's name in its normal form.

    Args:
        registry: host, and port where it is given: "docker.io", "registry:5000".
        path: the repository there: "library/nginx".
        tag: "latest" when the name has neither tag nor digest.
        digest: "sha256:…", "" without one.
    """

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Registry and path, as credentials are matched with."""
        return f"{self.registry}/{self.path}"

    def __str__(self) -> str:
        """Return the whole normal form."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True)
class InvalidReference:
    """Why a text names no image."""

    why: str


def image_reference(name: str) -> ImageReference | InvalidReference:
    """Return what a name of an image means."""
    if len(name) > _LONGEST_NAME:
        return InvalidReference(f"it is longer than {_LONGEST_NAME} characters")
    if _ID.match(name):
        return InvalidReference(
            f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"
        )
    rest, at, digest = name.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, colon, tag = rest, "", ""
    registry, path = _split(head)
    if path != path.lower():
        return InvalidReference(
            f"invalid reference format: repository name ({path}) must be lowercase"
        )
    valid = _DOMAIN.match(registry) and _PATH.match(path)
    if not valid or (colon and not _TAG.match(tag)) or (at and not _DIGEST.match(digest)):
        return InvalidReference("invalid reference format")
    if len(path) > _LONGEST:
        return InvalidReference(f"repository name must not be more than {_LONGEST} characters")
    return ImageReference(registry, path, tag if tag or digest else LATEST, digest)


def default_pull_policy(name: str) -> str:
    """Return the imagePullPolicy of a container that sets none: Always for the tag "latest"."""
    reference = image_reference(name)
    latest = isinstance(reference, ImageReference) and reference.tag == LATEST
    return "Always" if latest else "IfNotPresent"


def _split(name: str) -> tuple[str, str]:
    """Return registry and path; a first part that looks like no host belongs to the path."""
    first, slash, rest = name.partition("/")
    host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not host:
        first, rest = DEFAULT_REGISTRY, name
    if first == f"index.{DEFAULT_REGISTRY}":
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest
