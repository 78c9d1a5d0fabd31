"""ImageBuild (ironfree.dev/v1): an image made of a Dockerfile, a repository or a container."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

from ...errors import Cause
from ..image_build import (
    DEFAULT_DEADLINE,
    MOST_FILES,
    MOST_INLINE,
    MOST_SECONDS,
    git_revision_complaint,
    git_url,
    inner_path_complaint,
)
from ..image_reference import DEFAULT_REGISTRY, ImageReference, image_reference
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..names import subdomain_complaints
from .causes import forbidden, invalid, label_map_causes, required
from .fields import child, default_text, ensure, indexed, number, setdefault, text, text_map
from .placement_validation import label_selector_causes
from .printing import AGE, NAME, age, name, or_none

SOURCES = ("dockerfile", "git", "commit", "upload")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_SECRET = re.compile(r"passw|secret|token|credential|(api|access|private)_?key", re.IGNORECASE)
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_MOST_ARGUMENTS = 64
_LONGEST_ARGUMENT = 4096
_OWN = "ironfree"  # the repositories of images that this service makes for itself


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    setdefault(spec, "deadlineSeconds", DEFAULT_DEADLINE)
    if isinstance(spec.get("git"), dict):
        default_text(child(spec, "git"), "dockerfile", "Dockerfile")
    if isinstance(spec.get("upload"), dict):
        default_text(child(spec, "upload"), "dockerfile", "Dockerfile")
    if isinstance(spec.get("commit"), dict):
        setdefault(child(spec, "commit"), "pause", value=True)


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    given = [source for source in SOURCES if isinstance(spec.get(source), dict)]
    if len(given) != 1:
        yield required("spec", f"give one of {', '.join(SOURCES)}")
    yield from _image_causes(text(spec, "image"), pushed="push" in spec)
    if "dockerfile" in given:
        yield from _dockerfile_causes(child(spec, "dockerfile"), "spec.dockerfile")
    if "git" in given:
        yield from _git_causes(child(spec, "git"), "spec.git")
    if "commit" in given:
        yield from _commit_causes(spec)
    if "upload" in given:
        yield from _path_causes("spec.upload.dockerfile", text(child(spec, "upload"), "dockerfile"))
    yield from _argument_causes(spec)
    yield from _place_causes(spec)
    seconds = number(spec, "deadlineSeconds")
    if not 1 <= seconds <= MOST_SECONDS:
        yield invalid("spec.deadlineSeconds", seconds, f"must be between 1 and {MOST_SECONDS}")


def _image_causes(image: str, *, pushed: bool) -> Iterator[Cause]:
    if not image:
        yield required("spec.image", "the name that the image gets")
        return
    reference = image_reference(image)
    if not isinstance(reference, ImageReference):
        yield invalid("spec.image", image, reference.why)
        return
    if reference.digest:
        yield invalid("spec.image", image, "must have no digest, which follows from what is built")
    if reference.registry == DEFAULT_REGISTRY and reference.path.startswith(f"{_OWN}/"):
        yield forbidden("spec.image", f"{_OWN}/… are images that Ironfree makes for itself")
    if pushed and reference.registry == DEFAULT_REGISTRY and reference.path.startswith("library/"):
        yield invalid("spec.image", image, "must name the registry or account to push to")


def _dockerfile_causes(source: JsonObject, path: str) -> Iterator[Cause]:
    if not text(source, "text").strip():
        yield required(f"{path}.text", "the content of a Dockerfile")
    files = text_map(source, "files")
    if len(files) > MOST_FILES:
        yield invalid(f"{path}.files", len(files), f"must be at most {MOST_FILES}")
    for file in files:
        yield from _path_causes(f"{path}.files", file)
        if file == "Dockerfile":
            yield forbidden(f"{path}.files", "the Dockerfile is given in text")
    names = {*files, "Dockerfile"}
    for file in files:
        if any(other.startswith(f"{file}/") for other in names):
            yield invalid(f"{path}.files", file, "is a directory of another file, too")
    size = sum(len(each.encode()) for each in (text(source, "text"), *files, *files.values()))
    if size > MOST_INLINE:
        yield invalid(path, size, f"must be at most {MOST_INLINE} bytes; upload it, or use git")


def _git_causes(source: JsonObject, path: str) -> Iterator[Cause]:
    url = git_url(text(source, "url"))
    if isinstance(url, str):
        yield invalid(f"{path}.url", _without_password(text(source, "url")), url)
    elif url.scheme == "ssh" and not text(source, "secretName"):
        yield required(f"{path}.secretName", "a Secret of type kubernetes.io/ssh-auth")
    ref = text(source, "ref")
    if ref and (complaint := git_revision_complaint(ref)):
        yield invalid(f"{path}.ref", ref, complaint)
    if text(source, "directory"):
        yield from _path_causes(f"{path}.directory", text(source, "directory"))
    yield from _path_causes(f"{path}.dockerfile", text(source, "dockerfile"))
    yield from _name_causes(f"{path}.secretName", text(source, "secretName"))


def _without_password(url: str) -> str:
    """Return a URL as it may be shown: whoever wrote a password there did not mean to."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://…@{rest.rpartition('@')[2]}" if separator and "@" in rest else url


