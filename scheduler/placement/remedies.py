"""What would make a pod fit on a node: small changes, each tried before it is named. Pure."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import combinations

from ..hookspecs import Filter, Obstacle, PodClass, Snapshot
from ..objects.json import Json, JsonObject
from .framework import rejections
from .inspection import inspect
from .remedy_steps import (
    Leavers,
    Step,
    Steps,
    changed_class,
    changed_facts,
    changed_spec,
    moving,
    proposals,
    told_in,
)
from .scenario import Scenario, ScenarioPod
from .tenancy import RunningPod

MOST_REMEDIES = 12
MOST_STEPS = 6
_MOST_TRIES = 600
_MOST_LEAVERS = 128
_Objection = tuple[str, str]  # rule and reason


@dataclass(frozen=True, slots=True)
class Place:
    """A node where a pod does not fit."""

    snapshot: Snapshot
    row: int


def remedies(
    scenario: Scenario, pod: ScenarioPod, filters: Sequence[Filter], place: Place
) -> list[Json]:
    """Return changes, of which each alone makes the pod feasible at a place, the smallest first.

    Steps are what the pod lacks in resources, more skew, tolerations, the node's cordon and labels,
    dropping what ties the pod to other nodes, and the fewest pods that would have to leave the node
    or where they are in the way. Where several things are in the way, a change is of several steps:
    one that answers the first objection, one that answers what is objected to then, and so on; a
    step that turns out not to be needed is left out. Every change is tried in the scenario with all
    its steps, which is as it was afterwards.

    Returns:
        At most MOST_REMEDIES, of at most MOST_STEPS steps; `steps` lists them where there are
        several, `short` and `pods` are what requests are lowered by and who leaves. Pods of other
        namespaces are not named, but counted (`otherPods`).
    """
    search = _Search(scenario, pod, filters, place)
    told: list[Json] = []
    for steps in search.run():
        document = _document(steps, pod.key.namespace)
        if document not in told:  # as many others
            told.append(document)
    return told


class _Search:
    """Looks at changes in order of size.

    Args:
        place: where the pod is to fit, as the scenario stands.
    """

    def __init__(
        self, scenario: Scenario, pod: ScenarioPod, filters: Sequence[Filter], place: Place
    ) -> None:
        self._scenario = scenario
        self._pod = pod
        self._filters = filters
        self._facts = place.snapshot.nodes[place.row]
        self._row = place.row
        self._tries = 0
        self._queue: list[tuple[int, int, Steps]] = [(0, 0, ())]
        self._seen: set[frozenset[str]] = set()
        self._found: list[Steps] = []

    def run(self) -> list[Steps]:
        """Return changes that help and need all of their steps, the smallest first."""
        while self._queue and len(self._found) < MOST_REMEDIES and self._tries < _MOST_TRIES:
            _, _, steps = heappop(self._queue)
            if any(_said(found) <= _said(steps) for found in self._found):
                continue
            objected = self._objection(steps)
            if objected is None:
                self._keep(steps)
            elif len(steps) < MOST_STEPS:
                for more in self._next(steps, objected):
                    self._push((*steps, *more))
        return sorted(self._found, key=_size)

    def _push(self, steps: Steps) -> None:
        if _said(steps) not in self._seen:
            self._seen.add(_said(steps))
            heappush(self._queue, (_size(steps), len(self._seen), steps))

    def _keep(self, steps: Steps) -> None:
        """Take over a change that helps, without what other steps of it have made needless."""
        steps = _with_one_move(steps)
        for _ in range(MOST_STEPS):
            before = _said(steps)
            for step in steps:
                fewer = _without(steps, step)
                if fewer and self._objection(fewer) is None:
                    steps = fewer
            if len(steps) > 1:
                steps = self._smaller(steps)
            if _said(steps) == before:
                break
        if not any(_said(found) <= _said(steps) for found in self._found):
            self._found.append(steps)

    def _smaller(self, steps: Steps) -> Steps:
        """Return steps that help, none larger than it need be beside the others."""
        for step in steps:
            others = _without(steps, step)
            if step.gone:
                again = self._fewest(others, step.gone, None)
            else:
                again = next(
                    (each for each in self._at_hand(others)[0] if each.kind == step.kind), step
                )
            if again.said != step.said and self._objection((*others, again)) is None:
                steps = tuple(again if each is step else each for each in steps)
        return steps

    def _next(self, steps: Steps, objected: _Objection) -> Iterator[Steps]:
        """Yield what answers an objection to the pod with changes made so far.

        A rule may give one reason for two things (node selector and node affinity), so that pairs
        are tried where no step alone is an answer.
        """
        at_hand, suspects = self._at_hand(steps)
        kinds = {step.kind for step in steps}
        fresh = [step for step in at_hand if step.kind not in kinds]
        answers = [(s,) for s in fresh if self._objection((*steps, s)) != objected] or [
            pair for pair in combinations(fresh, 2) if self._objection((*steps, *pair)) != objected
        ]
        yield from answers
        for step in self._moves(steps, objected, suspects):
            yield (step,)

    def _at_hand(self, steps: Steps) -> tuple[list[Step], dict[str, set[PodClass]]]:
        """Return what may help after changes, and node → classes that rules say are in the way."""
        pod, row = self._pod, self._row
        wanted, spec = changed_class(pod, steps), changed_spec(pod, steps)
        with self._changed(steps) as snapshot:
            seen = inspect(wanted, snapshot, self._filters, ())
            obstacles = [obstacle for _, obstacle in seen.obstacles(row)]
            return list(proposals(wanted, spec, snapshot, row, obstacles)), _classes(
                obstacles, snapshot
            )

    def _moves(
        self, steps: Steps, objected: _Objection, classes: dict[str, set[PodClass]]
    ) -> Iterator[Step]:
        """Yield the fewest pods to move away that answer the objection, and all there are."""
        gone: list[tuple[str, RunningPod]] = []
        answered = False
        taken = {each.uid for step in steps for _, each in step.gone}
        suspects = [pair for pair in self._suspects(classes) if pair[1].uid not in taken]
        for pair in suspects[:_MOST_LEAVERS]:
            gone.append(pair)
            left = self._objection((*steps, moving(gone)))
            if not answered and left is not None and left != objected:
                answered = True
                yield self._fewest(steps, gone, objected)
            if left is None:
                yield self._fewest(steps, gone, None)
                return

    def _fewest(
        self, steps: Steps, gone: Sequence[tuple[str, RunningPod]], objected: _Objection | None
    ) -> Step:
        """Return the moving of those pods but for whoever turns out to be able to stay.

        Args:
            objected: the objection that is to be answered; None: all are.
        """
        needed = list(gone)
        for pair in gone:
            fewer = [each for each in needed if each is not pair]
            if fewer:
                left = self._objection((*steps, moving(fewer)))
                if left is None or (objected is not None and left != objected):
                    needed = fewer
        return moving(needed)

    def _suspects(self, classes: dict[str, set[PodClass]]) -> list[tuple[str, RunningPod]]:
        """Return who may be in the way, the least first: whom rules told of, then the node's pods.

        Args:
            classes: node → the classes that rules told of there.
        """
        here = self._facts.name
        found = [
            (where, each)
            for where in dict.fromkeys((here, *classes))
            for each in self._scenario.running.get(where, {}).values()
            if where == here or each.pod in classes[where]
        ]
        found.sort(
            key=lambda pair: (
                pair[1].pod not in classes.get(pair[0], ()),
                pair[1].pod.priority,
                -sum(pair[1].pod.requests.amounts.values()),
            )
        )
        return found

    def _objection(self, steps: Steps) -> _Objection | None:
        """Return the first objection to the pod with changes made; None if it fits."""
        self._tries += 1
        wanted, row = changed_class(self._pod, steps), self._row
        with self._changed(steps) as snapshot:
            for plugin in self._filters:
                verdict = plugin.filter(wanted, snapshot)
                if verdict is not None and verdict.room[row] == 0:
                    found = rejections(plugin.name, verdict)
                    reasons = (each.reason for each in found if each.nodes[row])
                    return plugin.name, next(reasons, "")
        return None

    @contextmanager
    def _changed(self, steps: Steps) -> Generator[Snapshot]:
        """Have the scenario changed for the moment, the pod excepted."""
        state, facts = self._scenario.state, changed_facts(self._facts, steps)
        gone = [pair for step in steps for pair in step.gone]
        if facts is not self._facts:
            state.set_facts(facts)
        for _, each in gone:
            state.remove_pod(each.uid)
        try:
            yield state.freeze(0)
        finally:
            for where, each in gone:
                state.set_pod(each.uid, each.pod, where, leaving=each.leaving)
            if facts is not self._facts:
                state.set_facts(self._facts)


def _classes(obstacles: Sequence[Obstacle], snapshot: Snapshot) -> dict[str, set[PodClass]]:
    """Return, by node, the classes of pods that rules found in the way."""
    classes: dict[str, set[PodClass]] = {}
    for obstacle in obstacles:
        for other, rows in obstacle.pods.items():
            for row in rows:
                classes.setdefault(snapshot.nodes[row].name, set()).add(other)
    return classes


def _without(steps: Steps, step: Step) -> Steps:
    return tuple(each for each in steps if each is not step)


def _with_one_move(steps: Steps) -> Steps:
    """Return steps with those of moving pods as one, the last."""
    gone = [pair for step in steps for pair in step.gone]
    others = tuple(step for step in steps if not step.gone)
    return (*others, moving(gone)) if gone else others


def _said(steps: Steps) -> frozenset[str]:
    return frozenset(step.said for step in steps)


def _size(steps: Steps) -> int:
    return sum(step.size for step in steps)


def _document(steps: Steps, namespace: str) -> JsonObject:
    said = [told_in(namespace, step) for step in steps]
    told: JsonObject = {"change": ", and ".join(said)}
    if len(steps) > 1:
        told["steps"] = [*said]
    short = {name: amount for step in steps for name, amount in step.short.items()}
    if short:
        told["short"] = {**short}
    leaving = Leavers.of([pair for step in steps for pair in step.gone], namespace)
    if leaving.names:
        told["pods"] = [*leaving.names]
    if leaving.others:
        told["otherPods"] = leaving.others
    return told
