"""ImageArchitecture: pods go where their images can run."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from scheduler.hookspecs import Change, Mask, PodClass, Snapshot, Verdict
from scheduler.objects.image_reference import image_reference

from .image_locality import images_of

_ARCHITECTURE = "kubernetes.io/arch"
_UNFIT = "node(s) had an architecture that an image is not made for"


@dataclass(frozen=True)
class ImageArchitecture:
    """Rejects nodes of architectures for which one of the pod's images is known not to exist.

    What is not known is allowed: an image whose registry has not been asked, a node that does not
    tell its architecture. So is a node that has the image. (kube-scheduler has no such rule.)
    """

    name: str = "ImageArchitecture"
    wakes_on: Change = Change.NODE_ADDED | Change.NODE_LABELS | Change.IMAGES

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes that no variant of an image is for."""
        if not snapshot.architectures:
            return None
        room = snapshot.every()
        for fits in _fits(pod, snapshot):
            room &= fits
        return None if room.all() else Verdict(room, _UNFIT, resolvable=False)


def _fits(pod: PodClass, snapshot: Snapshot) -> Iterator[Mask]:
    """Yield, of each image that is known, where it can run."""
    for name, whole in _names(pod):
        found = snapshot.architectures.get(whole)
        if found is None:
            continue
        column = snapshot.label(_ARCHITECTURE)
        fits = column.is_in(sorted(found)) | ~column.has()
        for known in {name, whole}:
            fits[list(snapshot.images.get(known, ()))] = True
        yield fits


@lru_cache(maxsize=4096)
def _names(pod: PodClass) -> tuple[tuple[str, str], ...]:
    """Return the pod's images as nodes name them, and their whole names."""
    return tuple((name, str(image_reference(name))) for name in dict.fromkeys(images_of(pod)))
