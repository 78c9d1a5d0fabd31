"""Finds nodes for the members of a gang, all on one draft; enough of them or none.

Pure. Classes are placed one after the other by the rules that place them alone, each seeing where
the others went. The largest goes first; when some find no room, those go first in the next try
("squeaky wheel" optimisation, Joslin & Clements 1999), and members that others attract get a second
look once those are there. That is greedy: a gang that fits can be missed when its classes must be
interleaved node by node.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..hookspecs import Change
from ..objects.pod_class import PodClass
from ..snapshot import Snapshot
from .draft import Draft
from .framework import Decision, Diagnosis, Framework, Refusal
from .gangs import Muster
from .plan import Allotment, PendingPod, without_left
from .state import request_vector

ORDERS = 5  # tried at most
SECONDS = 0.1  # after which no other order is begun, and none goes on that must fail
_NAMED = 3  # classes that a message tells of
_RESOURCES = Change.NODE_ADDED | Change.NODE_RESOURCES | Change.POD_REMOVED

Place = Callable[[PodClass, Sequence[PendingPod], Draft], Sequence[Allotment]]
"""Places pods of one class on a draft and counts them in there."""


@dataclass(slots=True)
class _Attempt:
    """What became of one order.

    Args:
        allotments: those with pods, as they were made.
        left: pods without nodes, by class.
        last: the last word on each class that was tried.
    """

    allotments: list[Allotment] = field(default_factory=list[Allotment])
    left: dict[PodClass, Sequence[PendingPod]] = field(
        default_factory=dict[PodClass, Sequence[PendingPod]]
    )
    last: dict[PodClass, Allotment] = field(default_factory=dict[PodClass, Allotment])

    @property
    def placed(self) -> int:
        """How many pods have nodes."""
        return sum(len(allotment.pods) for allotment in self.allotments)


def place_together(
    muster: Muster,
    draft: Draft,
    place: Place,
    frameworks: Mapping[str, Framework],
    clock: Callable[[], float],
) -> list[Allotment]:
    """Place a gang, and count it into the draft; it is unchanged where too few fit.

    Args:
        frameworks: by schedulerName.
        clock: seconds.

    Returns:
        Those with nodes, at least `muster.wanting` pods, and nothing of the others; or no pod
        placed, and of each class why, which is the same for all.
    """
    best = _search(muster, draft, place, clock)
    if best.placed < muster.wanting:
        diagnosis = _diagnosis(muster, best, draft.snapshot, frameworks)
        return [_refused(muster, pod, diagnosis) for pod in muster.pods]
    for allotment in best.allotments:
        draft.add(allotment.pod, allotment.decision.rows)
    return [replace(without_left(each), gang=muster.gang) for each in best.allotments]


def largest_first(pods: Iterable[PodClass], snapshot: Snapshot) -> list[PodClass]:
    """Return classes in the order in which they are tried first."""
    return sorted(pods, key=lambda pod: -_share(pod, snapshot))


def _search(muster: Muster, draft: Draft, place: Place, clock: Callable[[], float]) -> _Attempt:
    ends = clock() + SECONDS
    order = largest_first(muster.pods, draft.snapshot)
    seen: set[tuple[PodClass, ...]] = set()
    best = _Attempt()
    while tuple(order) not in seen and len(seen) < ORDERS:
        seen.add(tuple(order))
        attempt = _attempt(muster, order, Draft(draft.snapshot), place, lambda: clock() >= ends)
        if attempt.placed > best.placed or not best.left:
            best = attempt
        if not attempt.left or clock() >= ends:
            break
        order = [*attempt.left, *(pod for pod in order if pod not in attempt.left)]
    return best


def _attempt(
    muster: Muster,
    order: Sequence[PodClass],
    draft: Draft,
    place: Place,
    is_late: Callable[[], bool],
) -> _Attempt:
    """Place classes in an order, and once more those left while others have come since."""
    attempt = _Attempt(left={pod: muster.pods[pod] for pod in order})
    coupled = any(map(_looks_at_others, order))
    spare = sum(map(len, muster.pods.values())) - muster.wanting
    again: Sequence[PodClass] = order
    while again:
        before = attempt.placed
        for pod in again:
            found = place(pod, attempt.left[pod], draft)
            _put(attempt, pod, found)
            spare -= len(found[-1].left)
            if spare < 0 and not coupled and is_late():
                return attempt
        again = list(attempt.left) if coupled and attempt.placed > before else ()
    return attempt


def _put(attempt: _Attempt, pod: PodClass, found: Sequence[Allotment]) -> None:
    attempt.last[pod] = found[-1]
    attempt.allotments += [each for each in found if each.pods]
    if found[-1].left:
        attempt.left[pod] = found[-1].left
    else:
        del attempt.left[pod]


def _share(pod: PodClass, snapshot: Snapshot) -> float:
    """Return the largest part that one copy takes of anything the cluster has."""
    total = snapshot.allocatable.sum(axis=1).astype(np.float64)
    wanted = request_vector(pod, snapshot.resource_row)
    return float(np.divide(wanted, total, out=np.zeros_like(total), where=total > 0).max(initial=0))


def _looks_at_others(pod: PodClass) -> bool:
    """Tell whether pods that come may open nodes to a class."""
    return pod.attracts or bool(pod.spec.topology_spread_constraints)


def _diagnosis(
    muster: Muster, attempt: _Attempt, snapshot: Snapshot, frameworks: Mapping[str, Framework]
) -> Diagnosis:
    """Return why too few fit, and what can help any of them."""
    alone = not attempt.placed and len(attempt.last) == len(muster.pods)
    wakes_on, failure = Change(0) if alone else _RESOURCES, ""  # members take each other's room
    refusals: dict[tuple[str, str], Refusal] = {}
    for pod, allotment in attempt.last.items():
        if not alone:
            wakes_on |= _elsewhere(allotment, frameworks[pod.scheduler_name])
        found = allotment.decision.diagnosis
        if found is None or pod not in attempt.left:
            continue
        wakes_on |= found.wakes_on
        failure = failure or found.failure
        for each in found.refusals:
            known = refusals.get((each.plugin, each.reason))
            if known is None or known.nodes < each.nodes:
                refusals[each.plugin, each.reason] = each
    total = sum(map(len, muster.pods.values()))
    told = (
        f'PodGroup "{muster.gang.key.name}" needs nodes for {muster.wanting} of its {total} '
        f"waiting pods together, {attempt.placed} would fit; {'; '.join(_reasons(attempt))}"
    )
    return Diagnosis(snapshot.size, tuple(refusals.values()), wakes_on, failure, told)


def _elsewhere(allotment: Allotment, framework: Framework) -> Change:
    """Return what opens further nodes to members that fit: others may fit where they were then."""
    refused = {refusal.plugin for refusal in allotment.decision.rejected}
    change = Change(0)
    for plugin in framework.filters:
        if plugin.name in refused:
            change |= plugin.wakes_on
    return change


def _reasons(attempt: _Attempt) -> Iterator[str]:
    for pod, pods in list(attempt.left.items())[:_NAMED]:
        tried = attempt.last.get(pod)
        why = tried.decision.diagnosis if tried is not None else None
        others = f" and {len(pods) - 1} like it" if len(pods) > 1 else ""
        yield f"{pods[0].key.name}{others}: {why.message if why else 'not tried'}"
    if len(attempt.left) > _NAMED:
        yield f"{len(attempt.left) - _NAMED} more kinds of pods"


def _refused(muster: Muster, pod: PodClass, diagnosis: Diagnosis) -> Allotment:
    pods, nobody = muster.pods[pod], np.zeros(0, dtype=np.int64)
    decision = Decision(pod, len(pods), nobody, diagnosis=diagnosis, nodes=diagnosis.nodes)
    return Allotment(pod, (), (), pods, decision, muster.gang)
