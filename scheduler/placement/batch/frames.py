"""What goes between a service and its solver's process: a length, and a pickle.

Nothing of the solver itself is imported here: it takes a second and much memory, and the service
needs none of it.
"""

import pickle
import struct
from dataclasses import dataclass

from ..solver.problem import Problem
from ..solver.solution import Progress, Solution

LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Order:
    """What the parent asks: a problem, and how many seconds it may take."""

    problem: Problem
    seconds: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has loaded what it needs, and waits for its first order."""


Word = Progress | Solution | Ready


def frame(value: Order | Word) -> bytes:
    """Return a value as it goes over the pipe."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body