def _commit_causes(spec: JsonObject) -> Iterator[Cause]:
    source = child(spec, "commit")
    if not text(source, "pod"):
        yield required("spec.commit.pod", "a pod of the namespace")
    for field in ("nodeName", "nodeSelector", "buildArgs", "target", "imagePullSecrets"):
        if spec.get(field):
            yield forbidden(f"spec.{field}", "a container is committed where it runs, as it is")


def _path_causes(field: str, path: str) -> Iterator[Cause]:
    if complaint := inner_path_complaint(path):
        yield invalid(field, path, complaint)


def _name_causes(field: str, value: str) -> Iterator[Cause]:
    for complaint in subdomain_complaints(value) if value else ():
        yield invalid(field, value, complaint)


def _argument_causes(spec: JsonObject) -> Iterator[Cause]:
    arguments = text_map(spec, "buildArgs")
    if len(arguments) > _MOST_ARGUMENTS:
        yield invalid("spec.buildArgs", len(arguments), f"must be at most {_MOST_ARGUMENTS}")
    for key, value in arguments.items():
        if not _ARGUMENT.match(key):
            yield invalid("spec.buildArgs", key, "must be the name of an ARG")
        if len(value) > _LONGEST_ARGUMENT:
            why = f"must have at most {_LONGEST_ARGUMENT} characters"
            yield invalid(f"spec.buildArgs[{key}]", len(value), why)
    target = text(spec, "target")
    if target and not _STAGE.match(target):
        yield invalid("spec.target", target, "must be the name of a stage")


def _warnings(obj: JsonObject) -> Iterable[str]:
    for key in text_map(child(obj, "spec"), "buildArgs"):
        if _SECRET.search(key):
            yield (
                f"spec.buildArgs[{key}]: build arguments are no secrets; they stay in this object "
                "and in the history of the image"
            )


def _place_causes(spec: JsonObject) -> Iterator[Cause]:
    yield from _name_causes("spec.nodeName", text(spec, "nodeName"))
    yield from label_map_causes(child(spec, "nodeSelector"), "spec.nodeSelector")
    yield from label_selector_causes(child(spec, "distributeTo"), "spec.distributeTo")
    yield from _name_causes("spec.push.secretName", text(child(spec, "push"), "secretName"))
    for path, secret in indexed(spec, "imagePullSecrets", "spec"):
        yield from _name_causes(f"{path}.name", text(secret, "name"))


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    if child(old, "spec") != child(new, "spec"):
        yield forbidden("spec", "an ImageBuild may not change; delete it, and create another")


def _initial_status(obj: JsonObject) -> JsonObject:
    if isinstance(child(obj, "spec").get("upload"), dict):
        return {"phase": "Pending", "message": "waits for its context: PUT a tar to …/context"}
    return {"phase": "Pending"}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    spec, status = child(obj, "spec"), child(obj, "status")
    source = next((each for each in SOURCES if isinstance(spec.get(each), dict)), "")
    return (
        name(obj),
        source,
        text(spec, "image"),
        text(status, "phase"),
        or_none(text(status, "nodeName")),
        age(obj, now),
        or_none(text(status, "imageID")),
        text(status, "message"),
    )


KIND = Kind(
    kind="ImageBuild",
    plural="imagebuilds",
    message="ironfree.v1.ImageBuild",
    group="ironfree.dev",
    short_names=("ib",),
    categories=("ironfree",),
    printer=Printer(
        (
            NAME,
            Column("Source", description="What it is built of."),
            Column("Image", description="The name that the image gets."),
            Column("Phase", description="How far it is."),
            Column("Node", description="Where it is built."),
            AGE,
            Column("Image-ID", priority=1, description="The image, by the engine's id."),
            Column("Message", priority=1, description="Why it is as it is."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    validate_update=_validate_update,
    warnings=_warnings,
    subresources=("context",),
    fields={
        "status.phase": text_at("status.phase"),
        "status.nodeName": text_at("status.nodeName"),
        "spec.image": text_at("spec.image"),
    },
    builtin=False,
)
