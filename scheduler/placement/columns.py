"""Growing columns that are copied only when written after somebody was given them.

Pure. A snapshot holds read-only views; the next write after a snapshot copies what it touches.
"""

from collections.abc import Mapping
from typing import Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

K = TypeVar("K")
E = TypeVar("E")
S = TypeVar("S", bound=np.generic)


class Column(Generic[S]):
    """An array whose last axis is nodes, with room to grow.

    Args:
        empty: of shape (0,) or (R, 0); gives dtype and leading axes.
        fill: what new places hold.
    """

    def __init__(self, empty: NDArray[S], fill: int = 0) -> None:
        self._data = empty
        self._fill = fill
        self._shared = False

    def writable(self, size: int) -> NDArray[S]:
        """Return the array for writing, at least `size` wide; a shared one is copied first."""
        width = self._data.shape[-1]
        if width < size:
            grown = np.full(
                (*self._data.shape[:-1], max(16, size, 2 * width)), self._fill, self._data.dtype
            )
            grown[..., :width] = self._data
            self._data, self._shared = grown, False
        elif self._shared:
            self._data, self._shared = self._data.copy(), False
        return self._data

    def add_rows(self, count: int) -> None:
        """Add entries to the leading axis of an (R, N) column."""
        shape = (count, self._data.shape[-1])
        self._data = np.concatenate([self._data, np.full(shape, self._fill, self._data.dtype)])
        self._shared = False

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Keep only these nodes; rows ascend."""
        if rows.size:
            self.writable(int(rows[-1]) + 1)
        self._data, self._shared = self._data[..., rows], False

    def freeze(self, size: int) -> NDArray[S]:
        """Return a read-only view of the first `size` nodes that later writes do not change."""
        if self._data.shape[-1] < size:
            self.writable(size)
        self._shared = True
        view = self._data[..., :size]
        view.flags.writeable = False
        return view


class CountTable(Generic[K, E]):
    """key → {entry: how many}, entries that reach zero removed; copied on write as columns are."""

    def __init__(self) -> None:
        self._table: dict[K, dict[E, int]] = {}
        self._owned: set[K] = set()
        self._shared = False

    def add(self, key: K, entry: E, count: int) -> None:
        """Add `count`, which may be negative."""
        if self._shared:
            self._table, self._shared = dict(self._table), False
        if key not in self._owned:
            self._table[key] = dict(self._table.get(key, ()))
            self._owned.add(key)
        inner = self._table[key]
        total = inner.get(entry, 0) + count
        if total:
            inner[entry] = total
        else:
            inner.pop(entry, None)
            if not inner:
                del self._table[key]
                self._owned.discard(key)

    def freeze(self) -> Mapping[K, Mapping[E, int]]:
        """Return the table as it is now."""
        self._shared = True
        self._owned.clear()
        return self._table

    @classmethod
    def over(cls, frozen: Mapping[K, Mapping[E, int]]) -> "CountTable[K, E]":
        """Return a table that starts as a frozen one and leaves that alone."""
        table = cls()
        # Copied as a whole a dict hashes no key anew; there may be as many classes as pods.
        table._table = dict(cast(Mapping[K, dict[E, int]], frozen))
        return table

    def live(self) -> Mapping[K, Mapping[E, int]]:
        """Return the table itself, which shows later additions until it is frozen."""
        return self._table
