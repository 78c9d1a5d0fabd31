"""Puts pods and the nodes they may use into the solver's numbers.

Pure. Filters answer once per class, as ever; what they say of single nodes becomes masks and
amounts, and nodes that no answer tells apart become one group. Of the rules over groups of nodes,
those that every reachable plan obeys in the end are written down too: spreading where all that
count are bound by it, required anti-affinity among those that all have it, affinity of a class to
itself. Whatever else there is stays out: the problem is then easier than the real one, so its bound
holds for the real one, and `following` sees to the rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...hookspecs import Filter
from ...objects.pod_class import ANY_ADDRESS, HostPort, PodClass
from ...snapshot import Counts, Mask, Rows, Snapshot
from ..framework import Framework
from ..solver.objectives import Balanced, Objective
from ..solver.problem import Problem
from ..solver.rules import Exclusive, Floor, Gang
from ..state import request_vector
from .stated import Liking, Stated
from .topology import topology

RESOURCES = "NodeResourcesFit"  # its answer is amounts: they go in as such
PORTS = "NodePorts"  # who wants which port goes in as exclusion
ATTRACTION = "InterPodAffinity"
SPREADING = "PodTopologySpread"
MANY = 1 << 40


@dataclass(frozen=True, slots=True)
class Demand:
    """Identical pods that are to be placed.

    Args:
        count: how many.
        value: what placing one is worth, ≥ 0; greedy goes by it.
        least: members of its gang that must be placed for any to be; 0: none must.
    """

    pod: PodClass
    count: int
    value: float
    least: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a plan should be good at.

    Args:
        objectives: the most important first; their arrays are by demand and by host.
        require_all: whether less than everything is no solution.
        stated: what plugins say of counts besides.
        claims: by objective, a bound that a plugin vouches for; () for none.
    """

    objectives: tuple[Objective | Liking, ...]
    require_all: bool = False
    stated: Stated = field(default_factory=Stated)
    claims: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A problem, and what its columns stand for.

    Args:
        rows: (H,) rows of the snapshot that are its nodes.
        demands: its classes.
        exact: whether every rule of the pods is in it, so that what is proved of it is proved of
            the pods; otherwise only its bounds hold.
        coupled: whether a rule over groups of nodes has a say, so that what others bind on other
            nodes matters.
    """

    problem: Problem
    rows: Rows
    demands: tuple[Demand, ...]
    exact: bool
    coupled: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the filters say of one class on the hosts.

    Args:
        mask: (H,) bool.
        limits: (H,) most copies by each filter that counts, resources and ports aside.
        exact: False if a rule over groups of nodes was left aside that is not in Topology either.
        coupled: whether there is a rule over groups of nodes.
    """

    mask: Mask
    limits: tuple[Counts, ...]
    exact: bool
    coupled: bool


def model(
    demands: Sequence[Demand],
    snapshot: Snapshot,
    hosts: Rows,
    filters: Sequence[Filter],
    wish: Wish,
    today: Snapshot | None = None,
) -> Model:
    """Return the problem of placing demands on hosts.

    Args:
        hosts: (H,) rows of the snapshot that may be used.
        today: with the demands' pods where they are, if they run already.

    Raises:
        PluginError: a filter failed.
    """
    answers = [_ask(each, snapshot, hosts, filters) for each in demands]
    between = topology([each.pod for each in demands], snapshot, hosts, today)
    feasible = np.zeros((len(demands), hosts.size), dtype=np.bool_)
    for c, answer in enumerate(answers):
        feasible[c] = answer.mask
    for c, mask in (*between.masks, *wish.stated.masks):
        feasible[c] &= mask
    free = np.maximum(snapshot.allocatable[:, hosts] - snapshot.requested[:, hosts], 0)
    demand = np.zeros((len(free), len(demands)), dtype=np.int64)
    ignores = Framework(filters, ()).ignores
    for c, each in enumerate(demands):
        demand[:, c] = request_vector(each.pod, snapshot.resource_row)
        for resource in each.pod.requests.amounts.keys() & snapshot.resource_row.keys():
            if ignores(each.pod, resource):
                demand[snapshot.resource_row[resource], c] = 0
    free, demand = _with_limits(free, demand, answers)
    likings = [each for each in wish.objectives if isinstance(each, Liking)]
    liked = [code for each in likings for code in each.codes()]
    group, first = _groups(feasible, [*between.codes(), *wish.stated.codes(), *liked])
    gangs, whole = _gangs(demands)
    problem = Problem(
        free=free,
        demand=demand,
        count=np.array([each.count for each in demands], dtype=np.int64),
        group=group,
        feasible=feasible[:, first],
        limit=np.full(len(demands), MANY, dtype=np.int64),
        devices=np.zeros((0, hosts.size), dtype=np.int64),
        device_share=np.zeros(len(demands), dtype=np.int64),
        device_units=np.zeros(len(demands), dtype=np.int64),
        objectives=tuple(
            each.by_group(len(demands), first)
            if isinstance(each, Liking)
            else _as_long(each, len(free))
            for each in wish.objectives
        ),
        require_all=wish.require_all,
        rules=(
            *_ports(demands),
            *between.by_group(first),
            *wish.stated.by_group(len(demands), first),
            *gangs,
        ),
        claims=wish.claims,
        current=_start(wish.stated),
    )
    exact = whole and between.exact and all(each.exact for each in answers)
    coupled = wish.stated.binding or bool(snapshot.attracting)
    coupled |= any(each.coupled for each in answers)
    return Model(problem, hosts, tuple(demands), exact, coupled)


