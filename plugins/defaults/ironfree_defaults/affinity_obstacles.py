"""What keeps a pod with affinity, or from others' anti-affinity, off one node, in numbers."""

from collections.abc import Iterable, Mapping

from scheduler.hookspecs import Obstacle, PodClass, Snapshot
from scheduler.snapshot import ABSENT

from .affinity_terms import Admission, AffinityTerm, terms_of, unrolled

_Placed = tuple[PodClass, Mapping[int, int]]


def away_from_friends(pod: PodClass, snapshot: Snapshot, row: int) -> list[Obstacle]:
    """Return, label by label of required affinity, that no pod of its terms is in the domain."""
    own = unrolled(terms_of(pod).affinity, snapshot.namespaces)
    friends = [
        (other, placed)
        for other, placed in snapshot.placed.items()
        if all(term.matches(other) for term in own)
    ]
    everywhere = sum(sum(placed.values()) for _, placed in friends)
    found: list[Obstacle] = []
    for key in dict.fromkeys(term.key for term in own):
        domain = snapshot.nodes[row].labels.get(key)
        if domain is None:
            found.append(Obstacle(f"it has no label {key}", {"topologyKey": key}))
        elif not _inside(friends, key, snapshot, row):
            found.append(
                Obstacle(
                    f"no pod that its affinity is about runs in {key}={domain}, "
                    f"{everywhere} run elsewhere",
                    {"topologyKey": key, "domain": domain, "pods": 0, "elsewhere": everywhere},
                )
            )
    return found


def beside_foes(pod: PodClass, snapshot: Snapshot, row: int) -> list[Obstacle]:
    """Return, term by term of required anti-affinity, which pods it is about in the domain."""
    terms = terms_of(pod).anti_affinity
    found: list[Obstacle] = []
    for term, own in zip(terms, unrolled(terms, snapshot.namespaces), strict=True):
        foes = ((o, placed) for o, placed in snapshot.placed.items() if own.matches(o))
        said = f"that its anti-affinity is about ({_selection(term)})"
        found += _present(_inside(foes, term.key, snapshot, row), term.key, snapshot, row, said)
    return found


def beside_those_who_object(pod: PodClass, snapshot: Snapshot, row: int) -> list[Obstacle]:
    """Return, label by label, which pods in the domain have anti-affinity that is about it."""
    admission = Admission(pod, snapshot.namespaces)
    objecting: dict[str, list[_Placed]] = {}
    for other, placed in snapshot.attracting.items():
        for term in admission.of(terms_of(other).anti_affinity):
            objecting.setdefault(term.key, []).append((other, placed))
    found: list[Obstacle] = []
    for key, pods in objecting.items():
        said = "with anti-affinity to such pods"
        found += _present(_inside(pods, key, snapshot, row), key, snapshot, row, said)
    return found


def _inside(
    pods: Iterable[_Placed], key: str, snapshot: Snapshot, row: int
) -> dict[PodClass, Mapping[int, int]]:
    """Return which of these pods are in the node's domain of a label: class → row → number."""
    codes = snapshot.label(key).codes
    if codes[row] == ABSENT:
        return {}
    found: dict[PodClass, Mapping[int, int]] = {}
    for other, placed in pods:
        here = {there: n for there, n in placed.items() if codes[there] == codes[row]}
        if here:
            found[other] = here
    return found


def _present(
    pods: Mapping[PodClass, Mapping[int, int]],
    key: str,
    snapshot: Snapshot,
    row: int,
    said: str,
) -> Iterable[Obstacle]:
    if pods:
        domain = snapshot.nodes[row].labels[key]
        number = sum(sum(counts.values()) for counts in pods.values())
        yield Obstacle(
            f"{key}={domain} has {number} pod{'s' * (number != 1)} {said}",
            {"topologyKey": key, "domain": domain, "pods": number},
            {other: list(counts) for other, counts in pods.items()},
        )


def _selection(term: AffinityTerm) -> str:
    """Return a term's selector as text."""
    labels = [f"{key}={value}" for key, value in term.equal]
    return ",".join([*labels, *map(str, term.others)]) or "any"
