"""NodeResourcesBalancedAllocation: nodes whose resources would be used evenly are better."""

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
class NodeResourcesBalancedAllocation:
    """Kubernetes NodeResourcesBalancedAllocation."""

    name: str = "NodeResourcesBalancedAllocation"
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = False

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (NodeResourcesBalancedAllocationArgs)."""
        return cls()

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Score the next copy."""
        return None
