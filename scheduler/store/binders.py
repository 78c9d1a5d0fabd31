"""Remembers who bound to which node last, so that a binder's own bindings are not read again.

A long write of many bindings from one snapshot would otherwise read everything it has bound so
far with every batch. The memory is complete in (since, until]; what other processes committed
after `until` is read before use.
"""

from collections.abc import Iterable

from .postgres import Connection

_LIMIT = 500_000  # nodes remembered

_BOUND = (
    "SELECT node, epoch, max(revision) FROM bindings WHERE revision > $1 AND revision <= $2"
    " GROUP BY node, epoch"
    " UNION ALL SELECT p.node, b.epoch, b.last_revision"
    " FROM cohort_bindings b, unnest(b.nodes) AS p (node)"
    " WHERE b.last_revision > $1 AND b.revision <= $2"
)


class Binders:
    """Node → binder's epoch → revision of its latest binding there."""

    def __init__(self) -> None:
        self._bound: dict[str, dict[int, int]] = {}
        self._since = -1
        self._until = -1

    async def after(
        self, connection: Connection, snapshot: int, head: int
    ) -> dict[str, dict[int, int]]:
        """Return the latest binders, complete for revisions in (snapshot, head].

        Args:
            connection: of the commit.
            snapshot: the oldest snapshot that is of interest.
            head: the present revision.
        """
        if self._until < 0 or len(self._bound) > _LIMIT:
            self._bound.clear()
            self._since = self._until = min(snapshot, head)
        if snapshot < self._since:
            await self._read(connection, snapshot, self._since)
            self._since = snapshot
        if self._until < head:
            await self._read(connection, self._until, head)
            self._until = head
        return self._bound

    def add(self, bound: Iterable[tuple[str, int, int]], after: int, revision: int) -> None:
        """Take the bindings of this process's own commit of (after, revision].

        Args:
            bound: (node, binder's epoch, revision) of each.
        """
        if self._until != after:
            return
        for node, epoch, at in bound:
            self._put(node, epoch, at)
        self._until = revision

    async def _read(self, connection: Connection, after: int, until: int) -> None:
        for node, epoch, revision in await connection.fetch(_BOUND, after, until):
            self._put(node, epoch, revision)

    def _put(self, node: str, epoch: int, revision: int) -> None:
        epochs = self._bound.setdefault(node, {})
        if epochs.get(epoch, 0) < revision:
            epochs[epoch] = revision
