"""What the service reads of its own kinds, and says of them, is in the API's schema.

What is not is cut away from every request before anybody sees it.
"""

import typing

import msgspec
import pytest

from scheduler.objects import schema
from scheduler.objects.image_build import ImageBuildSpec, ImageBuildStatus
from scheduler.objects.image_manifest import ImageManifestSpec, ImageManifestStatus
from scheduler.objects.image_pre_pull import ImagePrePullSpec, ImagePrePullStatus
from scheduler.objects.maintenance import HostMaintenance
from scheduler.objects.placement_job import PlacementSpec, PlacementStatus
from scheduler.objects.pod_group import PodGroupSpec, PodGroupStatus
from scheduler.objects.rebalance_job import RebalanceSpec, RebalanceStatus

SCHEMA = schema.load()
VIEWS = [
    HostMaintenance,
    ImageBuildSpec,
    ImageBuildStatus,
    ImageManifestSpec,
    ImageManifestStatus,
    ImagePrePullSpec,
    ImagePrePullStatus,
    PlacementSpec,
    PlacementStatus,
    PodGroupSpec,
    PodGroupStatus,
    RebalanceSpec,
    RebalanceStatus,
]
OURS = "ironfree.v1."


def structs(hint):
    """Return the structs in a type: T, T | None, tuple[T, ...], dict[str, T]."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [each for part in typing.get_args(hint) for each in structs(part)]


def strangers(view, message, seen):
    """Yield the fields of a view, and of what it holds, that the schema does not have."""
    if not message.startswith(OURS) or message in seen:
        return
    seen.add(message)
    hints = typing.get_type_hints(view)
    known = SCHEMA.message(message).fields
    for field in msgspec.structs.fields(view):
        found = known.get(field.encode_name)
        if found is None:
            yield f"{message}.{field.encode_name}"
        else:
            for each in structs(hints[field.name]):
                yield from strangers(each, found.message, seen)


@pytest.mark.parametrize("view", VIEWS)
def test_the_schema_has_every_field_that_a_view_has(view):
    assert not list(strangers(view, OURS + view.__name__, set()))
