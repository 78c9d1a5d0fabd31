"""ImageManifest (ironfree.dev/v1): the architectures an image is made for. Made by the nodes."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..image_manifest import manifest_name
from ..image_reference import image_reference
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from .causes import forbidden, invalid
from .fields import child, children, text
from .printing import AGE, NAME, age, name, or_none


def _validate(obj: JsonObject) -> Iterable[Cause]:
    image = text(child(obj, "spec"), "image")
    if str(image_reference(image)) != image:
        yield invalid("spec.image", image, "must be the whole name: registry, path and tag")
    elif text(child(obj, "metadata"), "name") != manifest_name(image):
        why = f"must be {manifest_name(image)}, which follows from spec.image"
        yield invalid("metadata.name", text(child(obj, "metadata"), "name"), why)


def _validate_update(old: JsonObject, new: JsonObject) -> Iterable[Cause]:
    if child(old, "spec") != child(new, "spec"):
        yield forbidden("spec", "an ImageManifest is of one image")


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    platforms = children(child(obj, "status"), "platforms")
    found = dict.fromkeys(text(each, "architecture") for each in platforms)
    return (
        name(obj),
        text(child(obj, "spec"), "image"),
        or_none(",".join(found)),
        age(obj, now),
        or_none(text(child(obj, "status"), "digest")),
    )


KIND = Kind(
    kind="ImageManifest",
    plural="imagemanifests",
    message="ironfree.v1.ImageManifest",
    group="ironfree.dev",
    short_names=("im",),
    categories=("ironfree",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Image", description="The image's whole name."),
            Column("Architectures", description="What it is made for."),
            AGE,
            Column("Digest", priority=1, description="Of all of it, in its registry."),
        ),
        _cells,
    ),
    validate=_validate,
    validate_update=_validate_update,
    fields={"spec.image": text_at("spec.image")},
    builtin=False,
)
