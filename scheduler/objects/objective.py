"""What a Placement or a Rebalance should be good at: goals, the most important first."""

from .pod import View

PODS = "pods"
"""The goal `prefer` that is about what pods prefer."""


class Goal(View, frozen=True):
    """One term of the objective, most important first; one field is set.

    Args:
        place: "count", "priority", "value" or a resource: the most of it.
        hosts: "fewest", or "cost" for the least by their price.
        prefer: PODS for what the pods prefer, or the name of a plugin's batch rule.
    """

    place: str = ""
    hosts: str = ""
    prefer: str = ""

    @property
    def label(self) -> str:
        """The goal as it is named where one word must do."""
        if self.prefer:
            return f"prefer:{self.prefer}"
        return f"place:{self.place}" if self.place else f"hosts:{self.hosts}"
