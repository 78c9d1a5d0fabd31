"""The challenge as a Rebalance with a batch rule, as a plugin of a third party would say it.

Machines are Nodes, resources are extended resources, processes are pods that run there. All that
the challenge adds to a scheduler's own rules (transient use, spread over locations, dependencies,
the weighed cost) is said in `scheduler.batch_terms`; the engine knows nothing of the challenge.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from bench.roadef.challenge import Instance
from scheduler import hookimpl
from scheduler.batch_terms import (
    Across,
    Batch,
    BatchPlan,
    Capacity,
    Complaint,
    Excess,
    Limit,
    Linear,
    Needs,
    Peak,
    Term,
    Worth,
)
from scheduler.hookspecs import Args, BatchRule
from scheduler.objects.json import Json, JsonObject
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.rebalance_job import RebalanceJob, RebalanceSpec, RebalanceStatus
from scheduler.objects.stored import ObjectKey
from scheduler.placement.rebalance.asked import objective_of, scope_of
from scheduler.placement.rebalance.floor import Floor
from scheduler.placement.rebalance.plan import Aim, Move
from scheduler.placement.scenario import read_scenario
from scheduler.plugin_manager import PluginManager
from scheduler.profile import PACKING
from scheduler.snapshot import Counts, Mask

NAME = "Reassignment"
PROCESS, MACHINE = "challenge.example/process", "challenge.example/machine"
LOCATION, NEIGHBOURHOOD = "challenge.example/location", "challenge.example/neighbourhood"


class Reassignment:
    """A batch rule: where processes may go, and what their places cost."""

    name = NAME

    def __init__(self, given: Instance) -> None:
        self.given = given

    @hookimpl
    def ironfree_batch_rules(self, args: Args) -> Sequence[BatchRule]:
        """Give the rule itself; it takes no arguments."""
        return [self]

    def terms(self, batch: Batch) -> Iterator[Term]:
        """Say the challenge's definition."""
        case = _Case(self.given, batch)
        yield from case.hard()
        yield from case.transient()
        yield from case.load()
        yield from case.moves()

    def check(self, batch: Batch, plan: BatchPlan) -> Iterable[Complaint]:
        """Leave it to the benchmark's own checker, which judges what is assigned in the end."""
        return ()


class _Case:
    """Processes by class and machines by host, as a batch has them.

    Attributes:
        processes: (C,) which process each class is; machines: (H,) which machine each host is.
        homes: (C,) the host where each class is at first.
        asked: (R, C) what each class takes.
    """

    def __init__(self, given: Instance, batch: Batch) -> None:
        self.given, self.batch = given, batch
        nodes = [batch.snapshot.nodes[row] for row in batch.hosts]
        self.processes = np.array([int(pod.labels[PROCESS]) for pod in batch.pods])
        self.machines = np.array([int(node.labels[MACHINE]) for node in nodes])
        self._host = np.argsort(self.machines)
        self.homes = self._host[np.array(given.initial)[self.processes]]
        self.asked = np.array([given.processes[p].asked for p in self.processes]).T

    def by_host(self, rows: Sequence[Sequence[int]]) -> Counts:
        """Return (R, H) from amounts by machine and resource."""
        return np.array([rows[m] for m in self.machines]).T

    def members(self) -> dict[int, tuple[int, ...]]:
        """Return the classes of each service."""
        found: dict[int, list[int]] = {}
        for c, p in enumerate(self.processes.tolist()):
            found.setdefault(self.given.processes[p].service, []).append(c)
        return {s: tuple(classes) for s, classes in sorted(found.items())}

    def hard(self) -> Iterator[Term]:
        """Everything has a place; conflicts, spread over locations, dependencies."""
        members = self.members()
        yield Linear(dict.fromkeys(range(self.processes.size), 1.0), ">=", self.processes.size)
        location, near = self.batch.domains(LOCATION), self.batch.domains(NEIGHBOURHOOD)
        for s, classes in members.items():
            if len(classes) > 1:
                yield Limit(classes)
            service = self.given.services[s]
            if service.spread > 1:
                yield Across(classes, service.spread, location)
            for other in service.dependencies:
                yield Needs(classes, members.get(other, ()), near)

    def transient(self) -> Iterator[Term]:
        """What began on a host takes transient resources there, wherever it is now."""
        capacity = self.by_host([machine.capacity for machine in self.given.machines])
        for r in np.flatnonzero(self.given.transient).tolist():
            theirs = np.bincount(self.homes, self.asked[r], self.machines.size)
            comes = {c: self._away(c) * self.asked[r, c] for c in range(self.processes.size)}
            yield Capacity(comes, capacity[r] - theirs)

    def load(self) -> Iterator[Term]:
        """Load above the safety capacity, and what is free of one resource for want of another."""
        given, asked = self.given, self.asked
        capacity = self.by_host([machine.capacity for machine in given.machines])
        safety = self.by_host([machine.safety for machine in given.machines])
        for r, price in enumerate(given.load):
            yield Excess(dict(enumerate(asked[r].tolist())), safety[r], price)
        for b in given.balances:
            more = asked[b.scarce] - b.target * asked[b.plenty]
            free = capacity[b.scarce] - b.target * capacity[b.plenty]
            yield Excess(dict(enumerate(more.tolist())), free, b.weight)

    def moves(self) -> Iterator[Term]:
        """Moves cost by process, by machine, and by the service that has most of them."""
        given, machines = self.given, self.machines
        worths: dict[int, Counts] = {}
        for c, (p, home) in enumerate(zip(self.processes, machines[self.homes], strict=True)):
            way = np.array(given.machines[home].move)[machines] * given.machine_move
            worths[c] = -(way + given.process_move * given.processes[p].move) * self._away(c)
        yield Worth(worths)
        away = {c: self._away(c).astype(np.float64) for c in range(self.processes.size)}
        everywhere = np.zeros(machines.size, dtype=np.int64)
        sums = tuple(self.members().values())
        yield Peak(away, price=given.service_move, domain=everywhere, sums=sums)

    def _away(self, c: int) -> Mask:
        return np.arange(self.machines.size) != self.homes[c]


