"""Cohorts as this process's own commits left them, so that going on with them reads nothing.

A cohort is made, bound and reported by one process within a moment; each time it would be read
with its bindings, in three questions, while everybody waits for the head lock.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable

from ..objects.cohort import Lodging

_MOST = 256


class RecentCohorts:
    """True at one revision of the head, and forgotten when anybody else has committed since."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Lodging] = OrderedDict()
        self._revision = -1

    def take(self, uids: Collection[str], head: int) -> list[Lodging]:
        """Take those of some cohorts that are known as of the head lock; they may be used up.

        Args:
            head: the head's revision.
        """
        if head != self._revision:
            self._kept.clear()
            return []
        return [self._kept.pop(uid) for uid in uids if uid in self._kept]

    def keep(self, cohorts: Iterable[Lodging], after: int, revision: int) -> None:
        """Remember cohorts as they are after this process's commit of (after, revision]."""
        if self._revision != after:
            self._kept.clear()
        self._revision = revision
        for each in cohorts:
            uid = each.cohort.uid
            self._kept.pop(uid, None)  # what was known of it is no longer so
            if not each.empty:
                self._kept[uid] = each
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
