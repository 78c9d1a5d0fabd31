"""Builds of images: the typed view of ImageBuilds, and what bounds them."""

import re
from datetime import datetime
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

import msgspec

from .meta import ObjectMeta
from .pod import LabelSelector, LocalObjectReference, View
from .stored import StoredObject

RESOURCE = "imagebuilds.ironfree.dev"

DEFAULT_DEADLINE = 1800
MOST_SECONDS = 24 * 3600
MOST_INLINE = 1 << 20  # bytes of a Dockerfile and the files beside it
MOST_FILES = 256
MOST_CONTEXT = 128 << 20  # bytes of a context that is uploaded, or comes from git
MOST_LINES = 50  # of the log that status keeps
LONGEST_LINE = 200
MOST_TOLD = 20  # hosts that status names
MOST_ATTEMPTS = 3

_GIT_SCHEMES = ("https", "ssh", "http")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}\Z")


class Phase(StrEnum):
    """How far an ImageBuild is. The last two are final."""

    PENDING = "Pending"
    BUILDING = "Building"
    PUSHING = "Pushing"
    DISTRIBUTING = "Distributing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})


class DockerfileSource(View, frozen=True):
    """A Dockerfile, and small files beside it by path; all of it text."""

    text: str = ""
    files: dict[str, str] = {}


class GitSource(View, frozen=True):
    """A repository.

    Args:
        ref: a branch, tag or commit; "" is what the repository calls HEAD.
        directory: of the repository, that is the context; dockerfile: in there.
        secret_name: a Secret of type kubernetes.io/basic-auth or kubernetes.io/ssh-auth.
    """

    url: str = ""
    ref: str = ""
    directory: str = ""
    dockerfile: str = ""
    secret_name: str = ""


class CommitSource(View, frozen=True):
    """A container of a running pod of the namespace."""

    pod: str = ""
    container: str = ""
    pause: bool = True


class UploadSource(View, frozen=True):
    """A context that is sent to subresource `context`."""

    dockerfile: str = ""


class Push(View, frozen=True):
    """Where the image goes besides: the registry in its name, as whom."""

    secret_name: str = ""


class ImageBuildSpec(View, frozen=True):
    """ironfree.dev/v1 ImageBuildSpec; one of the first four is set."""

    dockerfile: DockerfileSource | None = None
    git: GitSource | None = None
    commit: CommitSource | None = None
    upload: UploadSource | None = None
    image: str = ""
    build_args: dict[str, str] = {}
    target: str = ""
    node_name: str = ""
    node_selector: dict[str, str] = {}
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    push: Push | None = None
    distribute_to: LabelSelector | None = None
    deadline_seconds: int = DEFAULT_DEADLINE


class Distribution(msgspec.Struct, frozen=True, rename="camel"):
    """Copies on other hosts; counts are always written.

    Args:
        skipped: hosts that do not answer or have another architecture, some by name.
        failed: hosts that got none, some with the reason.
    """

    hosts: int = 0
    copied: int = 0
    skipped: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class ImageBuildStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """ironfree.dev/v1 ImageBuildStatus.

    Args:
        reason: one CamelCase word where it failed.
        attempts: how often it was begun.
        context_bytes: of an uploaded context, once it is there.
        digest: the registry's, of an image that was pushed.
        log: the last lines; log_lines: how many there were.
    """

    phase: str = Phase.PENDING
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    attempts: int = 0
    node_name: str = ""
    context_bytes: int = 0
    image_id: str = msgspec.field(name="imageID", default="")
    digest: str = ""
    size_bytes: int = 0
    distribution: Distribution | None = None
    log_lines: int = 0
    log: tuple[str, ...] = ()


class ImageBuild(msgspec.Struct, frozen=True):
    """An ImageBuild as its runner sees it."""

    meta: ObjectMeta
    spec: ImageBuildSpec
    status: ImageBuildStatus

    @property
    def ended(self) -> bool:
        """Whether nothing more is done about it."""
        return self.status.phase in FINAL or self.meta.deletion_timestamp is not None

    @property
    def has_context(self) -> bool:
        """Whether what it is built of is there, or can be asked for."""
        return self.spec.upload is None or self.status.context_bytes > 0


class _Body(msgspec.Struct):
    spec: ImageBuildSpec = ImageBuildSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(ImageBuildStatus)


def build_status(stored: StoredObject) -> ImageBuildStatus:
    """Return the status of a stored ImageBuild."""
    return _status.decode(stored.status) if stored.status else ImageBuildStatus()


def image_build(stored: StoredObject) -> ImageBuild:
    """Return the typed view of a stored ImageBuild."""
    spec = _body.decode(stored.body.json).spec
    return ImageBuild(meta=stored.meta, spec=spec, status=build_status(stored))


def git_url(text: str) -> SplitResult | str:
    """Return a repository's URL in its parts, or why it is none that is fetched from."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return "is no URL"
    if url.scheme not in _GIT_SCHEMES or not url.hostname:
        return "must be https://, ssh:// or http://, with a host"
    if url.password is not None or (url.username and url.scheme != "ssh"):
        return "must have no user or password in it; name a Secret in secretName"
    if not _HOST.match(url.hostname) or (url.username and not _USER.match(url.username)):
        return "has a host or user that is none"
    unfit = not text.isascii() or not text.isprintable() or " " in text or port == 0
    if unfit or url.query or url.fragment or len(text) > 1024 or len(url.path) < 2:
        return "must be scheme://host/path without query and fragment"
    return url


def git_revision_complaint(ref: str) -> str:
    """Return why a text is no branch, tag or commit, "" when it may be one."""
    if not _REVISION.match(ref) or ".." in ref or "//" in ref or ref.endswith(("/", ".", ".lock")):
        return "must be a branch, a tag or a commit"
    return ""


def inner_path_complaint(path: str) -> str:
    """Return why a path is none below a directory, "" when it is."""
    parts = path.split("/")
    if not path.isprintable() or len(path) > 1024 or "\\" in path:
        return "must be a path of printable characters"
    if any(part in {"", ".", ".."} for part in parts) or parts[0] == ".git":
        return "must be a relative path without ., .. and empty parts"
    return ""
