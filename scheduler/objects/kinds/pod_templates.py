"""Pods by template and count, as Placements and Rebalances name them."""

from collections.abc import Iterable

from ...errors import Cause
from ..json import JsonObject
from .causes import invalid, label_map_causes
from .fields import child, default_text, ensure, number, setdefault
from .pod_defaults import default_pod_spec
from .pod_validation import pod_spec_causes


def default_templates(templates: Iterable[JsonObject]) -> None:
    """Fill in what entries {name, count, template} leave out."""
    for index, template in enumerate(templates):
        default_text(template, "name", f"template-{index}")
        setdefault(template, "count", 1)
        default_pod_spec(ensure(child(template, "template"), "spec"))


def template_causes(template: JsonObject, path: str, most: int) -> Iterable[Cause]:
    """Yield what is wrong with an entry.

    Args:
        most: copies that it may have.
    """
    count = number(template, "count")
    if not 1 <= count <= most:
        yield invalid(f"{path}.count", count, f"must be between 1 and {most}")
    body = child(template, "template")
    labels = child(child(body, "metadata"), "labels")
    yield from label_map_causes(labels, f"{path}.template.metadata.labels")
    yield from pod_spec_causes(child(body, "spec"), f"{path}.template.spec")
