"""Decisions that wait until they are written down in full, with the snapshots they were made on.

Pure. A snapshot that is kept costs memory, not time: what is written after it was taken is copied
in any case, and the original stays. How much it is, is estimated from what binding a few pods
copies: the columns of what is requested, the table of classes and the rows of the classes placed.
At 5,000 nodes 128 MiB by this estimate were 130 MiB allocated; at 100 nodes 10 were 13.
"""

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..objects.pod_class import PodClass
from ..snapshot import NodeFacts, Rows, Snapshot
from .plan import Allotment

MOST_DECISIONS = 1000
MOST_BYTES = 128 * 2**20


@dataclass(slots=True)
class Heard:
    """A plan to be written down.

    Args:
        placed: in order, a class, the rows its pods got, and the id of the decision's record, 0 for
            one that is not to be told.
        left: how many are to be told.
        size: bytes that would be free without it, about.
    """

    snapshot: Snapshot
    placed: list[tuple[PodClass, Rows, int]]
    made_at: datetime
    left: int
    size: int

    def shorten(self, most: int) -> None:
        """Leave the last ones untold, until there are no more than `most`."""
        while self.placed and (self.left > most or not self.placed[-1][2]):
            _, _, number = self.placed.pop()
            self.left -= bool(number)


class Backlog:
    """Plans in order, of MOST_DECISIONS decisions and about MOST_BYTES at most."""

    def __init__(self, most: int = MOST_DECISIONS, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._plans: deque[Heard] = deque()
        self._nodes: Sequence[NodeFacts] = ()
        self.decisions = 0
        self.size = 0

    def add(
        self,
        snapshot: Snapshot,
        allotments: Sequence[Allotment],
        ids: Sequence[int],
        made_at: datetime,
    ) -> None:
        """Take a plan in; what is too much then, of the oldest ones, is left untold.

        Args:
            ids: of each allotment's decision record, 0 for one that is not to be told.
        """
        pairs = zip(allotments, ids, strict=True)
        placed = [(a.pod, a.decision.rows, number) for a, number in pairs]
        heard = Heard(snapshot, placed, made_at, sum(map(bool, ids)), self._size(snapshot, placed))
        heard.shorten(self._most)
        if not heard.left:
            return
        self._plans.append(heard)
        self.decisions += heard.left
        self.size += heard.size
        while len(self._plans) > 1 and self.size > self._most_bytes:
            self._drop(self._plans.popleft())
        while (excess := self.decisions - self._most) > 0:
            oldest = self._plans[0]
            if oldest.left > excess:
                oldest.shorten(oldest.left - excess)
                self.decisions -= excess
            else:
                self._drop(self._plans.popleft())

    def take(self, most: int) -> list[Heard]:
        """Take out the oldest plan, and those behind it while they are of `most` decisions."""
        taken: list[Heard] = []
        while self._plans and (not taken or self._plans[0].left <= most):
            heard = self._plans.popleft()
            self._drop(heard)
            taken.append(heard)
            most -= heard.left
        return taken

    def _drop(self, heard: Heard) -> None:
        self.decisions -= heard.left
        self.size -= heard.size

    def _size(self, snapshot: Snapshot, placed: Sequence[tuple[PodClass, Rows, int]]) -> int:
        """Return about how many bytes would be free if a plan were not kept."""
        columns = snapshot.requested, snapshot.assumed, snapshot.all_rows
        size = sum(column.nbytes for column in columns) + sys.getsizeof(snapshot.placed)
        if snapshot.nodes is not self._nodes:  # made anew whenever a node changes
            self._nodes = snapshot.nodes
            size += sys.getsizeof(snapshot.nodes) + sys.getsizeof(snapshot.row_of)
        for pod, rows, _ in placed:
            size += rows.nbytes + sys.getsizeof(snapshot.placed.get(pod))
        return size
