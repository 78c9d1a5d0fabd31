"""What the engine answers: a plan, what is proved about it, and how far it got."""

from dataclasses import dataclass
from enum import StrEnum

from .arrays import Counts


class Status(StrEnum):
    """What is known of a plan.

    OPTIMAL: no plan is better (every goal's value equals its bound). FEASIBLE: valid, within the
    gap of the best possible. INFEASIBLE: what was demanded is proved to be impossible. UNKNOWN:
    neither a plan that does what was demanded nor a proof was found in time.
    """

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Progress:
    """A goal of the incumbent and its bound, seconds after the start.

    Args:
        goal: which of the objectives, the one that is worked on; below 0: what is demanded before.
        tried: changes of the plan that have been drawn in this phase, 0 where nobody counts.
    """

    phase: str
    value: float
    bound: float
    seconds: float
    goal: int = 0
    tried: int = 0


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective, in the problem's order.

    Args:
        name: "Placed", "HostCost" …, the objective's class.
        value: what the plan reaches.
        bound: what no plan that is as good in the goals before can beat: value ≤ bound when
            `maximised`, value ≥ bound otherwise.
        maximised: the direction.
    """

    name: str
    value: float
    bound: float
    maximised: bool

    @property
    def gap(self) -> float:
        """|bound - value| relative to the bound, 0 when proved optimal."""
        distance = self.bound - self.value if self.maximised else self.value - self.bound
        if distance <= 0:
            return 0.0
        return distance / abs(self.bound) if self.bound else float("inf")

    @property
    def proved(self) -> bool:
        """Whether the value is the best possible, but for the noise of floating point."""
        return self.gap <= 1e-9


@dataclass(frozen=True, slots=True)
class Solution:
    """A plan as entries (node, class, copies), and what is proved about it.

    Args:
        nodes: (E,) rows of nodes.
        classes: (E,) rows of classes.
        copies: (E,) how many, ≥ 1; a pair of node and class occurs once.
        goals: the objectives, most important first.
        status: of the whole.
        reason: what was proved or why the search ended, for people.
        seconds: by phase.
    """

    nodes: Counts
    classes: Counts
    copies: Counts
    goals: tuple[Goal, ...]
    status: Status
    reason: str
    seconds: dict[str, float]
