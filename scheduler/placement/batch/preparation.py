"""What a Placement asks, read against a cluster: which pods, which hosts, under which rules.

Pure; takes as long as asking the rules about every class does, so it belongs in a thread.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from ...batch_terms import Batch
from ...errors import BadRequest
from ...objects.json import Json
from ...objects.objective import ALL, PODS, Goal
from ...objects.placement_job import PRICE, VALUE, PlacementJob
from ...objects.pod_class import PodClass
from ...objects.selectors import EVERYTHING
from ...plugin_manager import GuardedBatchRule, Rules
from ...snapshot import Counts, Rows, Snapshot
from ..checker import GroupName
from ..framework import Framework
from ..plan import PendingPod
from ..rebalance.movability import Scope
from ..scenario import Scenario, read_scenario
from ..solver.arrays import Reals
from ..solver.objectives import Balanced, HostCost, Objective, Placed, Stranded
from .following import framework_for
from .modelling import Demand, Model, Wish, model
from .preferences import preferences
from .selection import members_of, notes_on, selector_of
from .stated import Liking, state

MOST_PRIORITIES = 32
"""Priorities that `place: priority` tells apart."""
_WORTHS = ("count", "priority", "value")  # what can be placed besides resources
_MOST = float(2**50)  # worths and prices are summed as floats


@dataclass(frozen=True, slots=True)
class Prepared:
    """A Placement, ready to be solved.

    Args:
        snapshot: the cluster before it.
        members: by demand, its pods; the uids of those of templates are only told apart by.
        framework: the profile's rules on the hosts.
        batch: what batch rules are told; rules: who are.
        names: of the problem's objectives.
        vouched: what is said of bounds that rules vouch for.
        groups: minMember by namespace and name of PodGroup.
        notes: what of the spec is about nothing, in words.
    """

    snapshot: Snapshot
    model: Model
    members: tuple[Sequence[PendingPod], ...]
    framework: Framework
    batch: Batch
    rules: tuple[GuardedBatchRule, ...]
    names: tuple[str, ...]
    vouched: tuple[str, ...]
    groups: Mapping[GroupName, int]
    notes: tuple[str, ...] = ()

    @property
    def pods(self) -> int:
        """How many pods are asked for."""
        return sum(map(len, self.members))

    @property
    def worths(self) -> Reals:
        """What placing a copy of each class is worth in the first goal, or else to greedy: (C,)."""
        first, *_ = self.model.problem.objectives
        if isinstance(first, Placed):
            return first.value
        return np.array([each.value for each in self.model.demands])


def prepare(job: PlacementJob, cluster: Scenario, rules: Rules) -> Prepared:
    """Return a Placement's problem.

    Args:
        cluster: the live one; its pending pods can be chosen, and PodGroups hold.
        rules: of the profile.

    Raises:
        BadRequest: the spec cannot be met by anything; says which field and why.
        PluginError: a filter failed.
    """
    offered = _offered(job, cluster)
    snapshot = offered.state.freeze(cluster.revision)
    hosts = hosts_of(job, snapshot)
    members = members_of(job, cluster)
    least = _least(job.meta.namespace, cluster)
    demands = [
        Demand(pod, len(pods), worth, least.get(pod.group, 0) if pod.group else 0)
        for (pod, pods), worth in zip(
            members.items(), _worths(_first_place(job.spec.objective), members), strict=True
        )
    ]
    goals = _goals(job.spec.objective, rules)
    count = np.array([each.count for each in demands], dtype=np.int64)
    batch = Batch(snapshot, hosts, tuple(members), count, tuple([goal.label for goal in goals]))
    stated = state(batch, rules.batch)
    likings = {each.name: each for each in (preferences(batch, rules.scorers), *stated.likings)}
    named = dict(objectives(goals, members, batch, likings))
    claims = tuple([stated.bounds.get(name, (None, None))[1] for name in named])
    first = job.spec.objective[0]
    everything = bool(first.hosts or first.balance or first.fragmentation)
    wish = Wish(tuple(named.values()), everything, stated, claims)
    return Prepared(
        snapshot=snapshot,
        model=model(demands, snapshot, hosts, rules.filters, wish),
        members=tuple(members.values()),
        framework=framework_for(rules.filters, rules.scorers, snapshot, hosts),
        batch=batch,
        rules=rules.batch,
        names=tuple(named),
        vouched=tuple(
            f"{rule} vouches for the bound {amount:g} of {goal}"
            for goal, (rule, amount) in stated.bounds.items()
            if goal in named
        ),
        groups=least_members(cluster),
        notes=notes_on(job, cluster),
    )


def least_members(cluster: Scenario) -> dict[GroupName, int]:
    """Return minMember of every PodGroup."""
    groups = cluster.groups or {}
    return {(key.namespace, key.name): each.spec.min_member for key, each in groups.items()}


def _goals(given: Sequence[Goal], rules: Rules) -> tuple[Goal, ...]:
    """Return the objective with what it does not name: preferences, then rules' worths, last."""
    wanted = preferable(given, rules)
    named = {goal.prefer for goal in given}
    return (*given, *(Goal(prefer=name) for name in wanted if name not in named))


