"""ImageLocality: nodes that have the pod's images are better."""

from dataclasses import dataclass
from typing import Self

from scheduler.hookspecs import (
    Counts,
    Normalise,
    PodClass,
    Rows,
    Scores,
    Snapshot,
)
from scheduler.objects.json import JsonObject


@dataclass(frozen=True)
class ImageLocality:
    """Kubernetes ImageLocality."""

    name: str = "ImageLocality"
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = False

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (ImageLocalityArgs)."""
        return cls()

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Score the next copy."""
        return None
