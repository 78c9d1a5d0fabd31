"""Which images of a host to remove when its disk is full. Pure.

Source: kubelet's image garbage collection (imageGCHighThresholdPercent, -LowThresholdPercent,
imageMinimumGCAge).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..images import Filesystem, LocalImage
from ..objects.image_reference import ImageReference, image_reference
from ..objects.node import ContainerImage

_MOST_IMAGES = 50  # that a Node tells, the largest
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class CollectionLimits:
    """When images are removed.

    Args:
        high, low: percent of the disk in use; from high on, images are removed until it is low.
            A high of 100 removes none.
        least_age: seconds since an image was first seen or last used.
    """

    high: int = 85
    low: int = 80
    least_age: float = 120.0


def excess(disk: Filesystem, limits: CollectionLimits) -> int:
    """Return how many bytes of images to remove; 0 below the high threshold."""
    used = disk.capacity - disk.available
    if limits.high >= 100 or not disk.capacity or used * 100 < disk.capacity * limits.high:
        return 0
    return shortfall(disk, limits)


def shortfall(disk: Filesystem, limits: CollectionLimits) -> int:
    """Return how many bytes must go for the disk to be low."""
    return max(0, disk.capacity * (100 - limits.low) // 100 - disk.available)


def removable(
    images: Iterable[LocalImage], used: Mapping[str, float], now: float, least_age: float
) -> list[LocalImage]:
    """Return what may be removed, that first which has not been used for longest.

    Args:
        used: image id → when it was last in use or, never having been, first seen; seconds.
    """
    free = [
        image
        for image in images
        if image.pulled and not image.in_use and now - used.get(image.id, now) >= least_age
    ]
    return sorted(free, key=lambda image: used[image.id])


def told(images: Iterable[LocalImage]) -> tuple[ContainerImage, ...]:
    """Return a Node's status.images: the largest, by the names that pods may give them."""
    largest = sorted((image for image in images if image.names), key=lambda i: (-i.size, i.id))
    return tuple(ContainerImage(_names(i), i.size) for i in largest[:_MOST_IMAGES])


def _names(image: LocalImage) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for name in image.names:
        names[name] = None
        reference = image_reference(name)
        if isinstance(reference, ImageReference):
            names[str(reference)] = None
    return tuple(names)[:_MOST_NAMES]
