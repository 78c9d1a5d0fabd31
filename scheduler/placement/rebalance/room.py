"""Which pods to move so that one that waits fits. Pure.

A host is freed of the fewest pods whose requests cover what the waiting pod lacks there. A pod that
is kept away by anything but a lack of resources is not helped. A PodGroup gets room for as many as
it needs, or nobody is moved for it.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ...hookspecs import Filter, PodClass
from ...snapshot import Counts, Rows
from ..draft import Draft
from ..framework import Framework
from ..inspection import inspect
from ..scenario import Scenario, ScenarioPod
from ..state import request_vector
from .floor import Among, Floor, Step
from .movability import Scope
from .waiting import Waiting

_MOST_WAITING = 32
_MOST_HOSTS = 16  # tried for one pod


def _any(_: Step) -> bool:
    return True


def make_room(
    floor: Floor,
    waiting: Sequence[Waiting],
    most: int,
    over: Callable[[], bool] = lambda: False,
) -> tuple[list[tuple[Step, Waiting]], list[Waiting]]:
    """Return the moves that give waiting pods room, which the floor has made; and who gets none.

    Args:
        waiting: the most important first.
        most: moves that a pod may cost.
        over: tells that it is time to come to an end.

    Raises:
        PluginError: a filter failed.
    """
    made: list[tuple[Step, Waiting]] = []
    refused: dict[tuple[tuple[PodClass, int], ...], None] = {}
    without: list[Waiting] = []
    for each in waiting[:_MOST_WAITING]:
        known = each.members in refused
        steps = None if known else _steps_for(floor, each, most, made, over)
        if steps is None:
            refused[each.members] = None
            without.append(each)
        else:
            made += [(step, each) for step in steps]
    return made, without


def _steps_for(
    floor: Floor,
    waiting: Waiting,
    most: int,
    before: Sequence[tuple[Step, Waiting]],
    over: Callable[[], bool],
) -> list[Step] | None:
    """Make the moves that let enough of them in, and invite these; None where there are none."""
    steps: list[Step] = []
    guests: list[tuple[PodClass, int]] = []

    def allowed(step: Step) -> bool:
        earlier = [*(each for each, _ in before), *steps]
        return floor.holds_beside(Step((*(m for e in earlier for m in e.moves), *step.moves)))

    for pod, count in waiting.members:
        for _ in range(count):
            if over():
                break
            rows = Framework(floor.filters, ()).decide(pod, 1, Draft(floor.snapshot())).rows
            if rows.size:
                row = int(rows[0])
                floor.invite(pod, row)
            else:
                found = step_for(floor, pod, most, allowed)
                if found is None:
                    break
                step, row = found
                steps.append(step)
            guests.append((pod, row))
    if len(guests) >= waiting.least:
        return steps
    for pod, row in guests:
        floor.uninvite(pod, row)
    for step in reversed(steps):
        floor.undo(step)
    return None


def hopeless(pod: ScenarioPod, cluster: Scenario, filters: Sequence[Filter]) -> str:
    """Return the proof that no moving of pods would let a pod in, "" where there is none.

    The rules are asked of the cluster without any pod that may be moved. Where the pod's own rules
    want others to be somewhere, fewer pods may be worse, and nothing is proved.

    Raises:
        PluginError: a filter failed.
    """
    if wants_others(pod.wanted) or pod.wanted.group:
        return ""
    floor = Floor(cluster, filters, Scope(profile=pod.pod.spec.scheduler_name))
    able = floor.able()
    floor.what_if.send_away(np.array(able, dtype=np.int64))
    # without those who are nominated: they may never come
    if inspect(pod.wanted, floor.what_if.snapshot(), floor.filters, ()).rows.size:
        return ""
    count = f"{len(able)} pod{'' if len(able) == 1 else 's'}"
    return f"no node would take it even if all of the {count} that may be moved were elsewhere"


def wants_others(pod: PodClass) -> bool:
    """Tell whether a pod's rules want others to be somewhere, so that fewer pods may be worse."""
    affinity = pod.spec.affinity
    attracted = affinity is not None and affinity.pod_affinity is not None
    return attracted or bool(pod.spec.topology_spread_constraints)


def step_for(
    floor: Floor, pod: PodClass, most: int, allowed: Callable[[Step], bool] = _any
) -> tuple[Step, int] | None:
    """Make the moves that give a pod room and invite it; returns them and the row it comes to.

    Args:
        most: moves that it may cost.
        allowed: tells whether moves may be made.

    Raises:
        PluginError: a filter failed.
    """
    able = np.array(floor.able(), dtype=np.int64)
    for row, numbers in _cheapest(floor, pod, able, most):
        targets = floor.hosts.copy()
        targets[row] = False
        step = floor.fit(numbers, targets)
        if step is None or not allowed(step) or not floor.make(step):
            continue
        only = floor.base.none()
        only[row] = True
        framework = Framework((Among(only), *floor.filters), ())
        if framework.decide(pod, 1, Draft(floor.snapshot())).rows.size:
            floor.invite(pod, row)
            return step, row
        floor.undo(step)
    return None


def _cheapest(
    floor: Floor, pod: PodClass, able: Rows, most: int
) -> Sequence[tuple[int, list[int]]]:
    """Return hosts that would take the pod if some left, and whom; the fewest first."""
    floor.what_if.send_away(able)
    rows: list[int] = inspect(pod, floor.snapshot(), floor.filters, ()).rows.tolist()
    floor.what_if.take_back(able)
    snapshot = floor.snapshot()
    free = snapshot.allocatable - snapshot.requested
    lacking = np.maximum(request_vector(pod, snapshot.resource_row)[:, None] - free, 0)
    there: dict[int, list[int]] = {}
    numbers: list[int] = able.tolist()
    for number in numbers:
        there.setdefault(floor.tenants[number].row, []).append(number)
    found: list[tuple[int, list[int]]] = []
    for row in rows:
        if floor.hosts[row] and row in there:
            chosen = _cover(floor, lacking[:, row], there[row], most)
            if chosen:
                found.append((row, chosen))
    found.sort(key=lambda each: (len(each[1]), each[0]))
    return found[:_MOST_HOSTS]


def _cover(floor: Floor, lacking: Counts, numbers: Sequence[int], most: int) -> list[int]:
    """Return few tenants whose requests cover what is lacking, [] if no few do."""
    vectors = {n: request_vector(floor.tenants[n].pod, floor.base.resource_row) for n in numbers}
    scale = np.maximum(lacking, 1)
    left, chosen = lacking, list[int]()
    while (left > 0).any():
        rest = [n for n in numbers if n not in chosen]
        if not rest or len(chosen) == most:
            return []

        def helps(number: int, left: Counts = left) -> float:
            return float((np.minimum(vectors[number], left) / scale).sum())

        best = max(rest, key=helps)
        if not helps(best):
            return []
        chosen.append(best)
        left = np.maximum(left - vectors[best], 0)
    return chosen
