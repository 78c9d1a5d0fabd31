"""Rules between copies, in terms of classes and node groups; all of them hold in every plan.

A `domain` is a code per node group, (K,) int64, -1 where the topology key is missing. Where it may
be None, every node is a domain of its own (the topology key kubernetes.io/hostname). Pods that run
already and stay are not in here: whoever states the problem takes them off `free`, and off
`feasible` where they keep a class out.
"""

from dataclasses import dataclass

from .arrays import Counts, Reals


@dataclass(frozen=True, slots=True)
class Exclusive:
    """In one domain, at most `most` copies of these classes together (host ports, anti-affinity).

    Nodes without the key (-1) are not limited, as in Kubernetes.
    """

    classes: tuple[int, ...]
    most: int = 1
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Apart:
    """In one domain, copies of `left` or copies of `right`, not both (anti-affinity to others)."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A domain that is given copies ends at most `skew` above the emptiest one.

    Args:
        classes: counted together, as a selector would, and all held to it.
        skew: Kubernetes' maxSkew for DoNotSchedule, ≥ 1.
        existing: (D,) copies that run already, by domain. A domain without nodes keeps the
            minimum down, as minDomains does. Where every node is a domain: (N,), -1 for nodes that
            get no copy and do not count.
        domain: nodes with -1 get no copy and do not count.
    """

    classes: tuple[int, ...]
    skew: int
    existing: Counts
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Together:
    """All copies of the classes that are placed are in one domain (required affinity).

    Nodes with -1 get no copy.
    """

    classes: tuple[int, ...]
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """A plugin's linear term: Σ weight[c, k] · copies of class c in group k ≤ most.

    Args:
        weight: (C, K) float64, of either sign.
        most: ≥ 0, so that placing nothing is allowed.
    """

    weight: Reals
    most: float


@dataclass(frozen=True, slots=True)
class Floor:
    """A plugin's demand: Σ weight[c, k] · copies of class c in group k ≥ least.

    Args:
        weight: (C, K) float64, of either sign.
        least: > 0.
    """

    weight: Reals
    least: float


@dataclass(frozen=True, slots=True)
class Quota:
    """A plugin's resource: in each domain, Σ weight[c, k] · copies of class c in group k ≤ most.

    Args:
        weight: (C, K) float64, of either sign.
        most: (K,) float64 ≥ 0; groups of one domain have the same.
        domain: nodes with -1 are not limited.
    """

    weight: Reals
    most: Reals
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """A domain with copies of `left` has copies of `right`, too; nothing is asked of -1."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Across:
    """A plugin's demand: at least so many domains have copies of some classes.

    Args:
        least: > 0.
        domain: nodes with -1 do not count.
    """

    classes: tuple[int, ...]
    least: int
    domain: Counts | None = None


@dataclass(frozen=True, slots=True)
class Gang:
    """All copies of these classes, or none of any; a class is in one gang at most."""

    classes: tuple[int, ...]


Rule = Exclusive | Apart | Spread | Together | Cap | Quota | Floor | Needs | Across | Gang
