"""One try at a Placement: the cluster read, the problem solved, the answer taken through the rules.

Where pods are left and running ones may make room, that is looked for afterwards, and what no
moves can beat is asked of the solver, too.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import cast

import msgspec
import numpy as np

from ...objects.placement_job import Limits, PlacementJob
from ...plugin_manager import Rules
from ...snapshot import Counts
from ...store.store import Store
from ..live import Absence
from ..plan import Plan
from ..rebalance.floor import Floor
from ..scenario import Scenario
from ..simulator import live_cluster
from ..solver.problem import Problem
from ..solver.solution import Progress, Solution
from .clearance import Ground, apply, clear
from .engine import SolverProcess
from .outcome import Outcome, settle, settle_cleared, with_room
from .preparation import Prepared, prepare, scope_of
from .relaxing import Freedom, bound_of, relaxed

logger = logging.getLogger(__name__)

_SOLVING = 0.6  # share of the deadline, where room may be made
_CLEARING = 0.2
_LEAST = 0.5  # seconds for a bound
_AGAIN = 0.25  # share of the deadline that every further attempt has at least, or
_SECOND = 1.0  # so long, if the deadline is no less


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a Placement asked, and what came of it."""

    prepared: Prepared
    outcome: Outcome


class Attempts:
    """Tries one Placement with a solver, again and again if the cluster changes.

    Every further attempt begins with what still is of the plan before, and has what is left of the
    deadline.

    Args:
        rules: of the Placement's profile.
    """

    def __init__(self, store: Store, rules: Rules, engine: SolverProcess) -> None:
        self._store = store
        self._rules = rules
        self._engine = engine
        self._begun = math.nan
        self._last: Plan | None = None

    async def run(
        self, job: PlacementJob, limits: Limits, heard: Callable[[Prepared, Progress], None]
    ) -> Attempt:
        """Try a Placement on the cluster as it is.

        Args:
            limits: what may still be done to running pods.
            heard: called with progress.

        Raises:
            BadRequest: the spec cannot be met by anything. PluginError: a rule failed.
            SolverFailed: the solver's process ended. Unavailable: the database does not answer.
        """
        cluster = await live_cluster(self._store, Absence())
        prepared = await asyncio.to_thread(prepare, job, cluster, self._rules)
        if self._last is not None:
            prepared = resumed(prepared, self._last)
        seconds = self._left(job)
        share = _SOLVING * seconds if limits.any else seconds
        problem = prepared.model.problem
        solution = await self._engine.solve(problem, share, lambda each: heard(prepared, each))
        outcome = await asyncio.to_thread(_settle, prepared, solution, cluster)
        if limits.any and outcome.placed < prepared.pods:
            ground = self._ground(job, prepared, cluster, limits, seconds)
            outcome = await self._with_room(prepared, outcome, ground, seconds)
        elif limits.any:
            outcome = _all_placed(outcome)
        self._last = outcome.plan
        return Attempt(prepared, outcome)

    def _left(self, job: PlacementJob) -> float:
        """Return how many seconds an attempt has."""
        whole, now = float(job.spec.deadline_seconds), time.monotonic()
        if math.isnan(self._begun):
            self._begun = now
        return max(whole - (now - self._begun), _AGAIN * whole, min(whole, _SECOND))

    def _ground(
        self,
        job: PlacementJob,
        prepared: Prepared,
        cluster: Scenario,
        limits: Limits,
        seconds: float,
    ) -> Ground:
        for members in prepared.members:
            for pod in members:
                cluster.nominees.pop(pod.uid, None)
        end = time.monotonic() + _CLEARING * seconds
        return Ground(cluster, self._rules, limits, scope_of(job), lambda: time.monotonic() > end)

    async def _with_room(
        self, prepared: Prepared, outcome: Outcome, ground: Ground, seconds: float
    ) -> Outcome:
        making, answer = make_room(prepared, outcome, ground), None
        share = max(_LEAST, (1.0 - _SOLVING - _CLEARING) * seconds)
        while True:
            asked = await asyncio.to_thread(_send, making, answer)
            if isinstance(asked, Outcome):
                return asked
            answer = await self._engine.solve(asked, share, lambda _: None)


def resumed(prepared: Prepared, plan: Plan) -> Prepared:
    """Return a Placement whose search begins with what still is of a plan made before.

    Pods that are gone, and hosts that are or that may not be used any more, are left out; what else
    does not hold, the search finds itself.
    """
    model = prepared.model
    names = prepared.snapshot.names(model.rows)
    node_of = {name: node for node, name in enumerate(names)}
    class_of = {each.pod: c for c, each in enumerate(model.demands)}
    entries: list[Counts] = []
    for allotment in plan.allotments:
        c = class_of.get(allotment.pod)
        if c is None:
            continue
        known = [node_of[name] for name in allotment.nodes if name in node_of]
        nodes, copies = np.unique(known[: model.demands[c].count], return_counts=True)
        entries.append(np.stack([nodes, np.full(nodes.size, c), copies]).astype(np.int64))
    if not entries:
        return prepared
    problem = replace(model.problem, current=np.concatenate(entries, axis=1))
    return replace(prepared, model=replace(model, problem=problem))


MakingRoom = Generator[Problem, Solution | None, Outcome]


def make_room(prepared: Prepared, outcome: Outcome, ground: Ground) -> MakingRoom:
    """Yield the problem whose bound is wanted, be sent its solution, and return the outcome.

    Args:
        outcome: that leaves pods over.
        ground: its cluster is left as it is once everybody has made room.

    Raises:
        PluginError: a rule failed.
    """
    floor = Floor(ground.cluster, prepared.framework.filters, ground.scope, prepared.rules)
    freedom = Freedom(ground.limits.max_moves > 0, ground.limits.max_preemptions)
    pairs = zip(prepared.model.demands, prepared.worths.tolist(), strict=True)
    demands = [replace(demand, value=worth) for demand, worth in pairs]
    problem = relaxed(floor, demands, prepared.model.rows, freedom)
    clearance = clear(prepared, outcome.plan, outcome.turns, ground, floor)
    if clearance.followed.count > outcome.placed:
        apply(clearance, ground.cluster)
        outcome = settle_cleared(prepared, outcome, clearance, ground.cluster)
    bound: float | None = None
    if problem is not None and outcome.placed < prepared.pods:
        bound = bound_of((yield problem))
    moves = "any moves of pods that may be moved" if ground.limits.max_moves else "no moves"
    most = f"{moves} and {ground.limits.max_preemptions} preemptions"
    return with_room(prepared, outcome, bound, most)


def _send(making: MakingRoom, answer: Solution | None) -> Problem | Outcome:
    try:
        return making.send(answer)
    except StopIteration as done:
        return cast(Outcome, done.value)


def _settle(prepared: Prepared, solution: Solution | None, cluster: Scenario) -> Outcome:
    outcome = settle(prepared, solution, cluster.state)
    for message in outcome.violations:
        logger.error("a plan of the solver was refused by the checker: %s", message)
    return outcome


def _all_placed(outcome: Outcome) -> Outcome:
    reason = "; ".join(
        filter(None, (outcome.solver.reason, "nobody has to make room; bounds are without moves"))
    )
    return replace(outcome, solver=msgspec.structs.replace(outcome.solver, reason=reason))
