"""Which rules over groups of nodes go into the solver's numbers, and how.

Pure. A rule is written down only where every plan that can be reached one pod after another obeys
it in the end; see `modelling`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
import numpy as np

from ...objects.pod import PodAffinityTerm, PodSpec, TopologySpreadConstraint
from ...objects.pod_class import PodClass
from ...snapshot import Counts, Mask, Rows, Snapshot
from ..checker import admits
from ..solver.rules import Apart, Exclusive, Rule, Spread, Together
from ..topology_check import about, required, selection

Test = Callable[[Mapping[str, str]], bool]
T = TypeVar("T", TopologySpreadConstraint, PodAffinityTerm)


@dataclass(slots=True)
class Topology:
    """Rules between copies, with a domain a host where the solver has one a group.

    Args:
        masks: (class, (H,) bool) where a class may run at all.
        exact: False once a rule of the pods had to be left out.
    """

    masks: list[tuple[int, Mask]] = field(default_factory=list[tuple[int, Mask]])
    rules: list[Exclusive | Apart | Spread | Together] = field(
        default_factory=list[Exclusive | Apart | Spread | Together]
    )
    exact: bool = True

    def codes(self) -> list[Counts]:
        """Return the (H,) codes that tell hosts apart."""
        return [rule.domain for rule in self.rules if rule.domain is not None]

    def by_group(self, first: Rows) -> list[Rule]:
        """Return the rules with a domain a group, given one host of every group."""
        return [
            rule if rule.domain is None else replace(rule, domain=rule.domain[first])
            for rule in self.rules
        ]


def topology(
    pods: Sequence[PodClass], snapshot: Snapshot, hosts: Rows, today: Snapshot | None = None
) -> Topology:
    """Return the rules of classes on (H,) hosts, which are rows of the snapshot.

    Args:
        today: with the classes' pods where they are, if they run already: one is moved to where
            others are then.
    """
    found = Topology()
    reader = _Reader(pods, snapshot, hosts, today or snapshot, found)
    for constraints in _alike(pods, _hard_spreads):
        reader.spread(constraints)
    for terms in _alike(pods, _repulsions):
        reader.repel(terms)
    for terms in _alike(pods, _attractions):
        reader.attract(terms)
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    pods: Sequence[PodClass]
    snapshot: Snapshot
    hosts: Rows
    today: Snapshot
    found: Topology

    def spread(self, owners: Sequence[tuple[int, TopologySpreadConstraint]]) -> None:
        """Take over a DoNotSchedule constraint that several classes have."""
        constraint, some = owners[0][1], self.pods[owners[0][0]]
        mine = {c for c, _ in owners}
        matches = selection(constraint.label_selector, constraint.match_label_keys, (), some)
        counted = {
            c
            for c, pod in enumerate(self.pods)
            if pod.namespace == some.namespace and matches(pod.labels)
        }
        codes, _ = self._domains(constraint.topology_key)
        eligible = self._eligible(constraint, some)
        domains = np.unique(codes[eligible & (codes >= 0)])
        existing = self._counts(some, matches, codes, eligible, domains)
        if domains.size < (constraint.min_domains or 1):
            existing = np.append(existing, 0)  # the missing domain: nobody is there
        skewed = existing.size and int(existing.max() - existing.min()) > constraint.max_skew
        if mine != counted or skewed or not domains.size:
            self.found.exact = False
            return
        number = np.full(int(codes.max(initial=-1)) + 2, -1, dtype=np.int64)
        number[domains] = np.arange(domains.size)
        domain = np.where(eligible, number[codes], -1)[self.hosts]
        rule = Spread(_sorted(mine), constraint.max_skew, existing, domain)
        if domains.size == self.hosts.size == existing.size and (domain >= 0).all():
            rule = replace(rule, existing=existing[domain], domain=None)
        self.found.rules.append(rule)

    def repel(self, owners: Sequence[tuple[int, PodAffinityTerm]]) -> None:
        """Take over a required anti-affinity term that several classes have."""
        term, some = owners[0][1], self.pods[owners[0][0]]
        namespaces = self.snapshot.namespaces
        mine = {c for c, _ in owners}
        counted = {c for c, pod in enumerate(self.pods) if about(term, some, pod, namespaces)}
        codes, distinct = self._domains(term.topology_key)
        domain = codes[self.hosts]
        where = None if distinct and (domain >= 0).all() else domain
        both = mine & counted
        if both:
            self.found.rules.append(Exclusive(_sorted(both), 1, where))
        for left, right in ((mine - counted, counted), (both, counted - mine)):
            if left and right:
                self.found.rules.append(Apart(_sorted(left), _sorted(right), where))

    def attract(self, owners: Sequence[tuple[int, PodAffinityTerm]]) -> None:
        """Take over a required affinity term that several classes have."""
        term, some = owners[0][1], self.pods[owners[0][0]]
        namespaces = self.snapshot.namespaces
        mine = {c for c, _ in owners}
        counted = {c for c, pod in enumerate(self.pods) if about(term, some, pod, namespaces)}
        codes, _ = self._domains(term.topology_key)
        there = [
            int(codes[row])
            for other, rows in self.today.placed.items()
            if about(term, some, other, namespaces)
            for row in rows
            if codes[row] >= 0  # nobody is near those on nodes without the key
        ]
        lone = all(len(_attractions(self.pods[c].spec)) == 1 for c in mine)
        if not counted <= mine or not lone:
            self.found.exact = False
            return
        if there:
            allowed = np.isin(codes, np.unique(there)) & (codes >= 0)
            self.found.masks += [(c, allowed[self.hosts]) for c in sorted(mine)]
        elif counted:  # one of them opens a domain, and all others have to come there
            self.found.rules.append(Together(_sorted(mine), codes[self.hosts]))
            self.found.exact = self.found.exact and counted == mine
        else:  # nobody is there and nobody comes: they cannot go anywhere
            nowhere = np.zeros(self.hosts.size, dtype=np.bool_)
            self.found.masks += [(c, nowhere) for c in sorted(mine)]

    def _domains(self, key: str) -> tuple[Counts, bool]:
        """Return every node's domain, -1 for none, and whether each has its own."""
        codes = self.snapshot.label(key).codes.astype(np.int64)
        there = codes[codes >= 0]
        return codes, np.unique(there).size == there.size

    def _eligible(self, constraint: TopologySpreadConstraint, pod: PodClass) -> Mask:
        """Return which nodes count for a constraint (the policies, and every key is there)."""
        mask = self.snapshot.every()
        for each in _hard_spreads(pod.spec):
            mask &= self.snapshot.label(each.topology_key).has()
        rows: list[int] = np.flatnonzero(mask).tolist()
        for row in rows:
            mask[row] = admits(constraint, pod, self.snapshot.nodes[row])
        return mask

    def _counts(
        self,
        pod: PodClass,
        matches: Test,
        codes: Counts,
        eligible: Mask,
        domains: Counts,
    ) -> Counts:
        by_code = dict.fromkeys(domains.tolist(), 0)
        gone = self.snapshot.leaving.items()
        for sign, placed in ((1, self.snapshot.placed.items()), (-1, gone)):
            for other, rows in placed:
                if other.namespace == pod.namespace and matches(other.labels):
                    for row, count in rows.items():
                        if eligible[row] and codes[row] in by_code:
                            by_code[int(codes[row])] += sign * count
        return np.array(list(by_code.values()), dtype=np.int64)


