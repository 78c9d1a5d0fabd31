"""Images that hosts shall have before pods come: the typed view of ImagePrePulls."""

from enum import StrEnum

import msgspec

from .meta import ObjectMeta
from .pod import LabelSelector, LocalObjectReference, View
from .stored import StoredObject

RESOURCE = "imageprepulls.ironfree.dev"
MOST_IMAGES = 64
MOST_FAILURES = 20  # that status tells


class Phase(StrEnum):
    """READY: every host that is asked for has every image. FAILING: some cannot be had now."""

    PULLING = "Pulling"
    READY = "Ready"
    FAILING = "Failing"


class ImagePrePullSpec(View, frozen=True):
    """ironfree.dev/v1 ImagePrePullSpec.

    Args:
        namespace: of the Secrets, or of the ServiceAccount "default" where none are named.
        selector: of Nodes; None is all.
    """

    images: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    image_pull_policy: str = ""
    namespace: str = "default"
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()


class ImagePrePullStatus(msgspec.Struct, frozen=True, rename="camel"):
    """ironfree.dev/v1 ImagePrePullStatus; counts are always written.

    Args:
        nodes: that are asked for. ready: of them, those that answer and have every image.
        pulling, failed: images times hosts, of which that can be said now.
        failures: some of them, with node, image and reason.
    """

    phase: str = Phase.PULLING
    message: str = ""
    observed_generation: int = 0
    nodes: int = 0
    ready: int = 0
    pulling: int = 0
    failed: int = 0
    failures: tuple[str, ...] = ()


class ImagePrePull(msgspec.Struct, frozen=True):
    """An ImagePrePull as its runner sees it."""

    meta: ObjectMeta
    spec: ImagePrePullSpec
    status: ImagePrePullStatus


class _Body(msgspec.Struct):
    spec: ImagePrePullSpec = ImagePrePullSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(ImagePrePullStatus)


def image_pre_pull(stored: StoredObject) -> ImagePrePull:
    """Return the typed view of a stored ImagePrePull."""
    return ImagePrePull(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else ImagePrePullStatus(),
    )
