"""A snapshot without some of its pods, and with others: what filters are asked before anyone goes.

Pure. Pods leave and return many at a time, as columns; tables that hardly any filter reads are
made only when one does. `assumed` stays as it was: it is for scores, and nothing is scored here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..objects.pod_class import PodClass
from ..snapshot import Counts, Rows, Snapshot
from .columns import CountTable
from .state import request_vector

K = TypeVar("K")
V = TypeVar("V")

_Change = tuple[int, PodClass, int]  # row, class, how many come (negative: go)
_Taken = tuple[PodClass, Rows, Counts]  # class, rows, how many guests each of them has


class _Lazy(Mapping[K, V], Generic[K, V]):
    """A mapping that is made when somebody first looks at it."""

    def __init__(self, make: Callable[[], Mapping[K, V]]) -> None:
        self._make = make
        self._made: Mapping[K, V] | None = None

    def _mapping(self) -> Mapping[K, V]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, key: K) -> V:
        return self._mapping()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._mapping())

    def __len__(self) -> int:
        return len(self._mapping())


class WhatIf:
    """Pods that may be sent away from a snapshot and taken back, and guests that may come.

    Args:
        base: counts every one of them; at first all are there, and no guests.
        rows: (T,) where each of the pods is.
        classes: what they are; kinds: (T,) which of these each is.
        leaving: (T,) bool, those being deleted.
    """

    def __init__(
        self,
        base: Snapshot,
        rows: Rows,
        classes: Sequence[PodClass],
        kinds: Counts,
        leaving: NDArray[np.bool_],
    ) -> None:
        self._base = base
        self._rows = rows
        self._classes = classes
        self._kinds = kinds
        self._leaving = leaving
        self._vectors = np.zeros((len(base.resources), len(classes)), dtype=np.int64)
        for kind, pod in enumerate(classes):
            self._vectors[:, kind] = request_vector(pod, base.resource_row)
        self._has_ports = np.array([bool(pod.host_ports) for pod in classes], dtype=np.bool_)
        self._attracts = np.array([pod.attracts for pod in classes], dtype=np.bool_)
        self._claims = np.array([bool(pod.claims) for pod in classes], dtype=np.bool_)
        self._out = np.zeros(rows.size, dtype=np.bool_)
        self._requested = base.requested.copy()
        self._guests: dict[PodClass, Counts] = {}
        self._guest_vectors: dict[PodClass, Counts] = {}
        self._guest_requests = np.zeros_like(self._requested)

    def invite(self, pod: PodClass, rows: Rows | int, count: Counts | int = 1) -> None:
        """Add guests of a class on each of the rows, which differ; a negative count: fewer."""
        guests = self._guests.get(pod)
        if guests is None:
            guests = self._guests[pod] = np.zeros(self._base.size, dtype=np.int64)
            self._guest_vectors[pod] = request_vector(pod, self._base.resource_row)
        vector = self._guest_vectors[pod]
        guests[rows] += count
        if isinstance(rows, int):
            self._guest_requests[:, rows] += vector * count
        else:
            self._guest_requests[:, rows] += vector[:, None] * count

    def send_away(self, pods: Rows) -> None:
        """Remove the pods of these numbers, which are there."""
        self._out[pods] = True
        amounts = self._vectors[:, self._kinds[pods]]
        for resource in range(amounts.shape[0]):
            np.subtract.at(self._requested[resource], self._rows[pods], amounts[resource])

    def take_back(self, pods: Rows) -> None:
        """Put the pods of these numbers, which are away, where they were."""
        self._out[pods] = False
        amounts = self._vectors[:, self._kinds[pods]]
        for resource in range(amounts.shape[0]):
            np.add.at(self._requested[resource], self._rows[pods], amounts[resource])

    @property
    def away(self) -> NDArray[np.bool_]:
        """Which of the pods are away now, (T,) bool, a copy."""
        return self._out.copy()

    @property
    def has_guests(self) -> bool:
        """Whether there is any guest."""
        return any(counts.any() for counts in self._guests.values())

    def snapshot(self, guests: Rows | None = None) -> Snapshot:
        """Return the cluster without those away, valid until somebody next leaves or returns.

        Args:
            guests: rows whose guests count.
        """
        base = self._base
        requested = self._requested.view()
        taken: list[_Taken] = []
        if guests is not None:
            requested = requested.copy()
            requested[:, guests] += self._guest_requests[:, guests]
            taken = [(pod, guests, counts[guests]) for pod, counts in self._guests.items()]
        requested.flags.writeable = False
        gone = np.flatnonzero(self._out)
        kinds = self._kinds[gone]
        ported = [
            *self._going(gone[self._has_ports[kinds]]),
            *_coming(each for each in taken if each[0].host_ports),
        ]
        drawing = [
            *self._going(gone[self._attracts[kinds]]),
            *_coming(each for each in taken if each[0].attracts),
        ]
        using = [
            *self._going(gone[self._claims[kinds]]),
            *_coming(each for each in taken if each[0].claims),
        ]
        left = self._going(gone[self._leaving[gone]])
        return replace(
            base,
            requested=requested,
            ports=_Lazy(lambda: _ports(base, ported)) if ported else base.ports,
            placed=_Lazy(lambda: _counted(base.placed, [*self._going(gone), *_coming(taken)])),
            leaving=_Lazy(lambda: _counted(base.leaving, left)) if left else base.leaving,
            attracting=_counted(base.attracting, drawing) if drawing else base.attracting,
            claiming=_counted(base.claiming, using) if using else base.claiming,
        )

    def _going(self, pods: Rows) -> list[_Change]:
        rows: list[int] = self._rows[pods].tolist()
        kinds: list[int] = self._kinds[pods].tolist()
        classes = self._classes
        return [(row, classes[kind], -1) for row, kind in zip(rows, kinds, strict=True)]


def _coming(taken: Iterable[_Taken]) -> Iterator[_Change]:
    for pod, guests, counts in taken:
        there = counts > 0
        for row, count in zip(guests[there].tolist(), counts[there].tolist(), strict=True):
            yield row, pod, count


def _counted(
    table: Mapping[PodClass, Mapping[int, int]], changes: Iterable[_Change]
) -> Mapping[PodClass, Mapping[int, int]]:
    counts = CountTable[PodClass, int].over(table)
    for row, pod, count in changes:
        counts.add(pod, row, count)
    return counts.live()


def _ports(
    base: Snapshot, changes: Iterable[_Change]
) -> Mapping[tuple[str, int], Mapping[tuple[int, str], int]]:
    counts = CountTable[tuple[str, int], tuple[int, str]].over(base.ports)
    for row, pod, count in changes:
        for port in pod.host_ports:
            counts.add((port.protocol, port.port), (row, port.host_ip), count)
    return counts.live()