def _hard_spreads(spec: PodSpec) -> tuple[TopologySpreadConstraint, ...]:
    hard = "DoNotSchedule"
    every = spec.topology_spread_constraints
    return tuple([each for each in every if each.when_unsatisfiable == hard])


def _repulsions(spec: PodSpec) -> tuple[PodAffinityTerm, ...]:
    return required(spec.affinity.pod_anti_affinity if spec.affinity else None)


def _attractions(spec: PodSpec) -> tuple[PodAffinityTerm, ...]:
    return required(spec.affinity.pod_affinity if spec.affinity else None)


def _alike(
    pods: Sequence[PodClass], rules: Callable[[PodSpec], tuple[T, ...]]
) -> list[list[tuple[int, T]]]:
    """Return rules with the classes that have them; alike are those that mean the same."""
    groups: dict[tuple[object, ...], list[tuple[int, T]]] = {}
    for c, pod in enumerate(pods):
        for rule in rules(pod.spec):
            groups.setdefault(_identity(pod, rule), []).append((c, rule))
    return list(groups.values())


def _identity(
    pod: PodClass, rule: TopologySpreadConstraint | PodAffinityTerm
) -> tuple[object, ...]:
    """Return the same for rules that count the same pods on the same nodes."""
    keys = (*rule.match_label_keys, *getattr(rule, "mismatch_label_keys", ()))
    values = tuple([pod.labels.get(key) for key in keys])
    encoded = msgspec.msgpack.encode(rule, order="deterministic")
    if isinstance(rule, PodAffinityTerm):
        return encoded, pod.namespace, values
    spec, affinity = pod.spec, pod.spec.affinity
    where = (
        spec.node_selector,
        affinity.node_affinity if affinity else None,
        spec.tolerations if rule.node_taints_policy == "Honor" else (),
        [each.topology_key for each in _hard_spreads(spec)],
    )
    return encoded, pod.namespace, values, msgspec.msgpack.encode(where, order="deterministic")


def _sorted(classes: set[int]) -> tuple[int, ...]:
    return tuple(sorted(classes))
