"""What a batch rule may say of a batch placement, in numbers about classes and hosts.

Everything here is about counts x[c, h]: how many copies of class c are put on host h, by a
Placement, beside what runs already. Hosts that no term and no other rule tells apart are treated as
one group, so numbers that are equal on many hosts make a problem small, and numbers that differ on
each make it large. See docs/batch.md, "Solver hooks".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .objects.pod_class import PodClass
from .snapshot import Counts, Rows, Snapshot

Reals = NDArray[np.float64]
Weights = Mapping[int, float | Counts | Reals]
"""Class → what each of its copies weighs: one number, or (H,) by host; 0 for classes left out."""
Amount = float | Counts | Reals
"""One number, or (H,) by host."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a Placement is to place, or the running pods that a Rebalance is about.

    Args:
        snapshot: the cluster before it, or without those pods.
        hosts: (H,) rows of the snapshot that may be used.
        pods: the C classes.
        count: (C,) int64, copies wanted.
        goals: names of the objective's terms, most important first, as `Bound` takes them:
            "place:count", "hosts:fewest", "prefer:pods" ….
    """

    snapshot: Snapshot
    hosts: Rows
    pods: tuple[PodClass, ...]
    count: Counts
    goals: tuple[str, ...] = ()

    def domains(self, key: str) -> Counts:
        """Return (H,) int64 codes that are equal where a node label is; -1 where it is missing."""
        return self.snapshot.label(key).codes[self.hosts].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Worth:
    """Copies are worth something (a cost if negative): Σ weights · x is made as large as may be.

    It is a goal of its own, named after the rule, after those that the Placement names.
    """

    weights: Weights


@dataclass(frozen=True, slots=True)
class Linear:
    """A hard constraint: Σ weights · x  relation  amount.

    One that asks for something ("==", or ">=" and more than 0) can be impossible; the Placement is
    Infeasible then.
    """

    weights: Weights
    relation: Literal["<=", ">=", "=="]
    amount: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """A hard constraint, a resource of the rule's own: in each domain, Σ weights · x <= amount.

    With weights by host, what a copy takes may depend on where it is.

    Args:
        amount: ≥ 0; one number, or (H,) of which hosts of one domain have the same.
        domain: as of Limit.
    """

    weights: Weights
    amount: Amount
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A hard constraint: in each domain, at most `most` copies of some classes together.

    Args:
        domain: (H,) int64 codes, -1 for hosts that are not limited; None: every host is one.
    """

    classes: tuple[int, ...]
    most: int = 1
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """A hard constraint on pairs: no domain has copies of both sides.

    Args:
        domain: as of Limit.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """A hard constraint: all copies of some classes that are placed are in one domain.

    Args:
        domain: (H,) int64 codes; hosts with -1 get no copy; None: every host is one.
    """

    classes: tuple[int, ...]
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """A hard constraint: a domain that has copies of `left` has a copy of `right`, too.

    Args:
        domain: as of Limit; nothing is asked of hosts with -1, where it is already, for example.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Across:
    """A hard constraint: at least so many domains have copies of some classes.

    What cannot be is Infeasible, as of Linear.

    Args:
        domain: as of Limit; hosts with -1 do not count.
    """

    classes: tuple[int, ...]
    least: int
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Excess:
    """A soft limit: in each domain, what Σ weights · x is above the amount costs its price.

    It is part of the rule's goal, together with `Worth`.

    Args:
        amount: as of Capacity; below 0 for what is there already.
        price: of one unit, ≥ 0.
        domain: as of Limit; hosts with -1 cost nothing.
    """

    weights: Weights
    amount: Amount
    price: float = 1.0
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Peak:
    """Like Excess, but only the largest sum costs: of all domains, and of all sets of classes.

    Args:
        sums: sets of classes; (): all classes are one.
    """

    weights: Weights
    amount: Amount = 0.0
    price: float = 1.0
    domain: Counts | None = None
    sums: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """A pairwise term: every domain with copies of both sides is worth so much (or costs it).

    It is part of the rule's goal, together with `Worth`.

    Args:
        domain: as of Limit; hosts with -1 do not count.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    worth: float
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """The rule's own proof: no plan reaches more in a goal, or needs less where less is better.

    Believed, not verified, and named in what the Placement says; one that a plan beats is dropped.

    Args:
        goal: one of Batch.goals.
    """

    goal: str
    amount: float


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """A plan as entries (class, host, copies ≥ 1); a pair occurs once.

    Args:
        classes: (E,) int64, into Batch.pods.
        hosts: (E,) int64, into Batch.hosts: no rows of the snapshot.
        copies: (E,) int64.
        size: H.
    """

    classes: Counts
    hosts: Counts
    copies: Counts
    size: int

    def of(self, *classes: int) -> Counts:
        """Return (H,) int64 copies of some classes together."""
        mine = np.isin(self.classes, np.array(classes, dtype=np.int64))
        return np.bincount(self.hosts[mine], self.copies[mine], self.size).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Start:
    """A plan to begin with: where copies were before, or what the rule found by its own means.

    The search begins there, or with what of it keeps the rules; it proves nothing. Of several, the
    first counts.
    """

    plan: BatchPlan


Term = (
    Worth
    | Linear
    | Capacity
    | Limit
    | Apart
    | Together
    | Needs
    | Across
    | Excess
    | Peak
    | Pair
    | Bound
    | Start
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a plan.

    Args:
        said: one sentence, for people.
        classes: whose copies are taken out of the plan because of it; () for all.
    """

    said: str
    classes: tuple[int, ...] = ()
