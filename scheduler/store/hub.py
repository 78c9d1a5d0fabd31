"""The recent commits in memory, from which watchers read; SQL is behind it for older positions.

The writer of this process hands its commits over when they follow what the hub has; otherwise
(another process committed in between) the hub reads what it lacks from SQL, where superseded
states are collapsed: of an object changed twice only the last state comes, at its own revision.
Watchers are woken only for their own resources and never hold up the writer: one that falls
behind the ring continues from SQL.
"""

import asyncio
from collections.abc import Collection, Sequence

import msgspec

from ..objects.stored import ObjectKey, StoredObject
from .operations import AnyChange, Batch, ChangeType, CohortChange

_NOTED = 100_000  # namespaces of resources


class Commit(msgspec.Struct, frozen=True):
    """Changes complete in (after, revision], by resource."""

    after: int
    revision: int
    changes: dict[str, list[AnyChange]]
    count: int
    size: int


class Watcher:
    """One watcher's wish to be woken."""

    def __init__(self, resources: frozenset[str] | None) -> None:
        self.resources = resources
        self.woken = asyncio.Event()


def _size(change: AnyChange) -> int:
    if isinstance(change, CohortChange):
        return 1000 + 20 * len(change.ordinals)
    obj = change.object
    return 800 + len(obj.status) + (0 if obj.body.digest else len(obj.body.json))


