"""InterPodAffinity: pods are drawn to, or kept from, domains where certain pods run."""

from dataclasses import dataclass
from typing import Self

from scheduler.hookspecs import (
    Change,
    Counts,
    CoupledScores,
    Normalise,
    PodClass,
    Rows,
    Scores,
    Snapshot,
    Verdict,
)
from scheduler.objects.json import JsonObject


@dataclass(frozen=True)
class InterPodAffinity:
    """Kubernetes InterPodAffinity."""

    name: str = "InterPodAffinity"
    wakes_on: Change = Change.ANY
    weight: int = 2
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = False

    @classmethod
    def from_args(cls, args: JsonObject) -> Self:
        """Return the rule with a profile's arguments (InterPodAffinityArgs)."""
        return cls()

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Judge all nodes."""
        return None

    def score(
        self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts
    ) -> Scores | CoupledScores | None:
        """Score the next copy."""
        return None
