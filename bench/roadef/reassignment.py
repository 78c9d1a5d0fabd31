"""The challenge as a Placement with a batch rule, as a plugin of a third party would say it.

Machines are Nodes, resources are extended resources, processes are pods of one copy each. All that
the challenge adds to a scheduler's own rules (transient use, spread over locations, dependencies,
the weighed cost) is said in `scheduler.batch_terms`; the engine knows nothing of the challenge.
"""

from collections.abc import Iterable, Iterator, Sequence

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
    Start,
    Term,
    Worth,
)
from scheduler.hookspecs import Args, BatchRule
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.placement_job import PlacementJob, PlacementSpec, PlacementStatus
from scheduler.objects.stored import Body, StoredObject
from scheduler.placement.batch.preparation import Prepared, prepare
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

    def __init__(self, given: Instance, start: Sequence[int]) -> None:
        self.given, self.start = given, start

    @hookimpl
    def ironfree_batch_rules(self, args: Args) -> Sequence[BatchRule]:
        """Give the rule itself; it takes no arguments."""
        return [self]

    def terms(self, batch: Batch) -> Iterator[Term]:
        """Say the challenge's definition."""
        case = _Case(self.given, batch)
        yield Start(case.plan(self.start))
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

    def plan(self, assigned: Sequence[int]) -> BatchPlan:
        classes = np.arange(self.processes.size)
        at = self._host[np.array(assigned)[self.processes]]
        return BatchPlan(classes, at, np.ones_like(classes), self.machines.size)

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


def asked(given: Instance, start: Sequence[int]) -> Prepared:
    """Return the Placement of all processes, ready to be solved.

    Args:
        start: by process, a machine: an assignment that breaks nothing.
    """
    spec = {
        "pods": {"templates": [_template(given, p) for p in range(len(given.processes))]},
        "hosts": {"nodes": [_node(given, m) for m in range(len(given.machines))]},
        "objective": [{"place": "count"}, {"prefer": NAME}],
    }
    meta = ObjectMeta(name="challenge", namespace="default", uid="challenge")
    job = PlacementJob(
        meta,
        msgspec.json.decode(msgspec.json.encode(spec), type=PlacementSpec),
        PlacementStatus(),
        StoredObject("placements.ironfree.dev", meta, 1, 1, Body(b"{}")),
    )
    plugins = PluginManager.load()
    plugins.register(Reassignment(given, start), "challenge")
    plugins.collect()
    return prepare(job, read_scenario({"nodes": []}), plugins.rules(PACKING))


def assigned(given: Instance, places: Iterable[tuple[str, str]]) -> list[int]:
    """Return the machine of each process, -1 for none, from (pod, node) by name."""
    found = [-1] * len(given.processes)
    for pod, node in places:
        found[_number(pod)] = _number(node)
    return found


def _number(name: str) -> int:
    return int(name.rpartition("/")[2].split("-")[0][1:])


def _amounts(amounts: Sequence[int]) -> dict[str, str]:
    return {f"challenge.example/r{r}": str(amount) for r, amount in enumerate(amounts)}


def _template(given: Instance, p: int) -> dict[str, object]:
    limits = _amounts(given.processes[p].asked)
    resources = {"requests": limits, "limits": limits}
    container = {"name": "process", "image": "process", "resources": resources}
    body = {"metadata": {"labels": {PROCESS: str(p)}}, "spec": {"containers": [container]}}
    return {"name": f"p{p}", "count": 1, "template": body}


def _node(given: Instance, m: int) -> dict[str, object]:
    machine = given.machines[m]
    labels = {
        MACHINE: str(m),
        LOCATION: str(machine.location),
        NEIGHBOURHOOD: str(machine.neighbourhood),
    }
    allocatable = {"cpu": "1", "memory": "1", "pods": str(len(given.processes))}
    allocatable |= _amounts(machine.capacity)
    return {"metadata": {"name": f"m{m}", "labels": labels}, "status": {"allocatable": allocatable}}
