"""What images are made for, as registries tell: the typed view of ImageManifests."""

import hashlib
from datetime import datetime

import msgspec

from .meta import ObjectMeta
from .pod import View
from .stored import StoredObject

RESOURCE = "imagemanifests.ironfree.dev"
MOST_PLATFORMS = 64
_UNKNOWN = "unknown"  # what registries say of parts of an image that nobody runs


class Platform(View, frozen=True):
    """What one variant of an image is made for (OCI image index); GOOS and GOARCH spelling."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


class ImageManifestSpec(View, frozen=True):
    """ironfree.dev/v1 ImageManifestSpec; the image's name in its normal form."""

    image: str = ""


class ImageManifestStatus(msgspec.Struct, frozen=True, rename="camel"):
    """ironfree.dev/v1 ImageManifestStatus; the digest is the registry's, of all variants."""

    digest: str = ""
    platforms: tuple[Platform, ...] = ()
    observed_time: datetime | None = None


class ImageManifest(msgspec.Struct, frozen=True):
    """An ImageManifest as it is read."""

    meta: ObjectMeta
    spec: ImageManifestSpec
    status: ImageManifestStatus
    stored: StoredObject

    @property
    def architectures(self) -> frozenset[str]:
        """What it can run on, as far as Linux goes; none when that is not known."""
        return frozenset(p.architecture for p in self.status.platforms if is_runnable(p))


def is_runnable(platform: Platform) -> bool:
    """Return whether a variant is one for Linux, and no attestation or the like."""
    return platform.os in {"", "linux"} and platform.architecture not in {"", _UNKNOWN}


class _Body(msgspec.Struct):
    spec: ImageManifestSpec = ImageManifestSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(ImageManifestStatus)


def image_manifest(stored: StoredObject) -> ImageManifest:
    """Return the typed view of a stored ImageManifest."""
    return ImageManifest(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else ImageManifestStatus(),
        stored=stored,
    )


def manifest_name(image: str) -> str:
    """Return the name of the ImageManifest of an image, which is given in normal form."""
    return hashlib.sha256(image.encode()).hexdigest()[:40]
