"""One ResourceQuota's book: what counts, what has room, what is used. Pure.

Source: Kubernetes' ResourceQuota admission plugin and its messages.
"""

from collections.abc import Iterable, Mapping

import msgspec

from .. import quantity
from ..resource_quota import (
    BEST_EFFORT,
    CROSS_NAMESPACE,
    EXISTS,
    IN,
    NOT_BEST_EFFORT,
    NOT_IN,
    NOT_TERMINATING,
    PRIORITY_CLASS,
    TERMINATING,
    ScopeRequirement,
    quota_view,
)
from ..stored import StoredObject
from .quota_charge import Charge, Traits

_BYTES = ("memory", "ephemeral-storage", "storage")


class Account:
    """Counts what objects of one namespace use of one quota.

    Args:
        stored: the quota, of which the status is believed where it is that of the spec.
        edited: the last revision, as far as known, at which it changed other than by counting.
    """

    def __init__(self, stored: StoredObject, edited: int) -> None:
        view = quota_view(stored)
        self.stored = stored
        self.edited = edited
        self.hard: Mapping[str, int] = quantity.nanos(view.hard)
        self.used: dict[str, int] = dict(view.used)
        self._told = dict(view.used) if view.counted else None
        self._written = view.hard
        self._requirements = view.requirements

    @property
    def name(self) -> str:
        """The quota's."""
        return self.stored.meta.name

    @property
    def changed(self) -> bool:
        """Whether the stored status is not what is used."""
        return self.used != self._told

    def matches(self, charge: Charge) -> bool:
        """Tell whether an object counts; in scopes of pods nothing else does."""
        return all(_meets(each, charge.traits) for each in self._requirements)

    def missing(self, charge: Charge) -> str:
        """Say which amounts a pod must name before it can count, "" for none."""
        lacking = [name for name in sorted(charge.unspecified) if name in self.hard]
        if not lacking:
            return ""
        said = (f"{name} for: {','.join(charge.unspecified[name])}" for name in lacking)
        return f"failed quota: {self.name}: must specify {'; '.join(said)}"

    def exceeded(self, amounts: Mapping[str, int]) -> str:
        """Say what has no room for further amounts, "" for nothing."""
        over = [
            name
            for name in sorted(amounts.keys() & self.hard.keys())
            if amounts[name] > 0 and self.used[name] + amounts[name] > self.hard[name]
        ]
        if not over:
            return ""
        shown = (_listed(over, each) for each in (amounts, self.used, self.hard))
        requested, used, limited = shown
        return (
            f"exceeded quota: {self.name}, requested: {requested}, used: {used}, limited: {limited}"
        )

    def room(self, charge: Charge, wanted: int) -> int:
        """Return how many objects of a charge fit, at most those wanted."""
        for name in self.hard.keys() & charge.amounts.keys():
            if charge.amounts[name] > 0:
                free = self.hard[name] - self.used[name]
                wanted = min(wanted, max(0, free // charge.amounts[name]))
        return wanted

    def add(self, amounts: Mapping[str, int], count: int) -> None:
        """Count so many objects more, or fewer where negative."""
        for name in self.hard.keys() & amounts.keys():
            if amounts[name]:
                self.used[name] += amounts[name] * count

    def recount(self, present: Iterable[tuple[Charge, int]]) -> None:
        """Count anew all that there is."""
        self.used = dict.fromkeys(self.hard, 0)
        for charge, count in present:
            if self.matches(charge):
                self.add(charge.amounts, count)

    def tell(self, revision: int) -> StoredObject:
        """Return the quota, at a revision, with the status of now."""
        used = {name: shown(name, self.used[name]) for name in sorted(self.used)}
        status = msgspec.json.encode({"hard": self._written, "used": used})
        self.stored = msgspec.structs.replace(self.stored, status=status, revision=revision)
        self._told = dict(self.used)
        return self.stored


def shown(name: str, amount: int) -> str:
    """Return an amount of a resource, given in billionths, as people write it."""
    decimal = quantity.canonical(f"{amount}n")
    bare = name.rpartition("/")[2].removeprefix("requests.").removeprefix("limits.")
    if (bare in _BYTES or bare.startswith("hugepages-")) and amount % 10**9 == 0:
        return min(quantity.format_binary(amount // 10**9), decimal, key=len)
    return decimal


def _listed(names: Iterable[str], amounts: Mapping[str, int]) -> str:
    return ",".join(f"{name}={shown(name, amounts[name])}" for name in names)


def _meets(requirement: ScopeRequirement, traits: Traits | None) -> bool:
    scope = requirement.scope_name
    if traits is None:
        return False
    if scope in (TERMINATING, NOT_TERMINATING):
        return traits.terminating == (scope == TERMINATING)
    if scope in (BEST_EFFORT, NOT_BEST_EFFORT):
        return traits.best_effort == (scope == BEST_EFFORT)
    if scope == CROSS_NAMESPACE:
        return traits.cross_namespace
    return scope == PRIORITY_CLASS and _selects(requirement, traits.priority_class)


def _selects(requirement: ScopeRequirement, value: str) -> bool:
    """Match a name, "" for none, as a label selector matches a label."""
    operator = requirement.operator
    if operator == EXISTS:
        return bool(value)
    if operator == IN:
        return bool(value) and value in requirement.values
    return not value or (operator == NOT_IN and value not in requirement.values)
