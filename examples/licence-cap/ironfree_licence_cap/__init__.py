"""At most so many copies of a vendor's image in the cluster, each on a host of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scheduler import hookimpl
from scheduler.batch_terms import Limit, Linear
from scheduler.errors import ConfigurationError
from scheduler.hookspecs import (
    Args,
    Batch,
    BatchPlan,
    BatchRule,
    Change,
    Complaint,
    Counts,
    Filter,
    Mask,
    PodClass,
    Rejection,
    Snapshot,
    Term,
    Verdict,
)
from scheduler.objects.json import Json

NAME = "LicenceCap"


@dataclass(frozen=True, slots=True)
class Licence:
    """An image, by name without tag and digest, and how many copies of it may run."""

    image: str
    copies: int

    def covers(self, pod: PodClass) -> bool:
        """Tell whether pods of a class need it."""
        return any(_repository(each.image) == self.image for each in pod.spec.containers)

    def running(self, snapshot: Snapshot) -> Counts:
        """Return (N,) int64 copies by node."""
        found = np.zeros(snapshot.size, dtype=np.int64)
        for pod, rows in snapshot.placed.items():
            if self.covers(pod):
                for row, count in rows.items():
                    found[row] += count
        return found


def _repository(image: str) -> str:
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


@dataclass(slots=True)
class Seating:
    """The licences that pods of a class need, while copies of it are placed.

    Args:
        taken: (N,) bool, hosts that have a copy.
        left: how many more copies there may be.
    """

    taken: Mask
    left: int

    @property
    def settled(self) -> bool:
        """With no licence left, there is room nowhere for good."""
        return self.left <= 0

    def put(self, row: int) -> None:
        """Take over a copy."""
        self.taken[row] = True
        self.left -= 1

    def room(self) -> Mask:
        """Return where the next copy may run."""
        return ~self.taken if self.left > 0 else np.zeros_like(self.taken)


@dataclass(frozen=True, slots=True)
class LicenceCap:
    """A filter for pods placed one by one, and a batch rule for Placements."""

    licences: tuple[Licence, ...]
    name: str = NAME
    wakes_on: Change = Change.POD_REMOVED

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Keep a class off hosts that have a copy, and off all without a licence."""
        mine = [each for each in self.licences if each.covers(pod)]
        if not mine:
            return None
        running = {each: each.running(snapshot) for each in mine}
        taken = np.any([counts > 0 for counts in running.values()], axis=0)
        left = min(each.copies - int(counts.sum()) for each, counts in running.items())
        seating = Seating(taken, left)

        def because() -> list[Rejection]:
            if left <= 0:
                said = ", ".join(sorted(each.image for each in mine))
                return [Rejection(f"no licence left for {said}", snapshot.every())]
            return [Rejection("node(s) had a copy of the same licence", running_somewhere)]

        running_somewhere = taken.copy()
        return Verdict(seating.room(), because, coupling=seating)

    def terms(self, batch: Batch) -> Iterator[Term]:
        """Say the same of counts: Σ copies ≤ what is left, one on a host, none on a taken one."""
        for licence in self.licences:
            classes = _covered(licence, batch)
            if classes:
                running = licence.running(batch.snapshot)
                left = max(0, licence.copies - int(running.sum()))
                taken = (running[batch.hosts] > 0).astype(np.float64)
                yield Linear(dict.fromkeys(classes, 1.0), "<=", left)
                yield Linear(dict.fromkeys(classes, taken), "<=", 0)
                yield Limit(classes, most=1)

    def check(self, batch: Batch, plan: BatchPlan) -> Iterator[Complaint]:
        """Count what a plan comes to, whoever made it."""
        for licence in self.licences:
            classes = _covered(licence, batch)
            running, placed = licence.running(batch.snapshot), plan.of(*classes)
            total = int(running.sum() + placed.sum())
            if placed.any() and total > licence.copies:
                said = f"{total} copies of {licence.image}, licensed for {licence.copies}"
                yield Complaint(said, classes)
            elif (placed[placed > 0] + running[batch.hosts][placed > 0] > 1).any():
                yield Complaint(f"two copies of {licence.image} on one host", classes)


def _covered(licence: Licence, batch: Batch) -> tuple[int, ...]:
    return tuple([c for c, pod in enumerate(batch.pods) if licence.covers(pod)])


def _licence(given: Json) -> Licence:
    if isinstance(given, dict):
        image, copies = given.get("image"), given.get("copies")
        if isinstance(image, str) and image and isinstance(copies, int) and copies >= 0:
            return Licence(image, copies)
    raise ConfigurationError(
        f"{NAME}: licences has {given!r}; each must be {{image: NAME, copies: 0 or more}}"
    )


def _from_args(args: Args) -> tuple[LicenceCap, ...]:
    given = args.of(NAME).get("licences", [])
    if not isinstance(given, list):
        raise ConfigurationError(f"{NAME}: licences must be a list of {{image, copies}}")
    return (LicenceCap(tuple([_licence(each) for each in given])),)


@hookimpl
def ironfree_filters(args: Args) -> Sequence[Filter]:
    """For pods placed one by one."""
    return _from_args(args)


@hookimpl
def ironfree_batch_rules(args: Args) -> Sequence[BatchRule]:
    """For Placements."""
    return _from_args(args)
