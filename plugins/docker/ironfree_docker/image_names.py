"""What a container's image is called by its content, wherever else it is: repository@digest.

A container's description has the engine's own id of its image, which is another one on each engine
(Kubernetes' imageID is the digest in the registry).
"""

from collections.abc import Iterable

from scheduler.errors import EngineRejected
from scheduler.objects.image_reference import ImageReference, image_reference

from . import wire
from .images import Images
from .together import together

_MOST = 10_000


class ImageNames:
    """Of one open host: digests by image id, each asked for once."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._digests: dict[str, tuple[str, ...]] = {}

    async def learn(self, containers: Iterable[wire.Container]) -> None:
        """Find out what the images of these are called, and write it on them."""
        there = [each for each in containers if each.image and not each.digest]
        unknown = {each.image for each in there} - self._digests.keys()
        if len(self._digests) + len(unknown) > _MOST:
            self._digests.clear()
            unknown = {each.image for each in there}
        await together(*map(self._ask, unknown))
        for each in there:
            each.digest = _named(self._digests.get(each.image, ()), each.config.image)

    async def _ask(self, image: str) -> None:
        try:
            found = await self._images.look(image)  # None: removed, though it is used
        except EngineRejected:
            found = None  # pods are not to be unknown for want of a name
        self._digests[image] = tuple((found.repo_digests if found else None) or ())


def _named(digests: tuple[str, ...], wanted: str) -> str:
    """Return the digest in the repository that a container names, else any; "" for none."""
    if not digests:
        return ""
    own = image_reference(wanted)
    known = [each for each in map(image_reference, digests) if isinstance(each, ImageReference)]
    if isinstance(own, ImageReference):
        known.sort(key=lambda each: each.repository != own.repository)
    return f"{known[0].repository}@{known[0].digest}" if known else ""
