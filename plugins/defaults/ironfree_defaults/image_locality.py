"""ImageLocality: nodes that have the pod's images are better."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np

from scheduler.errors import ConfigurationError
from scheduler.hookspecs import (
    Counts,
    Normalise,
    PodClass,
    Rows,
    Scores,
    Snapshot,
)
from scheduler.objects.json import JsonObject

_MB = 1024 * 1024
_LEAST = 23 * _MB  # smaller images do not count
_MOST_EACH = 1000 * _MB  # per image of the pod; larger ones count no more
_KEPT = 256

Images = Mapping[str, Mapping[int, int]]


@dataclass(slots=True)
class _Known:
    """Scores by the pod's images, as long as nodes have the images they have."""

    images: Images = field(default_factory=dict[str, Mapping[int, int]])
    nodes: int = 0
    scores: OrderedDict[tuple[str, ...], Counts] = field(
        default_factory=OrderedDict[tuple[str, ...], Counts]
    )


@dataclass(frozen=True)
class ImageLocality:
    """Kubernetes ImageLocality.

    An image scores its size times the share of all nodes that have it, so that pods do not crowd
    where it happens to be first. Init containers and image volumes count like containers; the sum
    counts from 23 MiB to 1000 MiB per image.
    """

    name: str = "ImageLocality"
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = False
    _known: _Known = field(default_factory=_Known, compare=False, repr=False)

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule, which has no arguments."""
        unknown = args.keys() - {"apiVersion", "kind"}
        if unknown:
            raise ConfigurationError(f"ImageLocality has no argument {min(unknown)!r}")
        return cls()

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Score the size of the pod's images that a node has."""
        if not snapshot.images:
            return None
        wanted = images_of(pod)
        if not any(name in snapshot.images for name in wanted):
            return None
        return snapshot.at(self._all(wanted, snapshot), rows)

    def _all(self, wanted: tuple[str, ...], snapshot: Snapshot) -> Counts:
        """Return the scores of all nodes.

        Snapshots share the table of images, which is never changed in place, until a node's
        images change.
        """
        known = self._known
        if known.images is not snapshot.images or known.nodes != snapshot.size:
            known.images, known.nodes = snapshot.images, snapshot.size
            known.scores.clear()
        scores = known.scores.get(wanted)
        if scores is None:
            scores = known.scores[wanted] = _scores(wanted, snapshot.images, snapshot.size)
            if len(known.scores) > _KEPT:
                known.scores.popitem(last=False)
        return scores


def _scores(wanted: tuple[str, ...], images: Images, nodes: int) -> Counts:
    total = np.zeros(nodes, dtype=np.int64)
    for name in wanted:
        sizes = images.get(name)
        if not sizes:
            continue
        rows = np.fromiter(sizes.keys(), dtype=np.int64, count=len(sizes))
        bytes_there = np.fromiter(sizes.values(), dtype=np.float64, count=len(sizes))
        total[rows] += (bytes_there * (len(sizes) / nodes)).astype(np.int64)
    most = _MOST_EACH * len(wanted)
    scores = 100 * (np.clip(total, _LEAST, most) - _LEAST) // (most - _LEAST)
    scores.flags.writeable = False
    return scores


@lru_cache(maxsize=4096)
def images_of(pod: PodClass) -> tuple[str, ...]:
    """Return the images a pod uses as nodes name them; an image used twice is there twice."""
    spec = pod.spec
    names = [container.image for container in (*spec.init_containers, *spec.containers)]
    names += [volume.image.reference for volume in spec.volumes if volume.image is not None]
    return tuple(map(normalised, names))


def normalised(name: str) -> str:
    """Return an image's name with its tag; without one it is "latest"."""
    return name if name.rfind(":") > name.rfind("/") else f"{name}:latest"
