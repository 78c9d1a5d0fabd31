"""Counts what a batch of writes uses of the ResourceQuotas of its namespaces: pure, for `decide`.

Whoever creates or changes an object is charged by the same commit, and commits come one after the
other, so no two writers share the last room; what is used is part of each quota's own status.
Charges follow from an object's spec and phase alone, so what is taken off is what was put on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import Forbidden
from ..objects.cohort import Cohort
from ..objects.kinds.quota_account import Account
from ..objects.kinds.quota_charge import OLD_CLASS, Charge, charge_of, is_charged
from ..objects.resource_quota import RESOURCE
from ..objects.stored import ObjectKey, StoredObject
from .bind import ended
from .operations import AnyWrite, Create, CreateCohort, Remove, Replace
from .rows import names

Census = Sequence[tuple[Charge, int]]


class HeldQuota(NamedTuple):
    """A ResourceQuota as of a commit.

    Args:
        edited: the last revision, as far as known, at which it changed other than by counting.
        counted: whether its status can be believed.
    """

    stored: StoredObject
    edited: int
    counted: bool = True


class _Ledger:
    """The quotas of one namespace."""

    def __init__(self, quotas: Iterable[HeldQuota], census: Census | None) -> None:
        self.accounts: dict[str, Account] = {}
        self.present = None if census is None else list(census)
        for each in quotas:
            account = Account(each.stored, each.edited)
            if not each.counted:
                account.recount(self.present or ())
            self.accounts[account.name] = account

    def refusal(self, old: Charge | None, new: Charge) -> str:
        """Say why an object may not come, or become so; "" if it may.

        What grows is held to the quotas; that it moves to another scope, as upstream, is not.
        """
        before: Mapping[str, int] = old.amounts if old is not None else {}
        grown = {name: n - before.get(name, 0) for name, n in new.amounts.items()}
        if not any(n > 0 for n in grown.values()):
            return ""
        concerned = [each for _, each in sorted(self.accounts.items()) if each.matches(new)]
        for account in concerned:
            why = account.missing(new)
            if why:
                return why
        for account in concerned:
            counted = old is not None and account.matches(old)
            why = account.exceeded(grown if counted else new.amounts)
            if why:
                return why
        return ""

    def fitting(self, charge: Charge, wanted: int) -> int:
        """Return how many objects of a charge fit."""
        concerned = [each for each in self.accounts.values() if each.matches(charge)]
        return min((each.room(charge, wanted) for each in concerned), default=wanted)

    def move(self, charge: Charge, count: int) -> None:
        """Count so many objects more, or fewer where negative."""
        if self.present is not None:
            self.present.append((charge, count))
        for account in self.accounts.values():
            if account.matches(charge):
                account.add(charge.amounts, count)


class Ledgers:
    """The quotas that a batch may bear on, as the batch proceeds.

    Args:
        quotas: by namespace, where there are any.
        census: all that counts, by namespace: of those in which a quota is to be counted anew.
    """

    def __init__(
        self, quotas: Mapping[str, Sequence[HeldQuota]], census: Mapping[str, Census]
    ) -> None:
        self._ledgers = {
            name: _Ledger(quotas.get(name, ()), census.get(name))
            for name in quotas.keys() | census.keys()
            if quotas.get(name) or name in census
        }

    def admit(self, op: Create) -> Forbidden | None:
        """Charge a new object, or say why it may not be."""
        ledger = self._ledgers.get(op.meta.namespace)
        if ledger is None or not is_charged(op.resource):
            return None
        charge = _charge(StoredObject(op.resource, op.meta, 0, 0, op.body, op.status))
        why = ledger.refusal(None, charge)
        if why:
            return _forbidden(op.resource, op.meta.generate_name or op.meta.name, why)
        ledger.move(charge, 1)
        return None

    def admit_change(self, old: StoredObject, op: Replace) -> Forbidden | None:
        """Charge what an object becomes instead of what it was, or say why it may not."""
        ledger = self._ledgers.get(op.meta.namespace)
        if ledger is None or not is_charged(op.resource):
            return None
        before = _charge(old)
        after = _charge(StoredObject(op.resource, op.meta, 0, 0, op.body, op.status))
        if before is after:
            return None
        why = ledger.refusal(before, after)
        if why:
            return _forbidden(op.resource, op.meta.name, why)
        ledger.move(before, -1)
        ledger.move(after, 1)
        return None

    def fit(self, cohort: Cohort) -> tuple[int, Forbidden | None]:
        """Charge as many pods of a cohort as fit; return how many, and for none why."""
        ledger = self._ledgers.get(cohort.namespace)
        if ledger is None:
            return cohort.size, None
        charge = charge_of("pods", cohort.body, ended=False)
        why = ledger.refusal(None, charge)
        if why:
            return 0, _forbidden("pods", cohort.prefix, why)
        size = ledger.fitting(charge, cohort.size)
        ledger.move(charge, size)
        return size, None

    def release(self, old: StoredObject) -> None:
        """Take an object off that goes; a quota's own book is closed."""
        ledger = self._ledgers.get(old.meta.namespace)
        if ledger is None or not is_charged(old.resource):
            return
        ledger.move(_charge(old), -1)
        if old.resource == RESOURCE:
            ledger.accounts.pop(old.meta.name, None)

    def kept(self, obj: StoredObject, old: StoredObject | None = None) -> StoredObject:
        """Return a created or replaced object as it is kept: a quota with the status it has.

        Args:
            old: what was replaced.
        """
        if obj.resource != RESOURCE:
            return obj
        ledger = self._ledgers[obj.meta.namespace]
        account = Account(obj, obj.revision)
        if old is not None and old.body == obj.body:
            account.used = ledger.accounts[obj.meta.name].used
        else:
            account.recount(ledger.present or ())
        ledger.accounts[obj.meta.name] = account
        return account.tell(obj.revision)

    def expected(self, old: StoredObject, revision: int | None) -> int | None:
        """Return the revision that a write expects: that a quota has counted on is no change."""
        if revision is None or old.resource != RESOURCE:
            return revision
        account = self._ledgers[old.meta.namespace].accounts[old.meta.name]
        return old.revision if account.edited <= revision <= old.revision else revision

    def counted(self, revision: int) -> list[StoredObject]:
        """Return the quotas that were counted on, with revisions after the given one."""
        found: list[StoredObject] = []
        for ledger in self._ledgers.values():
            for account in ledger.accounts.values():
                if account.changed:
                    found.append(account.tell(revision + len(found) + 1))
        return found

    def held(self) -> dict[str, tuple[HeldQuota, ...]]:
        """Return the quotas as they are after the batch."""
        return {
            name: tuple(HeldQuota(each.stored, each.edited) for each in ledger.accounts.values())
            for name, ledger in self._ledgers.items()
        }


