"""Decides what concerns cohorts: pure, used by `decide`.

Pods live in their cohort until the first write that concerns one of them alone; then they leave
it and are rows of their own like any other pod.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from ..errors import AlreadyExists, Conflict, NotFound, StatusError
from ..objects.cohort import MOST, PLACES, Berths, Cohort, Lodging, Reports, berth
from ..objects.stored import ObjectKey, StoredObject
from .cohorts import joined, reports_row
from .operations import BindCohort, CohortChange, CohortWrite, ReportCohort
from .rows import BindingRow, binding_row, names, split_requests


class Boardings:
    """The cohorts that a batch may touch, as the batch proceeds.

    Args:
        lodgings: as of the head; used up.
        places: (namespace, prefix) → places of names that pods of their own have.
    """

    def __init__(
        self,
        lodgings: Iterable[Lodging],
        places: Mapping[tuple[str, str], set[int]],
    ) -> None:
        self._lodgings = {lodging.cohort.uid: lodging for lodging in lodgings}
        self._places = places
        self._fresh: dict[str, Lodging] = {}
        self._left: dict[str, Lodging] = {}
        self._berths: list[tuple[str, Berths]] = []
        self._reports: list[tuple[str, Reports]] = []

    def find(self, uid: str) -> Lodging | None:
        """Return a cohort."""
        return self._lodgings.get(uid)

    def newly_named(self, key: ObjectKey) -> bool:
        """Tell whether a cohort that this batch made has a pod of that name."""
        return bool(self._fresh) and any(
            lodging.cohort.namespace == key.namespace
            and lodging.cohort.ordinal(key.name) is not None
            for lodging in self._fresh.values()
        )

    def name_taken(self, cohort: Cohort, made: Iterable[ObjectKey]) -> AlreadyExists | None:
        """Return why a cohort cannot have its names; `made` are the pods this batch made."""
        where = (cohort.namespace, cohort.prefix)
        others = (each.cohort for each in self._lodgings.values())
        taken = (
            any(
                (other.namespace, other.prefix) == where
                and other.overlaps(cohort.start, cohort.size)
                for other in others
            )
            or any(
                (place - cohort.start) % PLACES < cohort.size
                for place in self._places.get(where, ())
            )
            or any(
                key.namespace == cohort.namespace and cohort.ordinal(key.name) is not None
                for key in made
            )
        )
        if not taken:
            return None
        return AlreadyExists(
            f'a pod whose name begins with "{cohort.prefix}" already has one of the names that '
            f"were to be given; choose others",
            **names("pods", cohort.prefix),
        )

    def create(self, cohort: Cohort) -> CohortChange:
        """Add a cohort whose created_revision has been given out."""
        lodging = Lodging(cohort)
        self._lodgings[cohort.uid] = self._fresh[cohort.uid] = lodging
        return CohortChange(cohort, cohort.created_revision, range(cohort.size))

    def leave(self, pod: StoredObject) -> BindingRow | None:
        """Let a lodged pod go; returns the row that its binding, if any, is to have."""
        uid, ordinal = berth(pod.meta.uid)
        lodging = self._lodgings[uid]
        lodging.gone |= 1 << ordinal
        self._left[uid] = lodging
        place = lodging.places.get(ordinal)
        if place is None:
            return None
        berths = lodging.berths[place // MOST]
        return binding_row(pod.meta.uid, berths.binding(place % MOST), berths)

    def board(
        self,
        op: BindCohort,
        lodging: Lodging,
        nodes: Mapping[str, StatusError | None],
        first: int,
        now: datetime,
    ) -> tuple[Berths | None, dict[int, StatusError]]:
        """Bind pods of a cohort.

        Args:
            nodes: why not, by node.
            first: the first revision to give out.

        Returns:
            What was bound, None for nothing; and who was refused.
        """
        refused: dict[int, StatusError] = {}
        if not op.ordinals:
            return None, refused
        if not any(nodes.values()) and _all_boardable(lodging, op.ordinals):
            return self._bound(op, lodging, op.ordinals, op.nodes, first, now), refused
        ordinals: list[int] = []
        chosen: list[str] = []
        twice = {ordinal for ordinal, count in Counter(op.ordinals).items() if count > 1}
        for ordinal, node in zip(op.ordinals, op.nodes, strict=True):
            why = nodes[node] or _unboardable(lodging, ordinal, twice)
            if why is not None:
                refused[ordinal] = why
                continue
            ordinals.append(ordinal)
            chosen.append(node)
        if not ordinals:
            return None, refused
        return self._bound(op, lodging, ordinals, chosen, first, now), refused

    def _bound(
        self,
        op: BindCohort,
        lodging: Lodging,
        ordinals: Sequence[int],
        nodes: Sequence[str],
        first: int,
        now: datetime,
    ) -> Berths:
        berths = Berths(
            first, now, tuple(ordinals), tuple(nodes), op.requests, op.decision, op.epoch or 0
        )
        lodging.add(berths)
        self._berths.append((op.cohort, berths))
        return berths

    def report(
        self, op: ReportCohort, lodging: Lodging, first: int
    ) -> tuple[Reports | None, dict[int, StatusError]]:
        """Say what pods of a cohort are; returns what was said, and who was refused."""
        refused: dict[int, StatusError] = {}
        said: list[tuple[int, tuple[str, ...]]] = []
        for ordinal, own in zip(op.ordinals, op.own, strict=True):
            why = _unreportable(lodging, ordinal)
            if why is not None:
                refused[ordinal] = why
            else:
                said.append((ordinal, own))
        if not said:
            return None, refused
        ordinals, values = zip(*said, strict=True)
        reports = Reports(first, ordinals, op.phase, op.stencil, values)
        lodging.say(reports)
        self._reports.append((op.cohort, reports))
        return reports, refused

    def cohort_gone(self, op: CohortWrite) -> NotFound:
        """Return the error that a cohort's pods have all left, or never were."""
        return NotFound(f"no pod lives in cohort {op.cohort} any more", **names("pods", op.cohort))

    def fresh(self) -> list[Lodging]:
        """Return the cohorts to insert."""
        return [each for each in self._fresh.values() if not each.empty]

    def known(self) -> list[Lodging]:
        """Return the cohorts that the batch has looked at, as they are now."""
        return list(self._lodgings.values())

    def left(self) -> list[Lodging]:
        """Return the cohorts that somebody left and that were there before."""
        old = (each for uid, each in self._left.items() if uid not in self._fresh)
        return [each for each in old if not each.empty]

    def emptied(self) -> list[str]:
        """Return the uids of the cohorts to delete."""
        return [uid for uid, each in self._left.items() if each.empty and uid not in self._fresh]

    def rows(self) -> list[tuple[object, ...]]:
        """Return the rows of the bindings, in the order of BERTHS_TYPES."""
        return [
            _berths_row(uid, berths)
            for uid, berths in self._berths
            if not self._lodgings[uid].empty
        ]

    def reported(self) -> list[tuple[object, ...]]:
        """Return the rows of the reports, in the order of REPORTS_TYPES."""
        return [
            reports_row(uid, reports)
            for uid, reports in self._reports
            if not self._lodgings[uid].empty
        ]

    def bound(self) -> Iterable[tuple[str, int, int]]:
        """Yield (node, binder's epoch, revision) of what was bound."""
        for _, berths in self._berths:
            last = {node: n for n, node in enumerate(berths.nodes, berths.revision)}
            for node, revision in last.items():
                yield node, berths.epoch, revision


