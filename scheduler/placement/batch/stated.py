"""What is said of counts by host, by plugins or as pods' preferences, in the solver's numbers.

Pure. Numbers come by host; the hosts that nothing tells apart are one group in the problem, so
they are kept by class and host until the groups are known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ... import batch_terms as terms
from ...batch_terms import Batch, BatchPlan, Reals, Weights
from ...errors import PluginError
from ...plugin_manager import GuardedBatchRule
from ...snapshot import Counts, Mask, Rows
from ..solver.objectives import Company, Excess, Meeting, Peak, Preferred
from ..solver.rules import (
    Across,
    Apart,
    Cap,
    Exclusive,
    Floor,
    Needs,
    Quota,
    Rule,
    Together,
)

_EXACT = float(2**50)


Between = Exclusive | Apart | Together | Needs | Across


@dataclass(frozen=True, slots=True)
class ByHost:
    """Weights of copies: class → (H,)."""

    rows: Mapping[int, Reals]

    def by_group(self, classes: int, first: Rows) -> Reals:
        """Return (C, K) weights, given one host of every group."""
        dense = np.zeros((classes, first.size))
        for c, row in self.rows.items():
            dense[c] = row[first]
        return dense


@dataclass(frozen=True, slots=True)
class Sums:
    """Weighed copies of each domain, and an amount: a resource or a soft limit.

    Args:
        amount: (H,); domain: (H,) or None.
    """

    weights: ByHost
    amount: Reals
    domain: Counts | None

    def codes(self) -> list[Counts]:
        """Return the (H,) codes that tell hosts apart."""
        found = [_code(row) for row in (*self.weights.rows.values(), self.amount)]
        return found if self.domain is None else [*found, self.domain]

    def by_group(self, classes: int, first: Rows) -> tuple[Reals, Reals, Counts | None]:
        """Return (C, K) weights, (K,) amounts and (K,) domains, given one host of every group."""
        domain = None if self.domain is None else self.domain[first]
        return self.weights.by_group(classes, first), self.amount[first], domain


@dataclass(frozen=True, slots=True)
class Liking:
    """A goal: the most of Σ weights · copies, and of what pairs add; domains are by host."""

    name: str
    weights: ByHost
    meetings: tuple[Meeting, ...] = ()
    companies: tuple[Company, ...] = ()
    excesses: tuple[Sums, ...] = ()
    peaks: tuple[tuple[Sums, tuple[tuple[int, ...], ...]], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it tells no plan from another."""
        pairs = self.meetings or self.companies
        return not (self.weights.rows or pairs or self.excesses or self.peaks)

    def by_group(self, classes: int, first: Rows) -> Preferred:
        """Return the objective, given one host of every group."""
        meetings = [
            each if each.domain is None else replace(each, domain=each.domain[first])
            for each in self.meetings
        ]
        companies = [
            each if each.domain is None else replace(each, domain=each.domain[first])
            for each in self.companies
        ]
        weights = self.weights.by_group(classes, first)
        excesses = [Excess(*each.by_group(classes, first)) for each in self.excesses]
        peaks: list[Peak] = []
        for each, sums in self.peaks:
            weight, amount, domain = each.by_group(classes, first)
            peaks.append(Peak(weight, amount, sums, domain))
        return Preferred(weights, tuple(meetings), tuple(companies), tuple(excesses), tuple(peaks))

    def codes(self) -> list[Counts]:
        """Return the (H,) codes that tell hosts apart."""
        between = (*self.meetings, *self.companies)
        domains = [each.domain for each in between if each.domain is not None]
        soft = (*self.excesses, *(each for each, _ in self.peaks))
        sums = [code for each in soft for code in each.codes()]
        return [*map(_code, self.weights.rows.values()), *domains, *sums]


