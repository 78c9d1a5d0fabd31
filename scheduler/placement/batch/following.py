"""Takes the solver's answer through the rules, and places what it left greedily.

Pure. The rules that online placement asks have the last word: copies go where the solver wants them
as far as the filters let them, one class after another and again while that helps (copies of one
class can open the way for another's); what is left is placed by the framework. A gang that does
not come together is taken out, and everything is done once more without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...hookspecs import Change, Filter, PodClass, Scorer, Snapshot, Verdict
from ...snapshot import Counts, Mask, Rows
from ..draft import Draft
from ..framework import Decision, Framework
from ..solver.solution import Solution
from .modelling import Demand, Model
from .turns import Turn


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of a model's demands, one entry each.

    Args:
        rows: rows of the snapshot, one a placed copy.
        decisions: the last one about copies that were left, None where none were.
        turns: in which order they were placed.
    """

    rows: tuple[Rows, ...]
    decisions: tuple[Decision | None, ...]
    turns: tuple[Turn, ...] = ()

    @property
    def count(self) -> int:
        """How many copies have a place."""
        return sum(rows.size for rows in self.rows)


@dataclass(frozen=True, slots=True)
class ChosenHosts:
    """A filter that lets pods onto the hosts of a Placement only."""

    hosts: Mask
    name: str = "PlacementHosts"
    wakes_on: Change = field(default=Change.NODE_ADDED)

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict:
        """Reject every other node."""
        return Verdict(self.hosts, "node(s) are not among the hosts of the Placement", False)


def framework_for(
    filters: Sequence[Filter], scorers: Sequence[Scorer], snapshot: Snapshot, hosts: Rows
) -> Framework:
    """Return the rules of a profile on some hosts of a snapshot."""
    if hosts.size == snapshot.size:
        return Framework(filters, scorers)
    mask = snapshot.none()
    mask[hosts] = True
    return Framework((ChosenHosts(mask), *filters), scorers)


@dataclass(frozen=True, slots=True)
class Leash:
    """How far a solver's answer is followed.

    Args:
        out: demands of which nothing is placed.
        exactly: whether what the solver left is left.
    """

    out: frozenset[int] = frozenset()
    exactly: bool = False


def follow(
    model: Model,
    solution: Solution | None,
    framework: Framework,
    snapshot: Snapshot,
    leash: Leash | None = None,
) -> Followed:
    """Return where the copies of a model's demands go.

    Args:
        solution: None to place everything greedily.

    Raises:
        PluginError: a filter failed.
    """
    leash = leash or Leash()
    wanted = _wanted(model, solution, snapshot.size)
    out = set(leash.out)
    while True:
        done = _Pass(model.demands, wanted, framework, Draft(snapshot), leash.exactly).run(out)
        broken = _broken(model.demands, done.rows) - out
        if not broken:
            return done
        out |= broken


def _wanted(model: Model, solution: Solution | None, size: int) -> list[Counts]:
    wanted = [np.zeros(size, dtype=np.int64) for _ in model.demands]
    if solution is not None:
        for c, rows in enumerate(wanted):
            mine = solution.classes == c
            np.add.at(rows, model.rows[solution.nodes[mine]], solution.copies[mine])
    return wanted


def _broken(demands: Sequence[Demand], rows: Sequence[Rows]) -> set[int]:
    """Return the demands of gangs of which some but not enough members are placed, or none."""
    placed: dict[tuple[str, str], int] = {}
    for each, mine in zip(demands, rows, strict=True):
        if each.least:
            gang = (each.pod.namespace, each.pod.group)
            placed[gang] = placed.get(gang, 0) + mine.size
    return {
        c
        for c, each in enumerate(demands)
        if each.least and placed[each.pod.namespace, each.pod.group] < each.least
    }


def hold(
    pods: Sequence[PodClass], wanted: Sequence[Counts], framework: Framework, snapshot: Snapshot
) -> list[Counts]:
    """Return (N,) copies of each class that the rules do not let where they are wanted.

    Args:
        pods: in the order in which they are placed; one may come more than once.
    """
    demands = [
        Demand(pod, int(copies.sum()), 1.0) for pod, copies in zip(pods, wanted, strict=True)
    ]
    done = _Pass(demands, wanted, framework, Draft(snapshot), exactly=True).run(set())
    return [
        copies - np.bincount(rows, minlength=snapshot.size)
        for copies, rows in zip(wanted, done.rows, strict=True)
    ]


@dataclass(slots=True)
class _Pass:
    demands: Sequence[Demand]
    wanted: Sequence[Counts]
    framework: Framework
    draft: Draft
    exactly: bool
    turns: list[Turn] = field(default_factory=list[Turn])

    def run(self, out: set[int]) -> Followed:
        """Place every demand but those taken out."""
        rows: list[list[Rows]] = [[] for _ in self.demands]
        left = [each.copy() for each in self.wanted]
        moving = [c for c in range(len(self.demands)) if c not in out and left[c].any()]
        while moving:
            stuck: list[int] = []
            progress = False
            for c in moving:
                placed = self.framework.follow(self.demands[c].pod, left[c], self.draft)
                if placed.size:
                    progress = True
                    self._note(c, rows[c], placed)
                    left[c] -= np.bincount(placed, minlength=left[c].size)
                if left[c].any():
                    stuck.append(c)
            moving = stuck if progress else []
        decisions = [self._top_up(c, rows[c]) if c not in out else None for c in self._order()]
        by_class = dict(zip(self._order(), decisions, strict=True))
        nobody = np.zeros(0, dtype=np.int64)
        return Followed(
            tuple([np.concatenate([nobody, *each]) for each in rows]),
            tuple([by_class[c] for c in range(len(self.demands))]),
            tuple(self.turns),
        )

    def _note(self, c: int, rows: list[Rows], placed: Rows) -> None:
        rows.append(placed)
        if placed.size:
            self.turns.append((self.demands[c].pod, placed.size))

    def _order(self) -> list[int]:
        return sorted(range(len(self.demands)), key=lambda c: -self.demands[c].value)

    def _top_up(self, c: int, rows: list[Rows]) -> Decision | None:
        wanted = self.demands[c]
        missing = wanted.count - sum(each.size for each in rows)
        if missing <= 0:
            return None
        if self.exactly:
            return None
        decision = self.framework.decide(wanted.pod, missing, self.draft)
        self._note(c, rows, decision.rows)
        return decision
