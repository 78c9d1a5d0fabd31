"""Single processes move, or change places with another one: a quick descent, or an annealing."""

import numpy as np

from bench.roadef.standing import Standing
from scheduler.placement.solver.arrays import Counts, Mask
from scheduler.placement.solver.deadline import Deadline

_HOT, _COLD = 3e-4, 1e-5  # of the cost at the beginning


def anneal(standing: Standing, deadline: Deadline, random: np.random.Generator) -> None:
    """Move processes at falling heat, and downhill in the end; ends with the deadline."""
    shifting = Shifting(standing)
    begun = float(shifting.cost())
    while not deadline.over:
        part = deadline.elapsed / (deadline.elapsed + deadline.left)
        shifting.sweep(random, begun * _HOT * (_COLD / _HOT) ** part)
    while shifting.sweep(random, 0.0) < 0:
        pass


class Shifting:
    """What an assignment amounts to, kept while single processes move."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        given, services = standing.given, len(standing.given.services)
        self.zone = np.array([machine.neighbourhood for machine in given.machines])
        self.location = np.array([machine.location for machine in given.machines])
        self.move = np.array([machine.move for machine in given.machines])
        self.weight = np.array(given.load)
        moves = [process.move for process in given.processes]
        self.process_move = given.process_move * np.array(moves)
        self.spread = np.array([service.spread for service in given.services])
        self.needs = [np.array(service.dependencies, dtype=np.int64) for service in given.services]
        serves: list[list[int]] = [[] for _ in range(services)]
        for s, service in enumerate(given.services):
            for other in service.dependencies:
                serves[other].append(s)
        self.serves = [np.array(each, dtype=np.int64) for each in serves]
        every = np.arange(standing.at.size)
        self.used = standing.used(every)
        self.gone = np.zeros_like(self.used)  # transient resources of those who left
        away = np.flatnonzero(standing.at != standing.home)
        asked = standing.asked * np.array(given.transient, dtype=np.int64)[:, None]
        np.add.at(self.gone.T, standing.home[away], asked[:, away].T)
        self.transient = asked
        self.by_machine = self._count(np.arange(len(given.machines)))
        self.by_zone = self._count(self.zone)
        self.by_location = self._count(self.location)
        self.moved = np.bincount(standing.service[away], minlength=services)

    def cost(self) -> int:
        """Return the cost of all."""
        standing = self.standing
        machines = np.arange(self.used.shape[1])
        load = int(self._cost(machines, self.used).sum())
        moves = int(self._moving(np.arange(standing.at.size), standing.at).sum())
        return load + moves + standing.given.service_move * int(self.moved.max(initial=0))

    def sweep(self, random: np.random.Generator, heat: float) -> int:
        """Let each process move, and change places; return what the cost grows by.

        Args:
            heat: chances fall with what a choice costs more, e-fold by so much (heat bath); at 0
                the cheapest is taken.
        """
        grown = 0
        for p in random.permutation(self.standing.at.size).tolist():
            grown += self._shift(int(p), random, heat) + self._swap(int(p), random, heat)
        return grown

    def _count(self, code: Counts) -> Counts:
        standing = self.standing
        found = np.zeros((len(standing.given.services), int(code.max()) + 1), dtype=np.int64)
        np.add.at(found, (standing.service, code[standing.at]), 1)
        return found

    def _shift(self, p: int, random: np.random.Generator, heat: float) -> int:
        standing = self.standing
        now, home, s = int(standing.at[p]), int(standing.home[p]), int(standing.service[p])
        taken = self.used + self.gone + standing.asked[:, p, None]
        taken[:, home] -= self.transient[:, p]
        allowed = self._places(p) & np.all(taken <= standing.capacity, axis=0)
        targets = np.flatnonzero(allowed)
        if not targets.size:
            return 0
        asked = standing.asked[:, p]
        delta = self._more(targets, asked[:, None]) + self._more(np.array([now]), -asked[:, None])
        delta = delta + self._moving(np.array([p]), targets) - self._moving(p, now)
        delta = delta + self._service(s, (targets != home).astype(np.int64) - int(now != home))
        chosen = _drawn(delta, random, heat)
        if chosen < 0:
            return 0
        self._move(p, int(targets[chosen]))
        return int(delta[chosen])

    def _swap(self, p: int, random: np.random.Generator, heat: float) -> int:
        standing = self.standing
        now, home = int(standing.at[p]), int(standing.home[p])
        others = np.flatnonzero(
            self._places(p)[standing.at] & (self.by_machine[standing.service, now] == 0)
        )
        there = standing.at[others]
        mine, theirs = self.transient[:, p, None], self.transient[:, others]
        more = standing.asked[:, others] - standing.asked[:, p, None]
        here = (self.used + self.gone)[:, [now]] + more + mine * (home == now)
        here = here - theirs * (standing.home[others] == now)
        away = (self.used + self.gone)[:, there] - more - mine * (home == there)
        away = away + theirs * (standing.home[others] == there)
        fits = np.all(here <= standing.capacity[:, [now]], axis=0)
        fits &= np.all(away <= standing.capacity[:, there], axis=0)
        others, there, more = others[fits], there[fits], more[:, fits]
        if not others.size:
            return 0
        delta = self._more(np.full(others.size, now), more) + self._more(there, -more)
        delta = delta + self._moving(np.array([p]), there) - self._moving(p, now)
        delta = delta + self._moving(others, np.array([now])) - self._moving(others, there)
        chosen = _drawn(delta, random, heat)
        if chosen < 0:
            return 0
        q, to, most = int(others[chosen]), int(there[chosen]), int(self.moved.max())
        self._move(p, to)
        if not self._places(q)[now]:
            self._move(p, now)
            return 0
        self._move(q, now)
        moved = int(self.moved.max()) - most
        return int(delta[chosen]) + standing.given.service_move * moved

    def _places(self, p: int) -> Mask:
        """Return (M,) where else the other processes let a process go."""
        standing = self.standing
        now, s = int(standing.at[p]), int(standing.service[p])
        allowed: Mask = self.by_machine[s] == 0
        here, zone = int(self.location[now]), int(self.zone[now])
        if self.spread[s] > 1 and self.by_location[s, here] == 1:
            many = int((self.by_location[s] > 0).sum()) - 1
            fresh = (self.by_location[s] == 0)[self.location] | (self.location == here)
            allowed &= fresh | (many >= self.spread[s])
        for other in self.needs[s].tolist():
            allowed &= (self.by_zone[other] > 0)[self.zone]
        if self.by_zone[s, zone] == 1 and (self.by_zone[self.serves[s], zone] > 0).any():
            allowed &= self.zone == zone
        return allowed

    def _more(self, machines: Counts, more: Counts) -> Counts:
        """Return what load and balance of machines cost more with more (R, …) on them."""
        used = self.used[:, machines]
        return self._cost(machines, used + more) - self._cost(machines, used)

    def _cost(self, machines: Counts, used: Counts) -> Counts:
        standing = self.standing
        over = np.maximum(used - standing.safety[:, machines], 0)
        found: Counts = self.weight @ over
        free = standing.capacity[:, machines] - used
        for b in standing.given.balances:
            found = found + b.weight * np.maximum(b.target * free[b.plenty] - free[b.scarce], 0)
        return found

    def _moving(self, processes: Counts | int, machines: Counts | int) -> Counts:
        """Return what it costs that processes have moved to machines; the two are broadcast."""
        home = self.standing.home[processes]
        price = self.process_move[processes]
        price = price + self.standing.given.machine_move * self.move[home, machines]
        return np.where(machines == home, 0, price)

    def _service(self, s: int, more: Counts) -> Counts:
        """Return what it costs if so many more of a service have moved."""
        others = self.moved.copy()
        others[s] = 0
        most = int(others.max(initial=0))
        now = max(most, int(self.moved[s]))
        return self.standing.given.service_move * (np.maximum(most, self.moved[s] + more) - now)

    def _move(self, p: int, to: int) -> None:
        standing = self.standing
        now, home, s = int(standing.at[p]), int(standing.home[p]), int(standing.service[p])
        self.used[:, now] -= standing.asked[:, p]
        self.used[:, to] += standing.asked[:, p]
        away = int(to != home) - int(now != home)
        self.gone[:, home] += away * self.transient[:, p]
        self.moved[s] += away
        for counts, code in (
            (self.by_machine, np.arange(self.zone.size)),
            (self.by_zone, self.zone),
            (self.by_location, self.location),
        ):
            counts[s, code[now]] -= 1
            counts[s, code[to]] += 1
        standing.at[p] = to


def _drawn(delta: Counts, random: np.random.Generator, heat: float) -> int:
    """Return the choice that is drawn, -1 for none: none costs nothing."""
    if not heat:
        best = int(delta.argmin())
        return best if delta[best] < 0 else -1
    noise = heat * random.gumbel(size=delta.size + 1)
    best = int((delta - noise[1:]).argmin())
    return best if delta[best] - noise[best + 1] < -noise[0] else -1