def asked(given: Instance) -> tuple[Floor, Aim]:
    """Return the cluster that processes run on, and what a Rebalance is to do there."""
    spec = {
        "goal": "improve",
        "objective": [{"prefer": NAME}],
        "movesPerHost": 500,
        "minGainPercent": 0,
        "profile": "default-scheduler",
    }
    job = RebalanceJob(
        ObjectMeta(name="challenge", uid="challenge"),
        msgspec.json.decode(msgspec.json.encode(spec), type=RebalanceSpec),
        RebalanceStatus(),
    )
    plugins = PluginManager.load()
    plugins.register(Reassignment(given), "challenge")
    plugins.collect()
    rules = plugins.rules(PACKING)
    cluster = read_scenario(
        {
            "nodes": [_node(given, m) for m in range(len(given.machines))],
            "pods": [_pod(given, p) for p in range(len(given.processes))],
        }
    )
    floor = Floor(cluster, rules.filters, scope_of(job, datetime.now(UTC)), rules.batch)
    return floor, Aim(job.spec.moves_per_host, objective=objective_of(job, rules))


def assigned(given: Instance, moves: Iterable[Move]) -> list[int]:
    """Return the machine of each process once moves are made."""
    found = list(given.initial)
    for move in moves:
        found[process_of(move.pod)] = machine_of(move.target)
    return found


def process_of(pod: ObjectKey) -> int:
    """Return which process a pod is."""
    return int(pod.name[1:])


def machine_of(node: str) -> int:
    """Return which machine a node is."""
    return int(node[1:])


def _amounts(amounts: Sequence[int]) -> JsonObject:
    return {f"challenge.example/r{r}": str(amount) for r, amount in enumerate(amounts)}


def _pod(given: Instance, p: int) -> JsonObject:
    limits = _amounts(given.processes[p].asked)
    container: Json = {
        "name": "process",
        "image": "process",
        "resources": {"requests": limits, "limits": limits},
    }
    owner: Json = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"p{p}",
        "uid": f"p{p}",
        "controller": True,
    }
    return {
        "metadata": {
            "name": f"p{p}",
            "namespace": "default",
            "uid": f"p{p}",
            "labels": {PROCESS: str(p)},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": f"m{given.initial[p]}", "containers": [container]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _node(given: Instance, m: int) -> JsonObject:
    machine = given.machines[m]
    labels: JsonObject = {
        MACHINE: str(m),
        LOCATION: str(machine.location),
        NEIGHBOURHOOD: str(machine.neighbourhood),
    }
    allocatable: JsonObject = {"cpu": "1", "memory": "1", "pods": str(len(given.processes))}
    allocatable |= _amounts(machine.capacity)
    ready: Json = {"type": "Ready", "status": "True"}
    return {
        "metadata": {"name": f"m{m}", "labels": labels},
        "status": {"allocatable": allocatable, "conditions": [ready]},
    }