class Hub:
    """A ring of commits, bounded by changes and bytes, and the objects they left behind."""

    def __init__(self, revision: int, *, changes: int = 131072, size: int = 128 << 20) -> None:
        self.revision = revision
        self.closed = False
        self.coming = 0  # what the writer is committing and will publish; 0 for nothing
        self.behind = asyncio.Event()
        self._commits: list[Commit] = []
        self._first = 0  # index of the oldest commit still held in _commits
        self._start = revision  # the ring is complete in (start, revision]
        self._count = 0
        self._size = 0
        self._max_count = changes
        self._max_size = size
        self._latest: dict[ObjectKey, StoredObject] = {}
        self._moved: dict[tuple[str, str], int] = {}
        self._moved_before = revision  # of what is not in _moved
        self._watchers: set[Watcher] = set()
        self._awaited = 0

    def latest(self, key: ObjectKey) -> StoredObject | None:
        """Return the object's present state as of `revision`, if a held commit left it."""
        return self._latest.get(key)

    def moved(self, resource: str, namespace: str) -> int:
        """Return a revision after which nothing of a resource has changed, up to `revision`.

        Args:
            namespace: "" for all of them.
        """
        return self._moved.get((resource, namespace), self._moved_before)

    def publish(self, after: int, revision: int, changes: Sequence[AnyChange]) -> None:
        """Take the changes of (after, revision], if they follow what is held.

        If they do not, `behind` is set: somebody must read the missing ones from SQL.
        """
        if revision <= self.revision:
            return
        if after > self.revision:
            self.behind.set()
            return
        commit = self._grouped(revision, changes)
        self._note(commit)
        self._commits.append(commit)
        self.revision = revision
        self._count += commit.count
        self._size += commit.size
        self._trim()
        for watcher in self._watchers:
            if watcher.resources is None or not watcher.resources.isdisjoint(commit.changes):
                watcher.woken.set()
        if 0 < self._awaited <= revision:
            self._awaited = 0
            self._wake_all()

    def lacks(self, revision: int) -> bool:
        """Tell whether somebody else's commit of a revision must be read from SQL."""
        return revision > self.revision and revision != self.coming

    def hurry(self, revision: int) -> None:
        """Wake quiet watchers too once the hub has the revision: somebody waits for them."""
        if revision <= self.revision:
            self._wake_all()
        else:
            self._awaited = max(self._awaited, revision)
            self.behind.set()

    def restart(self, revision: int) -> None:
        """Forget everything and continue from a later revision (the log was compacted)."""
        self._commits.clear()
        self._latest.clear()
        self._moved.clear()
        self._moved_before = revision
        self._first = self._count = self._size = 0
        self._start = self.revision = revision
        self._wake_all()

    def since(self, position: int, resources: frozenset[str] | None) -> list[Batch] | None:
        """Return everything after a position, or None when the ring does not reach back so far."""
        if position < self._start:
            return None
        batches: list[Batch] = []
        for index in range(self._index_after(position), len(self._commits)):
            commit = self._commits[index]
            changes = _selected(commit, resources)
            if changes and commit.after < position:
                changes = [_seen_from(c, position) for c in changes if c.revision > position]
            if changes:
                batches.append(Batch(commit.revision, tuple(changes)))
        if self.revision > position and (not batches or batches[-1].revision < self.revision):
            batches.append(Batch(self.revision))
        return batches

    def join(self, resources: frozenset[str] | None) -> Watcher:
        """Register a watcher."""
        watcher = Watcher(resources)
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Unregister a watcher."""
        self._watchers.discard(watcher)

    def close(self) -> None:
        """End every watch."""
        self.closed = True
        self._wake_all()

    def _wake_all(self) -> None:
        for watcher in self._watchers:
            watcher.woken.set()

    def _grouped(self, revision: int, changes: Sequence[AnyChange]) -> Commit:
        groups: dict[str, list[AnyChange]] = {}
        size = count = 0
        for change in changes:
            if change.revision <= self.revision:
                continue
            change = _seen_from(change, self.revision)  # noqa: PLW2901
            count += 1
            size += _size(change)
            if isinstance(change, CohortChange):
                groups.setdefault("pods", []).append(change)
                continue
            obj = change.object
            key = obj.key
            # A lodged pod's state depends on its cohort, which whoever writes must read anyway.
            if change.type is ChangeType.DELETED or obj.lodged:
                self._latest.pop(key, None)
            else:
                self._latest[key] = obj
            groups.setdefault(obj.resource, []).append(change)
        return Commit(self.revision, revision, groups, count, size)

    def _note(self, commit: Commit) -> None:
        """Note where something has changed."""
        for resource, changes in commit.changes.items():
            self._moved[resource, ""] = commit.revision
            for change in changes:
                owner = change.cohort if isinstance(change, CohortChange) else change.object.meta
                self._moved[resource, owner.namespace] = commit.revision
        if len(self._moved) > _NOTED:
            self._moved.clear()
            self._moved_before = commit.revision

    def _trim(self) -> None:
        while self._count > self._max_count or self._size > self._max_size:
            if self._first >= len(self._commits) - 1:
                break
            commit = self._commits[self._first]
            self._first += 1
            self._start = commit.revision
            self._count -= commit.count
            self._size -= commit.size
            self._forget(commit)
        if self._first > 1024 and self._first * 2 > len(self._commits):
            del self._commits[: self._first]
            self._first = 0

    def _forget(self, commit: Commit) -> None:
        for changes in commit.changes.values():
            for change in changes:
                if isinstance(change, CohortChange):
                    continue
                key = change.object.key
                held = self._latest.get(key)
                if held is not None and held.revision == change.revision:
                    del self._latest[key]

    def _index_after(self, position: int) -> int:
        low, high = self._first, len(self._commits)
        while low < high:
            middle = (low + high) // 2
            if self._commits[middle].revision <= position:
                low = middle + 1
            else:
                high = middle
        return low


def wanted(resources: Collection[str] | None) -> frozenset[str] | None:
    """Return the resources of a watch as a set, None for all."""
    return None if resources is None else frozenset(resources)


def _selected(commit: Commit, resources: frozenset[str] | None) -> list[AnyChange]:
    groups = commit.changes
    names = groups.keys() if resources is None else resources & groups.keys()
    if len(names) == 1:
        return groups[next(iter(names))]
    merged = [change for name in names for change in groups[name]]
    merged.sort(key=_revision)
    return merged


def _revision(change: AnyChange) -> int:
    return change.revision


def _seen_from(change: AnyChange, position: int) -> AnyChange:
    """Return a change as a watcher from the middle of its span sees it."""
    if isinstance(change, CohortChange):
        return change.after(position)
    if change.type is ChangeType.ADDED and change.object.created_revision <= position:
        return msgspec.structs.replace(change, type=ChangeType.MODIFIED)
    return change
