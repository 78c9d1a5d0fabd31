"""What a plan should be good at; a problem lists them, most important first."""

from dataclasses import dataclass

from .arrays import Counts, Reals


@dataclass(frozen=True, slots=True)
class Placed:
    """Place what is worth most: maximise Σ value[c] · copies of c.

    Args:
        value: (C,) float64 ≥ 0: ones for the number of pods, priorities, or what a copy takes of a
            resource.
    """

    value: Reals


@dataclass(frozen=True, slots=True)
class HostCost:
    """Use the cheapest hosts: minimise Σ cost[n] over the nodes that are given copies.

    Args:
        cost: (N,) float64 ≥ 0: ones for the number of hosts, or prices; 0 for hosts in use anyway.
    """

    cost: Reals


@dataclass(frozen=True, slots=True)
class Meeting:
    """A pairwise term: each domain that has copies of both sides is worth so much.

    Args:
        left, right: classes.
        worth: of either sign.
        domain: (K,) codes as of the rules; None: every node is one.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    worth: float
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """A term of pairs: any two copies in one domain are worth something to each other.

    Σ over domains and unordered pairs of distinct copies of worth[g, h], the copies being of
    classes of set g and of set h.

    Args:
        sets: of classes, disjoint.
        worth: (S, S) float64, symmetric, of either sign.
        domain: (K,) codes as of the rules; None: every node is one.
    """

    sets: tuple[tuple[int, ...], ...]
    worth: Reals
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Excess:
    """A soft limit: each domain costs what Σ weight[c, k] · copies is above an amount.

    Args:
        weight: (C, K) float64, of either sign, in units of the objective.
        amount: (K,) float64, likewise; groups of one domain have the same.
        domain: (K,) codes as of the rules, -1 for nodes that cost nothing; None: every node is one.
    """

    weight: Reals
    amount: Reals
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Peak:
    """Like Excess, but only the largest of all sums over sets of classes and domains costs.

    Args:
        sums: sets of classes.
    """

    weight: Reals
    amount: Reals
    sums: tuple[tuple[int, ...], ...]
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Preferred:
    """Honour preferences and plugins' terms: maximise Σ weight[c, k] · copies of c in group k.

    Args:
        weight: (C, K) float64, of either sign.
        meetings: what is added for classes that meet.
        companies: what is added for every pair of copies.
        excesses, peaks: what is taken off.
    """

    weight: Reals
    meetings: tuple[Meeting, ...] = ()
    companies: tuple[Company, ...] = ()
    excesses: tuple[Excess, ...] = ()
    peaks: tuple[Peak, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """Move little: maximise Σ weight[c] · copies that stay where `Problem.current` has them.

    Args:
        weight: (C,) float64 ≥ 0.
    """

    weight: Reals


@dataclass(frozen=True, slots=True)
class Balanced:
    """Load hosts evenly: minimise Σ over resources of the mean of (used / allocatable)².

    Nodes are weighed by what they have, so that equal shares are best.

    Args:
        allocatable: (R, N) int64 ≥ free; what is not free is used already. Where it is 0, what is
            used does not count.
    """

    allocatable: Counts


@dataclass(frozen=True, slots=True)
class Stranded:
    """Leave room that pods can use: minimise what is free where typical pods have no room.

    Σ over nodes and classes of popularity[c] · free on nodes where no further copy of c fits, the
    measure of whole devices in Weng et al., "Beware of Fragmentation", USENIX ATC 2023.

    Args:
        resource: row of what is free.
        popularity: (C,) float64 ≥ 0 with sum 1: the mix of pods to come.
    """

    resource: int
    popularity: Reals


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Meet what rules demand: minimise Σ over Floors and Acrosses of what is missing to `least`.

    The engine puts it first where there are such rules; nobody else needs it.
    """


Objective = Placed | HostCost | Preferred | Kept | Balanced | Stranded | Shortfall


def maximised(objective: Objective) -> bool:
    """Tell the direction of an objective."""
    return not isinstance(objective, HostCost | Balanced | Stranded | Shortfall)
