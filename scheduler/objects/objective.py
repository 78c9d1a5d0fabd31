"""What a Placement or a Rebalance should be good at: goals, the most important first."""

from .pod import View

PODS = "pods"
"""The goal `prefer` that is about what pods prefer."""
GOALS = ("place", "hosts", "balance", "fragmentation", "prefer")
"""The fields of a Goal."""
ALL = "resources"
"""The goal `balance` that is about all resources but the number of pods."""


class Goal(View, frozen=True):
    """One term of the objective, most important first; one field is set.

    Args:
        place: "count", "priority", "value" or a resource: the most of it.
        hosts: "fewest", or "cost" for the least by their price.
        balance: ALL or a resource: how evenly hosts are used, by the mean square of the share of it
            that is allocated, hosts weighed by what they have.
        fragmentation: a resource: the least of it free where pods like those of the batch that
            want it have no room.
        prefer: PODS for what the pods prefer, or the name of a plugin's batch rule.
    """

    place: str = ""
    hosts: str = ""
    balance: str = ""
    fragmentation: str = ""
    prefer: str = ""

    @property
    def label(self) -> str:
        """The goal as it is named where one word must do."""
        if self.prefer:
            return f"prefer:{self.prefer}"
        if self.balance:
            return f"balance:{self.balance}"
        if self.fragmentation:
            return f"fragmentation:{self.fragmentation}"
        return f"place:{self.place}" if self.place else f"hosts:{self.hosts}"