def _all_boardable(lodging: Lodging, ordinals: Sequence[int]) -> bool:
    """Tell whether `_unboardable` has nothing against any of them."""
    return (
        lodging.places.keys().isdisjoint(ordinals)
        and len(set(ordinals)) == len(ordinals)
        and 0 <= min(ordinals, default=0) <= max(ordinals, default=0) < lodging.cohort.size
        and lodging.all_live(ordinals)
    )


def _unboardable(lodging: Lodging, ordinal: int, twice: Collection[int]) -> Conflict | None:
    cohort = lodging.cohort
    if not 0 <= ordinal < cohort.size or not lodging.lives(ordinal):
        why = "it has been changed or deleted since it was looked at"
    elif ordinal in lodging.places:
        why = "it is already assigned to a node"
    elif ordinal in twice:
        why = "it would be assigned to two nodes at once"
    else:
        return None
    return _refused(cohort, ordinal, "pods/binding", why)


def _unreportable(lodging: Lodging, ordinal: int) -> Conflict | None:
    cohort = lodging.cohort
    if not 0 <= ordinal < cohort.size or not lodging.lives(ordinal):
        why = "it has been changed or deleted since it was looked at"
    elif ordinal not in lodging.places:
        why = "it is not assigned to a node"
    elif ordinal in lodging.said:
        why = "it has a status already"
    else:
        return None
    return _refused(cohort, ordinal, "pods/status", why)


def _refused(cohort: Cohort, ordinal: int, what: str, why: str) -> Conflict:
    name = cohort.name(ordinal)
    return Conflict(
        f'Operation cannot be fulfilled on {what} "{name}": {why}', **names("pods", name)
    )


def _berths_row(uid: str, berths: Berths) -> tuple[object, ...]:
    cpu, memory, rest = split_requests(berths.requests)
    return (
        uid,
        berths.revision,
        berths.revision + len(berths.ordinals) - 1,
        berths.bound_at,
        berths.epoch,
        cpu,
        memory,
        rest,
        berths.decision,
        joined(berths.ordinals),
        joined(berths.nodes),
    )