@dataclass(slots=True)
class Stated:
    """What batch rules say of one batch.

    Args:
        masks: (class, (H,) bool) where a class may run at all.
        between: rules whose domain is by host.
        caps: (weights, most): no more. floors: (weights, least): no less.
        quotas: no more in each domain.
        likings: the goal of each rule that has one.
        bounds: goal → (rule, amount) that the rule vouches for.
        starts: (3, E) host, class and copies of a plan to begin with, by rule.
    """

    masks: list[tuple[int, Mask]] = field(default_factory=list[tuple[int, Mask]])
    between: list[Between] = field(default_factory=list[Between])
    quotas: list[Sums] = field(default_factory=list[Sums])
    caps: list[tuple[ByHost, float]] = field(default_factory=list[tuple[ByHost, float]])
    floors: list[tuple[ByHost, float]] = field(default_factory=list[tuple[ByHost, float]])
    likings: list[Liking] = field(default_factory=list[Liking])
    bounds: dict[str, tuple[str, float]] = field(default_factory=dict[str, tuple[str, float]])
    starts: list[Counts] = field(default_factory=list[Counts])

    @property
    def binding(self) -> bool:
        """Whether anything is demanded or forbidden."""
        return bool(self.masks or self.between or self.caps or self.floors or self.quotas)

    def codes(self) -> list[Counts]:
        """Return the (H,) codes that tell hosts apart, the goals' aside."""
        weights = [row for each, _ in (*self.caps, *self.floors) for row in each.rows.values()]
        domains = [rule.domain for rule in self.between if rule.domain is not None]
        quotas = [code for each in self.quotas for code in each.codes()]
        return [*map(_code, weights), *domains, *quotas]

    def by_group(self, classes: int, first: Rows) -> list[Rule]:
        """Return the rules, given one host of every group."""
        between = [
            rule if rule.domain is None else replace(rule, domain=rule.domain[first])
            for rule in self.between
        ]
        caps = [Cap(each.by_group(classes, first), most) for each, most in self.caps]
        floors = [Floor(each.by_group(classes, first), least) for each, least in self.floors]
        quotas = [Quota(*each.by_group(classes, first)) for each in self.quotas]
        return [*between, *caps, *floors, *quotas]


def state(batch: Batch, rules: Iterable[GuardedBatchRule]) -> Stated:
    """Return what rules say of a batch.

    Raises:
        PluginError: a rule failed, or said what cannot be; names it.
    """
    found = Stated()
    for rule in rules:
        reader = _Reader(batch, rule, found)
        for term in rule.terms(batch):
            reader.read(term)
        liking = reader.liking()
        if not liking.empty:
            found.likings.append(liking)
    return found


