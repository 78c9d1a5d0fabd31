"""Better and better assignments of processes to machines, a few machines at a time.

Each neighbourhood is a packing Problem of the engine: the processes of a few machines are its
classes, with one copy each, and what stays is taken off what is free. The engine's model for CP-SAT
says capacity and conflicts; what only the challenge has (transient use, spread over locations,
dependencies, costs of load, balance and moves) is added to that model here.
"""

from collections import Counter, defaultdict

import numpy as np
from ortools.sat.python import cp_model

from bench.roadef.standing import Standing
from scheduler.placement.solver.arrays import Counts
from scheduler.placement.solver.deadline import Deadline
from scheduler.placement.solver.neighbourhood import Neighbourhood, Terms, neighbourhood, total
from scheduler.placement.solver.neighbourhood_rules import add_rules
from scheduler.placement.solver.occupancy import Occupancy
from scheduler.placement.solver.problem import problem
from scheduler.placement.solver.regulation import Regulation
from scheduler.placement.solver.rules import Exclusive
from scheduler.placement.solver.shapes import shapes

_FREED = 25  # processes decided on at once, to begin with
_LEAST, _MOST = 12, 200
_WORK = 0.5  # CP-SAT's deterministic seconds for a neighbourhood


class Neighbours:
    """The model of a few machines and of processes that are decided on anew among them."""

    def __init__(self, standing: Standing, machines: Counts, freed: Counts) -> None:
        self.standing, self.given = standing, standing.given
        self.machines, self.freed = machines, freed
        self.stay = np.setdiff1d(np.arange(standing.at.size), freed)
        self.rest = standing.used(self.stay)[:, machines]
        self.made = self._packing()
        self.cost: Terms = []
        self.constant = 0
        self._transient()
        self._places()
        self._load()
        self._balance()
        self._moves()

    def solve(self, deadline: Deadline, seed: int) -> tuple[Counts | None, bool]:
        """Return where the freed processes go, None if nothing was found; and whether it is best.

        Only an assignment that is no worse than the present one is looked for.
        """
        model = self.made.model
        model.minimize(total(self.cost))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = seed
        solver.parameters.max_time_in_seconds = deadline.limit(30.0)
        solver.parameters.max_deterministic_time = _WORK
        status = solver.solve(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return None, False
        found = self.standing.at[self.freed].copy()
        for (k, c), x in self.made.copies.items():
            if solver.value(x):
                found[c] = self.machines[k]
        return found, status == cp_model.OPTIMAL

    def _packing(self) -> Neighbourhood:
        """State capacity and conflicts as a Problem, and demand that everything is placed."""
        standing, count = self.standing, np.ones(self.freed.size, dtype=np.int64)
        by_service: dict[int, list[int]] = defaultdict(list)
        for c, s in enumerate(standing.service[self.freed].tolist()):
            by_service[s].append(c)
        taken: dict[int, set[int]] = defaultdict(set)
        for p in self.stay.tolist():
            taken[int(standing.service[p])].add(int(standing.at[p]))
        feasible = np.ones((self.freed.size, self.machines.size), dtype=np.bool_)
        for s, members in by_service.items():
            feasible[members] = ~np.isin(self.machines, list(taken[s]))
        given = problem(
            np.maximum(standing.capacity[:, self.machines] - self.rest, 0),
            standing.asked[:, self.freed],
            count,
            group=np.arange(self.machines.size),
            feasible=feasible,
            rules=tuple(Exclusive(tuple(own)) for own in by_service.values() if len(own) > 1),
        )
        state = Occupancy(shapes(given), Regulation(given))
        position = {m: k for k, m in enumerate(self.machines.tolist())}
        now = [position[m] for m in standing.at[self.freed].tolist()]
        state.content[np.arange(self.freed.size), now] = 1
        state.left[:] = 0
        made = neighbourhood(given, state, np.arange(self.machines.size))
        add_rules(made)
        for c in range(self.freed.size):
            made.model.add(total(made.of((c,))) == 1)
        return made

    def _on(self, k: int) -> list[tuple[int, cp_model.IntVar]]:
        """Return (position of the process, variable) of a machine."""
        return [(c, x) for (n, c), x in self.made.copies.items() if n == k]

    def _transient(self) -> None:
        """What began on a machine takes transient resources there, wherever it goes."""
        standing = self.standing
        begun = np.zeros_like(standing.capacity)
        np.add.at(begun.T, standing.home, standing.asked.T)
        come = self.stay[standing.at[self.stay] != standing.home[self.stay]]
        there = begun + standing.used(come)
        for k, m in enumerate(self.machines.tolist()):
            for r in standing.transient.tolist():
                terms = [
                    (x, int(standing.asked[r, self.freed[c]]))
                    for c, x in self._on(k)
                    if standing.home[self.freed[c]] != m
                ]
                if terms:
                    self.made.at_most(terms, int(standing.capacity[r, m] - there[r, m]))

    def _places(self) -> None:
        """Spread over locations, and neighbourhoods of services that depend on others."""
        given, standing = self.given, self.standing
        touched = set(standing.service[self.freed].tolist())
        zones = np.array([machine.neighbourhood for machine in given.machines])
        locations = np.array([machine.location for machine in given.machines])
        for s in touched:
            if given.services[s].spread > 1:
                self._spread(s, locations)
        for s, service in enumerate(given.services):
            for other in service.dependencies:
                if s in touched or other in touched:
                    self._depends(s, other, zones)

    def _by_zone(self, s: int, zones: Counts) -> tuple[dict[int, Terms], set[int]]:
        """Return variables of a service by zone, and zones where it is anyway."""
        standing = self.standing
        mine = np.flatnonzero(standing.service[self.freed] == s).tolist()
        terms: dict[int, Terms] = defaultdict(list)
        for (k, c), x in self.made.copies.items():
            if c in mine:
                terms[int(zones[self.machines[k]])].append((x, 1))
        own = self.stay[standing.service[self.stay] == s]
        return terms, set(zones[standing.at[own]].tolist())

    def _spread(self, s: int, locations: Counts) -> None:
        terms, fixed = self._by_zone(s, locations)
        there: Terms = []
        for location, mine in terms.items():
            if location not in fixed:
                held = self.made.model.new_bool_var("")
                self.made.model.add(held <= total(mine))
                there.append((held, 1))
        wanted = self.given.services[s].spread - len(fixed)
        if wanted > 0:
            self.made.model.add(total(there) >= wanted)

    def _depends(self, s: int, other: int, zones: Counts) -> None:
        mine, own = self._by_zone(s, zones)
        theirs, fixed = self._by_zone(other, zones)
        for zone in own | set(mine):
            if zone in fixed:
                continue
            support = total(theirs.get(zone, []))
            if zone in own:
                self.made.model.add(support >= 1)
            else:
                for x, _ in mine[zone]:
                    self.made.model.add(x <= support)

    def _used(self, k: int, r: int) -> Terms:
        asked = self.standing.asked[r, self.freed]
        return [(x, int(asked[c])) for c, x in self._on(k) if asked[c]]

    def _load(self) -> None:
        for k, m in enumerate(self.machines.tolist()):
            for r, weight in enumerate(self.given.load):
                terms = self._used(k, r)
                room = int(self.standing.safety[r, m] - self.rest[r, k])
                if weight and terms:
                    self._excess(terms, room, weight)

    def _excess(self, terms: Terms, room: int, weight: int) -> None:
        """Add weight · max(0, Σ terms - room) to the cost."""
        most = sum(max(factor * self.made.upper[x.index], 0) for x, factor in terms) - room
        if most > 0:
            over = self.made.model.new_int_var(max(0, -room), most, "")
            self.made.model.add(over >= total(terms) - room)
            self.cost.append((over, weight))

    def _balance(self) -> None:
        standing = self.standing
        for k, m in enumerate(self.machines.tolist()):
            free = standing.capacity[:, m] - self.rest[:, k]
            for b in self.given.balances:
                asked = standing.asked[b.scarce] - b.target * standing.asked[b.plenty]
                terms = [(x, int(asked[self.freed[c]])) for c, x in self._on(k)]
                room = int(free[b.scarce] - b.target * free[b.plenty])
                most = sum(max(factor, 0) for _, factor in terms) - room
                if most > 0 and terms:
                    short = self.made.model.new_int_var(0, most, "")
                    self.made.model.add(short >= total(terms) - room)
                    self.cost.append((short, b.weight))

    def _moves(self) -> None:
        given, standing = self.given, self.standing
        moved: dict[int, Terms] = defaultdict(list)
        for (k, c), x in self.made.copies.items():
            p, m = int(self.freed[c]), int(self.machines[k])
            home = int(standing.home[p])
            if m != home:
                price = given.process_move * given.processes[p].move
                price += given.machine_move * given.machines[home].move[m]
                self.cost.append((x, price))
                moved[int(standing.service[p])].append((x, 1))
        if not given.service_move:
            return
        gone = self.stay[standing.at[self.stay] != standing.home[self.stay]]
        fixed = Counter(standing.service[gone].tolist())
        sizes = np.bincount(standing.service)
        most = self.made.model.new_int_var(max(fixed.values(), default=0), int(sizes.max()), "")
        for s, terms in moved.items():
            if sizes[s] > 1 or not fixed:
                self.made.model.add(most >= total(terms) + fixed[s])
        self.cost.append((most, given.service_move))


def rearrange(standing: Standing, deadline: Deadline, random: np.random.Generator) -> None:
    """Decide on a few machines anew, again and again until the deadline."""
    many = float(_FREED)
    while not deadline.over:
        machines, freed = _choose(standing, random, round(many))
        seed = int(random.integers(1 << 30))
        found, best = Neighbours(standing, machines, freed).solve(deadline, seed)
        many = min(many * 1.03, _MOST) if best else max(many * 0.9, _LEAST)
        if found is not None:
            standing.at[freed] = found


def _choose(standing: Standing, random: np.random.Generator, many: int) -> tuple[Counts, Counts]:
    """Return a few machines, dear ones rather, and some of the processes on them."""
    size = standing.capacity.shape[1]
    each = standing.at.size / size
    few = int(min(size, max(2, round(random.uniform(1.0, 2.0) * many / each))))
    cost = standing.costs().astype(np.float64)
    weight = cost / (cost.mean() or 1.0) + 0.5 if random.random() < 0.5 else np.ones(size)
    machines = np.sort(random.choice(size, few, replace=False, p=weight / weight.sum()))
    there = np.flatnonzero(np.isin(standing.at, machines))
    freed = random.permutation(there)[:many]
    return machines, np.sort(freed)
