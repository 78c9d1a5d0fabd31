"""Machine reassignment as the ROADEF/EURO challenge 2012 defines it: instances, rules, cost.

Plain and slow: it shares nothing with what searches, so that it can check it. Source: Google and
ROADEF/EURO, "Google ROADEF/EURO challenge 2011-2012: Machine reassignment", problem definition.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A machine; `move` is the cost of moving a process from it, by the machine moved to."""

    neighbourhood: int
    location: int
    capacity: tuple[int, ...]
    safety: tuple[int, ...]
    move: tuple[int, ...]


@dataclass(frozen=True)
class Service:
    """At least `spread` locations; in each neighbourhood with a process, one of each dependency."""

    spread: int
    dependencies: tuple[int, ...]


@dataclass(frozen=True)
class Process:
    """A process, what it takes, and the cost of moving it."""

    service: int
    asked: tuple[int, ...]
    move: int


@dataclass(frozen=True)
class Balance:
    """What is free of `scarce` should be `target` times what is free of `plenty` at most."""

    plenty: int
    scarce: int
    target: int
    weight: int


@dataclass(frozen=True)
class Instance:
    """An instance and the assignment that it begins with.

    Args:
        transient: by resource, whether a process that moves takes it in both places meanwhile.
        load: by resource, what a unit above the safety capacity costs.
        initial: by process, its machine.
    """

    transient: tuple[bool, ...]
    load: tuple[int, ...]
    machines: tuple[Machine, ...]
    services: tuple[Service, ...]
    processes: tuple[Process, ...]
    balances: tuple[Balance, ...]
    process_move: int
    service_move: int
    machine_move: int
    initial: tuple[int, ...]


def read(model: str, assignment: str) -> Instance:
    """Return an instance from the texts of its two files."""
    numbers = map(int, model.split())

    def take(many: int) -> tuple[int, ...]:
        return tuple(next(numbers) for _ in range(many))

    resources = [take(2) for _ in range(next(numbers))]
    many, width = next(numbers), len(resources)
    machines = tuple(
        Machine(next(numbers), next(numbers), take(width), take(width), take(many))
        for _ in range(many)
    )
    services = tuple(Service(next(numbers), take(next(numbers))) for _ in range(next(numbers)))
    processes = tuple(
        Process(next(numbers), take(width), next(numbers)) for _ in range(next(numbers))
    )
    balances = tuple(Balance(*take(4)) for _ in range(next(numbers)))
    weights = take(3)
    return Instance(
        transient=tuple(bool(transient) for transient, _ in resources),
        load=tuple(weight for _, weight in resources),
        machines=machines,
        services=services,
        processes=processes,
        balances=balances,
        process_move=weights[0],
        service_move=weights[1],
        machine_move=weights[2],
        initial=tuple(map(int, assignment.split())),
    )


def violations(given: Instance, assigned: Sequence[int]) -> Iterator[str]:
    """Yield what is wrong with an assignment: capacity, conflict, spread, dependency."""
    if len(assigned) != len(given.processes):
        yield f"{len(assigned)} processes of {len(given.processes)} are assigned"
        return
    for m, machine in enumerate(given.machines):
        for r, capacity in enumerate(machine.capacity):
            used = _taken(given, assigned, m, r)
            if given.transient[r]:
                used += sum(
                    process.asked[r]
                    for process, now, before in zip(
                        given.processes, assigned, given.initial, strict=True
                    )
                    if before == m and now != m
                )
            if used > capacity:
                yield f"machine {m} has {used} of resource {r}, {capacity} at most"
    on: dict[int, list[int]] = defaultdict(list)
    for process, now in zip(given.processes, assigned, strict=True):
        on[process.service].append(now)
    for s, service in enumerate(given.services):
        if len(set(on[s])) < len(on[s]):
            yield f"service {s} has two processes on one machine"
        locations = {given.machines[m].location for m in on[s]}
        if len(locations) < service.spread:
            yield f"service {s} is in {len(locations)} locations, {service.spread} at least"
        near = {given.machines[m].neighbourhood for m in on[s]}
        for other in service.dependencies:
            there = {given.machines[m].neighbourhood for m in on[other]}
            if not near <= there:
                yield f"service {s} has no process of service {other} in its neighbourhood"


def cost(given: Instance, assigned: Sequence[int]) -> int:
    """Return the challenge's total cost of an assignment."""
    total = 0
    for m, machine in enumerate(given.machines):
        used = [_taken(given, assigned, m, r) for r in range(len(given.load))]
        for r, weight in enumerate(given.load):
            total += weight * max(0, used[r] - machine.safety[r])
        free = [capacity - taken for capacity, taken in zip(machine.capacity, used, strict=True)]
        for balance in given.balances:
            short = balance.target * free[balance.plenty] - free[balance.scarce]
            total += balance.weight * max(0, short)
    moved = Counter[int]()
    for process, now, before in zip(given.processes, assigned, given.initial, strict=True):
        if now != before:
            moved[process.service] += 1
            total += given.process_move * process.move
            total += given.machine_move * given.machines[before].move[now]
    return total + given.service_move * max(moved.values(), default=0)


def _taken(given: Instance, assigned: Sequence[int], m: int, r: int) -> int:
    return sum(
        process.asked[r] for process, now in zip(given.processes, assigned, strict=True) if now == m
    )