def preferable(given: Sequence[Goal], rules: Rules) -> list[str]:
    """Return what can be preferred.

    Raises:
        BadRequest: an objective prefers something else.
    """
    wanted = [PODS, *(rule.name for rule in rules.batch)]
    for index, goal in enumerate(given):
        if goal.prefer and goal.prefer not in wanted:
            raise BadRequest(
                f"spec.objective[{index}].prefer is {goal.prefer!r}; there are {', '.join(wanted)}"
            )
    return wanted


def _least(namespace: str, cluster: Scenario) -> dict[str, int]:
    """Return how many further members each PodGroup of the namespace needs, by name."""
    groups = cluster.groups or {}
    bound = Counter(
        pod.wanted.group for pod in cluster.bound.values() if pod.key.namespace == namespace
    )
    return {
        key.name: max(0, group.spec.min_member - bound[key.name])
        for key, group in groups.items()
        if key.namespace == namespace
    }


def _offered(job: PlacementJob, cluster: Scenario) -> Scenario:
    if not job.spec.hosts.nodes:
        return cluster
    given: list[Json] = [msgspec.json.decode(node) for node in job.spec.hosts.nodes]
    return read_scenario({"nodes": given})


def hosts_of(job: PlacementJob, snapshot: Snapshot) -> Rows:
    """Return the rows of the hosts that a Placement may use.

    Raises:
        BadRequest: there is none.
    """
    selector = selector_of(job.spec.hosts.selector)
    rows = [
        row
        for row, node in enumerate(snapshot.nodes)
        if selector is None or selector.matches(node.labels)
    ]
    if not rows:
        raise BadRequest(
            "spec.hosts: no node of the cluster is chosen; there is nothing to place on"
        )
    return np.array(rows, dtype=np.int64)


def scope_of(job: PlacementJob) -> Scope:
    """Return which running pods a Placement may have moved, and among which hosts."""
    return Scope(hosts=selector_of(job.spec.hosts.selector) or EVERYTHING, profile=job.spec.profile)


def _first_place(goals: Sequence[Goal]) -> str:
    return next((goal.place for goal in goals if goal.place), "count")


def objectives(
    goals: Sequence[Goal],
    members: Mapping[PodClass, Sequence[PendingPod]],
    batch: Batch,
    likings: Mapping[str, Liking],
) -> Iterator[tuple[str, Objective | Liking]]:
    """Yield goals by name, but for preferences that nobody has.

    Raises:
        BadRequest: a goal is about a resource that there is not.
    """
    for number, goal in enumerate(goals):
        if goal.place:
            _check_place(goal.place, f"spec.objective[{number}].place", batch)
            for name, worths in _goals_of_place(goal.place, members):
                yield f"{goal.label}{name}", Placed(np.array(worths))
        elif goal.hosts:
            yield goal.label, HostCost(_prices(goal.hosts, batch.snapshot, batch.hosts))
        elif goal.balance:
            yield goal.label, Balanced(_offered_of(goal.balance, batch))
        elif goal.fragmentation:
            yield goal.label, _stranded(goal.fragmentation, batch)
        elif goal.prefer in likings and not likings[goal.prefer].empty:
            yield goal.label, likings[goal.prefer]


