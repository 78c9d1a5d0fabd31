"""Copies images from host to host, for hosts that reach no registry.

An image passes through this process in parts, as fast as the slower host takes them. Which hosts
may have it, their Nodes say (status.images), a few minutes late; so some others are asked as well.
"""

import random
from collections.abc import Callable, Iterator, Mapping

from ..drivers import Host
from ..errors import DriverError, ImageUnavailable
from ..images import ImageStore
from ..objects.node import node_view
from ..objects.stored import ObjectKey, StoredObject

HOSTS = "other hosts"  # in place of a registry's name
_TRIES = 3  # hosts whose Nodes say that they have it
_ASKED = 8  # others
_ARCHITECTURE = "kubernetes.io/arch"


async def copy_image(source: ImageStore, target: ImageStore, image: str) -> None:
    """Have an image on a host as another has it, by the same name; DriverError where it fails."""
    async with source.save(image) as archive:
        await target.load(archive)


class ImageSharing:
    """One per leader.

    Args:
        nodes: returns the Nodes there are, by key.
        host: finds the open connection of a node.
    """

    def __init__(
        self,
        nodes: Callable[[], Mapping[ObjectKey, StoredObject]],
        host: Callable[[str], Host | None],
    ) -> None:
        self._nodes = nodes
        self._host = host

    async def copy(self, node: str, image: str, target: ImageStore) -> None:
        """Have an image on a host as another of the same architecture has it.

        Raises:
            ImageUnavailable: no other host that answers has it.
        """
        failure = "no other host has it"
        for source in self._sources(node, image):
            try:
                if await source.find(image) is None:
                    continue
                await copy_image(source, target, image)
            except DriverError as error:
                failure = str(error)
                continue
            return
        raise ImageUnavailable(f"{image} cannot be copied to {node}: {failure}")

    def _sources(self, node: str, image: str) -> Iterator[ImageStore]:
        nodes = self._nodes()
        here = nodes.get(ObjectKey("nodes", "", node))
        if here is None:
            return
        told, others = list[str](), list[str]()
        for each in nodes.values():
            if each.meta.name != node and architecture(each) == architecture(here):
                (told if _has(each, image) else others).append(each.meta.name)
        chosen = random.sample(told, min(_TRIES, len(told)))
        for name in chosen + random.sample(others, min(_ASKED, len(others))):
            host = self._host(name)
            if host is not None:
                yield host.images


def _has(node: StoredObject, image: str) -> bool:
    if image.encode() not in node.status:  # most have not, and need not be decoded
        return False
    return any(image in each.names for each in node_view(node).status.images)


def architecture(node: StoredObject) -> str:
    """Return what a Node says of its processor (GOARCH), "" for nothing."""
    return node.meta.labels.get(_ARCHITECTURE, "")
