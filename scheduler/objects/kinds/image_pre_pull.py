"""ImagePrePull (ironfree.dev/v1): images that hosts shall have before pods come."""

from collections.abc import Iterable
from datetime import datetime

from ...errors import Cause
from ..image_pre_pull import MOST_IMAGES
from ..image_reference import InvalidReference, image_reference
from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer, text_at
from ..names import label_name_complaints, subdomain_complaints
from .causes import duplicate, invalid, one_of, required
from .fields import child, default_text, ensure, indexed, number, text, texts
from .placement_validation import label_selector_causes
from .printing import AGE, NAME, age, name


def _default(obj: JsonObject) -> None:
    spec = ensure(obj, "spec")
    default_text(spec, "imagePullPolicy", "IfNotPresent")
    default_text(spec, "namespace", "default")


def _validate(obj: JsonObject) -> Iterable[Cause]:
    spec = child(obj, "spec")
    images = texts(spec, "images")
    if not images:
        yield required("spec.images", "one image or more")
    if len(images) > MOST_IMAGES:
        yield invalid("spec.images", len(images), f"must be at most {MOST_IMAGES}")
    for index, image in enumerate(images):
        reference = image_reference(image)
        if isinstance(reference, InvalidReference):
            yield invalid(f"spec.images[{index}]", image, reference.why)
        if image in images[:index]:
            yield duplicate(f"spec.images[{index}]", image)
    policy = text(spec, "imagePullPolicy")
    yield from one_of("spec.imagePullPolicy", policy, ("IfNotPresent", "Always"))
    yield from label_selector_causes(child(spec, "selector"), "spec.selector")
    for complaint in label_name_complaints(text(spec, "namespace")):
        yield invalid("spec.namespace", text(spec, "namespace"), complaint)
    for path, secret in indexed(spec, "imagePullSecrets", "spec"):
        for complaint in subdomain_complaints(text(secret, "name")):
            yield invalid(f"{path}.name", text(secret, "name"), complaint)


def _initial_status(_obj: JsonObject) -> JsonObject:
    return {"phase": "Pulling"}


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    status = child(obj, "status")
    return (
        name(obj),
        len(texts(child(obj, "spec"), "images")),
        text(status, "phase"),
        f"{number(status, 'ready')}/{number(status, 'nodes')}",
        number(status, "pulling"),
        number(status, "failed"),
        age(obj, now),
        text(status, "message"),
    )


KIND = Kind(
    kind="ImagePrePull",
    plural="imageprepulls",
    message="ironfree.v1.ImagePrePull",
    group="ironfree.dev",
    short_names=("ipp",),
    categories=("ironfree",),
    namespaced=False,
    printer=Printer(
        (
            NAME,
            Column("Images", "integer", description="How many images."),
            Column("Phase", description="How far it is."),
            Column("Ready", description="Hosts that have all of them, of those asked for."),
            Column("Pulling", "integer", description="Pulls under way, or waiting for their turn."),
            Column("Failed", "integer", description="Pulls that are tried again later."),
            AGE,
            Column("Message", priority=1, description="Why it is as it is."),
        ),
        _cells,
    ),
    default=_default,
    initial_status=_initial_status,
    validate=_validate,
    fields={"status.phase": text_at("status.phase")},
    builtin=False,
)