def at_least(given: Problem, classes: Sequence[int], copies: int) -> Problem:
    """Return a problem in which so many copies of some classes together must be placed."""
    weight = np.zeros(given.feasible.shape)
    weight[list(classes)] = 1.0
    return replace(given, rules=(*given.rules, Floor(weight, float(copies))))


def _ask(wanted: Demand, snapshot: Snapshot, hosts: Rows, filters: Sequence[Filter]) -> _Answer:
    mask = np.ones(hosts.size, dtype=np.bool_)
    limits: list[Counts] = []
    exact, coupled = True, False
    affinity = wanted.pod.spec.affinity
    attracted = affinity is not None and affinity.pod_affinity is not None
    for plugin in filters:
        verdict = plugin.filter(wanted.pod, snapshot)
        if verdict is None:
            continue
        coupled |= verdict.coupling is not None
        if plugin.name == SPREADING or (plugin.name == ATTRACTION and attracted):
            continue  # pods that come can open nodes; Topology has what is certain
        room = verdict.room[hosts]
        if verdict.coupling is not None and plugin.name != ATTRACTION:
            exact = False
            continue
        mask &= room != 0
        if verdict.room.dtype.kind == "b" or plugin.name in (RESOURCES, PORTS, ATTRACTION):
            continue
        if (room[mask] < wanted.count).any():
            limits.append(np.asarray(room, dtype=np.int64))
    return _Answer(mask, tuple(limits), exact, coupled)


def _with_limits(free: Counts, demand: Counts, answers: Sequence[_Answer]) -> tuple[Counts, Counts]:
    """Write what a filter counts down as one more resource, of which every copy takes one."""
    frees, demands = [free], [demand]
    for c, answer in enumerate(answers):
        for limit in answer.limits:
            row = np.zeros((1, demand.shape[1]), dtype=np.int64)
            row[0, c] = 1
            frees.append(limit[None])
            demands.append(row)
    return np.concatenate(frees), np.concatenate(demands)


def _as_long(objective: Objective, rows: int) -> Objective:
    """Return an objective about resources for so many: of further ones nothing counts."""
    if not isinstance(objective, Balanced):
        return objective
    more = rows - len(objective.allocatable)
    return Balanced(np.pad(objective.allocatable, ((0, more), (0, 0))))


def _groups(feasible: Mask, codes: Sequence[Counts]) -> tuple[Counts, Rows]:
    """Return each host's group, and one host of every group."""
    masks: Counts = np.packbits(feasible, axis=0).astype(np.int64)
    keys: Counts = np.concatenate([masks, *[code[None] for code in codes]]).T
    numbers: dict[bytes, int] = {}
    group = [numbers.setdefault(key.tobytes(), len(numbers)) for key in keys]
    first = [group.index(number) for number in range(len(numbers))]
    return np.array(group, dtype=np.int64), np.array(first, dtype=np.int64)


def _ports(demands: Sequence[Demand]) -> list[Exclusive]:
    """Return who cannot share a node for want of a host port: per port and address."""
    users: dict[HostPort, set[int]] = {}
    for c, each in enumerate(demands):
        for port in each.pod.host_ports:
            users.setdefault(port, set()).add(c)
    found: dict[tuple[int, ...], None] = {}
    for port, classes in users.items():
        everywhere = users.get(HostPort(port.protocol, port.port), set())
        if port.host_ip == ANY_ADDRESS and _addressed(port, users):
            continue  # those with an address of their own say it, too
        found[tuple(sorted(classes | everywhere))] = None
    return [Exclusive(classes) for classes in found]


def _addressed(port: HostPort, users: Mapping[HostPort, set[int]]) -> bool:
    return any(
        other.protocol == port.protocol and other.port == port.port and other != port
        for other in users
    )


def _start(stated: Stated) -> Counts:
    """Return the (3, E) plan to begin with, the first that a rule gives."""
    if not stated.starts:
        return np.zeros((3, 0), dtype=np.int64)
    return stated.starts[0]


def _gangs(demands: Sequence[Demand]) -> tuple[tuple[Gang, ...], bool]:
    """Return the groups that need all their members, and whether there are no others."""
    members: dict[tuple[str, str], list[int]] = {}
    for c, each in enumerate(demands):
        if each.least:
            members.setdefault((each.pod.namespace, each.pod.group), []).append(c)
    whole = [
        Gang(tuple(classes))
        for classes in members.values()
        if sum(demands[c].count for c in classes) <= max(demands[c].least for c in classes)
    ]
    return tuple(whole), len(whole) == len(members)