def charged_namespaces(ops: Iterable[AnyWrite]) -> set[str]:
    """Return the namespaces of which a batch may create, change or remove what counts."""
    found: set[str] = set()
    for op in ops:
        if isinstance(op, CreateCohort):
            found.add(op.cohort.namespace)
        elif isinstance(op, (Create, Replace)) and is_charged(op.resource):
            found.add(op.meta.namespace)
        elif isinstance(op, Remove) and is_charged(op.key.resource):
            found.add(op.key.namespace)
    found.discard("")
    return found


def recounted(
    ops: Iterable[AnyWrite], objects: Mapping[ObjectKey, StoredObject | None]
) -> dict[str, list[StoredObject]]:
    """Return, by namespace, the quotas that a batch makes or changes, as it would have them."""
    found: dict[str, list[StoredObject]] = {}
    for op in ops:
        if not isinstance(op, (Create, Replace)) or op.resource != RESOURCE:
            continue
        wanted = StoredObject(op.resource, op.meta, 0, 0, op.body)
        old = objects.get(wanted.key)
        if isinstance(op, Create) or old is None or old.body != op.body:
            found.setdefault(op.meta.namespace, []).append(wanted)
    return found


def _charge(obj: StoredObject) -> Charge:
    over = obj.resource == "pods" and ended(obj.status)
    return charge_of(
        obj.resource, obj.body, ended=over, old_class=obj.meta.annotations.get(OLD_CLASS, "")
    )


def _forbidden(resource: str, name: str, why: str) -> Forbidden:
    return Forbidden(f'{resource} "{name}" is forbidden: {why}', **names(resource, name))
