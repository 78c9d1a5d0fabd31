"""What keeps a pod that spreads off one node, in numbers: for people who ask why."""

from collections.abc import Sequence

import numpy as np

from scheduler.hookspecs import Mask, Obstacle, PodClass, Snapshot
from scheduler.snapshot import ABSENT

from .topology_domains import Census, Constraint, gather, places


def obstacles(
    pod: PodClass, constraints: Sequence[Constraint], snapshot: Snapshot, row: int
) -> list[Obstacle]:
    """Return what each DoNotSchedule constraint that a node breaks finds there."""
    census = Census(pod, constraints, snapshot)
    found = (_obstacle(pod, each, census, snapshot, row) for each in constraints)
    return [each for each in found if each is not None]


def _obstacle(
    pod: PodClass, constraint: Constraint, census: Census, snapshot: Snapshot, row: int
) -> Obstacle | None:
    key = constraint.key
    column = snapshot.label(key)
    code = int(column.codes[row])
    if code == ABSENT:
        return Obstacle(f"it has no label {key}", {"topologyKey": key})
    part = census.part(constraint)
    homes = places(column.codes)
    counts = gather(homes, census.pods(constraint), part, len(column.code_of))
    domains = np.unique(homes[part])
    few = domains.size < constraint.min_domains
    emptiest = int(domains[np.argmin(counts[domains])]) if domains.size else code
    least = 0 if few else int(counts[emptiest])
    here = int(counts[code])
    skew = here + constraint.includes_self - least
    if skew <= constraint.max_skew:
        return None
    value = snapshot.nodes[row].labels[key]
    names = {number: name for name, number in column.code_of.items()}
    itself = " and this one" if constraint.includes_self else ""
    floor = f"the emptiest domain, {key}={names[emptiest]}, has {least}"
    if few:
        floor = f"with {domains.size} domains where {constraint.min_domains} are wanted, 0 is least"
    return Obstacle(
        f"{key}={value} has {here} matching pod{'s' * (here != 1)}{itself}, {floor}: "
        f"a skew of {skew} where maxSkew is {constraint.max_skew}",
        {
            "topologyKey": key,
            "domain": value,
            "pods": here,
            "least": least,
            "domains": int(domains.size),
            "minDomains": constraint.min_domains,
            "skew": skew,
            "maxSkew": constraint.max_skew,
        },
        _matching(pod, constraint, snapshot, part & (column.codes == code)),
    )


def _matching(
    pod: PodClass, constraint: Constraint, snapshot: Snapshot, inside: Mask
) -> dict[PodClass, list[int]]:
    """Return class by class the rows of a domain with pods that count there."""
    found: dict[PodClass, list[int]] = {}
    for other, counts in snapshot.placed.items():
        if other.namespace == pod.namespace and constraint.selector.matches(other.labels):
            going = snapshot.leaving.get(other, {})
            rows = [row for row, n in counts.items() if inside[row] and n > going.get(row, 0)]
            if rows:
                found[other] = rows
    return found