def _check_place(place: str, where: str, batch: Batch) -> None:
    """Raise BadRequest for a resource that no host offers and no pod asks for."""
    row = batch.snapshot.resource_row.get(place)
    offered = row is not None and batch.snapshot.allocatable[row, batch.hosts].any()
    if place in _WORTHS or offered or any(pod.requests.amounts.get(place) for pod in batch.pods):
        return
    raise BadRequest(
        f"{where} is {place!r}, which none of the hosts offers and no pod asks for; it is one of "
        f"{', '.join(_WORTHS)}, or a resource"
    )


def _goals_of_place(
    place: str, members: Mapping[PodClass, Sequence[PendingPod]]
) -> Iterator[tuple[str, list[float]]]:
    """Yield what placing pods is worth, with what tells the goals apart: one for each priority.

    One number that said all of them would be too large for the solver to count single pods.
    """
    if place != "priority":
        yield "", [_worth(place, pod) for pod in members]
        return
    priorities = _priorities(members)
    if len(priorities) > MOST_PRIORITIES:
        raise BadRequest(
            f"spec.objective: {len(priorities)} priorities are too many, at most {MOST_PRIORITIES} "
            "can be told apart; place them in several Placements, the highest first"
        )
    for priority in priorities:
        name = f" {priority}" if len(priorities) > 1 else ""
        yield name, [float(pod.priority == priority) for pod in members]


def _priorities(members: Iterable[PodClass]) -> list[int]:
    """Return all priorities, the highest first."""
    return sorted({pod.priority for pod in members}, reverse=True)


def _worths(place: str, members: Mapping[PodClass, Sequence[PendingPod]]) -> list[float]:
    """Return by what pods come first."""
    if place == "priority":
        ranks = {priority: -n for n, priority in enumerate(_priorities(members))}
        return [float(len(ranks) + ranks[pod.priority]) for pod in members]
    return [_worth(place, pod) for pod in members]


def _worth(place: str, pod: PodClass) -> float:
    if place == "count":
        return 1.0
    if place == "value":
        return decimal(pod.labels.get(VALUE, "1"), f"label {VALUE} of pods")
    return float(pod.requests.amounts.get(place, 0))


def _prices(which: str, snapshot: Snapshot, hosts: Rows) -> Reals:
    """Return what using each host costs; those that have pods cost nothing more."""
    rows: list[int] = hosts.tolist()
    labels = [snapshot.nodes[row].labels.get(PRICE, "1") for row in rows]
    if which == "fewest":
        prices = np.ones(hosts.size)
    else:
        prices = np.array([decimal(label, f"label {PRICE} of nodes") for label in labels])
    used = snapshot.requested[:, hosts].any(axis=0)
    return np.where(used, 0.0, prices)


def _offered_of(resource: str, batch: Batch) -> Counts:
    """Return (R, H) what hosts offer of a resource, or of all but the number of pods."""
    snapshot = batch.snapshot
    offered = snapshot.allocatable[:, batch.hosts].copy()
    if resource == ALL:
        offered[snapshot.resource_row["pods"]] = 0
        return offered
    offered[np.arange(len(offered)) != _row(resource, batch)] = 0
    return offered


def _stranded(resource: str, batch: Batch) -> Stranded:
    """Return the goal of fragmentation; who does not want the resource has no say."""
    wants = [pod.requests.amounts.get(resource, 0) > 0 for pod in batch.pods]
    many: Reals = batch.count * np.array(wants, dtype=np.float64)
    return Stranded(_row(resource, batch), many / max(float(many.sum()), 1.0))


def _row(resource: str, batch: Batch) -> int:
    row = batch.snapshot.resource_row.get(resource)
    if row is None or not batch.snapshot.allocatable[row, batch.hosts].any():
        raise BadRequest(f"spec.objective: none of the hosts offers {resource}")
    return row


def decimal(text: str, what: str) -> float:
    """Return a number ≥ 0 that somebody wrote down.

    Raises:
        BadRequest: it is none; says whose.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < _MOST:
        raise BadRequest(f"{what}: {text[:63]!r} is no number from 0 to {_MOST:.0f}")
    return number