@dataclass(slots=True)
class _Reader:
    """Takes over the terms of one rule."""

    batch: Batch
    rule: GuardedBatchRule
    found: Stated
    worths: dict[int, Reals] = field(default_factory=dict[int, Reals])
    meetings: list[Meeting] = field(default_factory=list[Meeting])
    excesses: list[Sums] = field(default_factory=list[Sums])
    peaks: list[tuple[Sums, tuple[tuple[int, ...], ...]]] = field(
        default_factory=list[tuple[Sums, tuple[tuple[int, ...], ...]]]
    )

    def liking(self) -> Liking:
        """Return the rule's goal."""
        return Liking(
            self.rule.name,
            ByHost(self.worths),
            meetings=tuple(self.meetings),
            excesses=tuple(self.excesses),
            peaks=tuple(self.peaks),
        )

    def read(self, term: terms.Term) -> None:
        if isinstance(term, terms.Worth):
            for c, row in self._weights(term.weights).items():
                self.worths[c] = self.worths[c] + row if c in self.worths else row
        elif isinstance(term, terms.Linear):
            self._linear(term)
        elif isinstance(term, terms.Bound):
            self._bound(term)
        elif isinstance(term, terms.Start):
            self._start(term.plan)
        elif isinstance(term, terms.Capacity):
            sums = self._sums(term, 1.0)
            self._whole(bool((sums.amount >= 0).all()), "a capacity must be 0 or more")
            self.found.quotas.append(sums)
        elif isinstance(term, terms.Excess | terms.Peak):
            self._soft(term)
        elif isinstance(term, terms.Limit | terms.Together | terms.Across):
            self._among(term)
        else:
            self._pair(term)

    def _among(self, term: terms.Limit | terms.Together | terms.Across) -> None:
        classes, domain = self._classes(term.classes), self._domain(term.domain)
        if isinstance(term, terms.Limit):
            self._whole(term.most >= 0, f"a limit is {term.most}; it must be 0 or more")
        if isinstance(term, terms.Across):
            if term.least > 0:
                self.found.between.append(Across(classes, int(term.least), domain))
        elif isinstance(term, terms.Limit) and classes:
            self.found.between.append(Exclusive(classes, int(term.most), domain))
        elif classes:
            self.found.between.append(Together(classes, domain))

    def _soft(self, term: terms.Excess | terms.Peak) -> None:
        price = self._number(term.price, "a price")
        self._whole(price >= 0, f"a price is {price:g}; it must be 0 or more")
        sums = self._sums(term, price)
        if isinstance(term, terms.Excess):
            self.excesses.append(sums)
            return
        every = tuple(sorted(sums.weights.rows))
        sets = tuple([self._classes(each) for each in term.sums]) or (every,)
        self.peaks.append((sums, sets))

    def _sums(self, term: terms.Capacity | terms.Excess | terms.Peak, price: float) -> Sums:
        weights = {c: row * price for c, row in self._weights(term.weights).items()}
        size, domain = self.batch.hosts.size, self._domain(term.domain)
        amount = np.asarray(term.amount, dtype=np.float64)
        fits = amount.shape in ((), (size,)) and bool((np.abs(amount) < _EXACT).all())
        self._whole(fits, f"an amount must be finite, below 2⁵⁰, and one number or ({size},)")
        by_host = np.broadcast_to(amount * price, (size,))
        if domain is not None:
            for code in np.unique(domain[domain >= 0]).tolist():
                same = not np.ptp(by_host[domain == code])
                self._whole(same, f"hosts of domain {code} have different amounts")
            by_host = np.where(domain >= 0, by_host, 0.0)
        return Sums(ByHost(weights), by_host, domain)

    def _start(self, plan: BatchPlan) -> None:
        entries = np.stack([plan.hosts, plan.classes, plan.copies]).astype(np.int64)
        many, size = len(self.batch.pods), self.batch.hosts.size
        good = ((entries >= 0) & (entries < np.array([[size], [many], [1 << 40]]))).all()
        self._whole(bool(good), "a plan to begin with has classes or hosts that are not there")
        self.found.starts.append(entries)

    def _pair(self, term: terms.Apart | terms.Pair | terms.Needs) -> None:
        left, right = self._classes(term.left), self._classes(term.right)
        domain = self._domain(term.domain)
        if not left or (not right and not isinstance(term, terms.Needs)):
            return
        if isinstance(term, terms.Pair):
            worth = self._number(term.worth, "a worth")
            self.meetings.append(Meeting(left, right, worth, domain))
            return
        if isinstance(term, terms.Needs):
            self.found.between.append(Needs(left, right, domain))
            return
        both = set(left) & set(right)
        self._whole(not both, f"classes {sorted(both)} are to be apart from themselves")
        self.found.between.append(Apart(left, right, domain))

    def _linear(self, term: terms.Linear) -> None:
        amount = self._number(term.amount, "an amount")
        known = term.relation in ("<=", ">=", "==")
        self._whole(known, f"a relation is {term.relation!r}; it must be <=, >= or ==")
        weights = self._weights(term.weights)
        negated = {c: -row for c, row in weights.items()}
        if term.relation in ("<=", "=="):
            self._at_most(weights, amount)
        if term.relation in (">=", "=="):
            self._at_most(negated, -amount)

    def _at_most(self, weights: dict[int, Reals], most: float) -> None:
        if most < 0:
            floor = ByHost({c: -row for c, row in weights.items()})
            self.found.floors.append((floor, -most))
        elif most == 0 and all((row >= 0).all() for row in weights.values()):
            self.found.masks += [(c, row == 0) for c, row in weights.items()]
        elif weights:
            self.found.caps.append((ByHost(weights), most))

    def _bound(self, term: terms.Bound) -> None:
        goals = ", ".join(self.batch.goals)
        self._whole(
            term.goal in self.batch.goals, f"a bound is of {term.goal!r}; there are {goals}"
        )
        amount = self._number(term.amount, "a bound")
        self.found.bounds.setdefault(term.goal, (self.rule.name, amount))

    def _weights(self, given: Weights) -> dict[int, Reals]:
        size, found = self.batch.hosts.size, dict[int, Reals]()
        for c in self._classes(tuple(given)):
            row = np.asarray(given[c], dtype=np.float64)
            fits = row.shape in ((), (size,))
            self._whole(fits, f"weights have shape {row.shape}, not () or ({size},)")
            good = bool((np.abs(row) < _EXACT).all())
            self._whole(good, f"weights of class {c} are not all finite and below 2⁵⁰")
            if row.any():
                found[c] = np.broadcast_to(row, (size,))
        return found

    def _classes(self, classes: Sequence[int]) -> tuple[int, ...]:
        many = len(self.batch.pods)
        wrong = [c for c in classes if not 0 <= c < many]
        self._whole(not wrong, f"classes {wrong} are not among 0 … {many - 1}")
        return tuple(sorted({int(c) for c in classes}))

    def _domain(self, domain: Counts | None) -> Counts | None:
        if domain is None:
            return None
        size = self.batch.hosts.size
        fits = domain.shape == (size,) and domain.dtype == np.int64 and bool((domain >= -1).all())
        self._whole(fits, f"a domain must be ({size},) int64, each -1 or more")
        return np.where(domain < 0, -1, _code(domain) - int((domain < 0).any()))

    def _number(self, number: float, what: str) -> float:
        self._whole(abs(number) < _EXACT, f"{what} is {number}; it must be finite and below 2⁵⁰")
        return float(number)

    def _whole(self, good: bool, complaint: str) -> None:
        if not good:
            raise PluginError(
                f"batch rule {self.rule.name} of plugin {self.rule.origin!r}: {complaint}"
            )


def _code(values: Counts | Reals) -> Counts:
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
