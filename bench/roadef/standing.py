"""An assignment of processes to machines, in arrays."""

from dataclasses import dataclass, field

import numpy as np

from bench.roadef.challenge import Instance
from scheduler.placement.solver.arrays import Counts


@dataclass(slots=True)
class Standing:
    """An assignment and what it amounts to.

    Args:
        at, home: (P,) machines now and at the beginning; service: (P,).
        asked: (R, P); capacity, safety: (R, M); transient: rows of transient resources.
    """

    given: Instance
    at: Counts
    home: Counts = field(init=False)
    asked: Counts = field(init=False)
    capacity: Counts = field(init=False)
    safety: Counts = field(init=False)
    transient: Counts = field(init=False)
    service: Counts = field(init=False)

    def __post_init__(self) -> None:
        given = self.given
        self.home = np.array(given.initial)
        self.asked = np.array([process.asked for process in given.processes]).T
        self.capacity = np.array([machine.capacity for machine in given.machines]).T
        self.safety = np.array([machine.safety for machine in given.machines]).T
        self.transient = np.flatnonzero(given.transient)
        self.service = np.array([process.service for process in given.processes])

    def used(self, chosen: Counts) -> Counts:
        """Return (R, M) what some processes take where they are."""
        used = np.zeros_like(self.capacity)
        np.add.at(used.T, self.at[chosen], self.asked[:, chosen].T)
        return used

    def costs(self) -> Counts:
        """Return (M,) the cost of load and balance by machine."""
        used = self.used(np.arange(self.at.size))
        over = np.maximum(used - self.safety, 0)
        found: Counts = np.array(self.given.load) @ over
        free = self.capacity - used
        for b in self.given.balances:
            found = found + b.weight * np.maximum(b.target * free[b.plenty] - free[b.scarce], 0)
        return found
