"""Filters as kube-scheduler asks them where pods wait for room that is kept for them.

Pure. A node is judged beside the pods nominated to it, and to no other; if all filters let the pod
in, they are asked once more without those, for they may never come
(RunFilterPluginsWithNominatedPods).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..hookspecs import Change, Filter, Mask, PodClass, Rejection, Rows, Snapshot, Verdict
from .draft import Draft
from .framework import rejections


def beside(
    filters: Sequence[Filter],
    pod: PodClass,
    bare: Snapshot,
    nominated: Mapping[str, Sequence[PodClass]],
) -> tuple[Filter, ...]:
    """Return filters that judge one copy of a class on the cluster without nominated pods.

    Args:
        nominated: by node, the classes of the pods that take precedence there.

    Raises:
        PluginError: a filter failed.
    """
    views: dict[int, Snapshot] = {}
    for node, classes in nominated.items():
        row = bare.row_of.get(node)
        if row is not None and classes:
            draft = Draft(bare)
            for each in classes:
                draft.add(each, np.array([row], dtype=np.int64))
            views[row] = draft.snapshot
    if not views:
        return tuple(filters)
    first = tuple(_BesideFilter(plugin, views) for plugin in filters)
    left = bare.none()
    left[list(views)] = True
    for plugin in first:
        verdict = plugin.filter(pod, bare)
        if verdict is not None:
            left &= verdict.room != 0
    again = np.flatnonzero(left)
    return (*first, *(_AloneFilter(plugin, again) for plugin in filters if again.size))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A filter that is asked in another way."""

    plugin: Filter

    @property
    def name(self) -> str:
        return self.plugin.name

    @property
    def wakes_on(self) -> Change:
        return self.plugin.wakes_on


@dataclass(frozen=True, slots=True)
class _BesideFilter(_Asked):
    """A filter that looks at some nodes, by row, in snapshots of their own."""

    views: Mapping[int, Snapshot]

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        verdict = self.plugin.filter(pod, snapshot)
        there = {row: self.plugin.filter(pod, view) for row, view in self.views.items()}
        if verdict is None and not any(there.values()):
            return None
        room = snapshot.every() if verdict is None else verdict.room != 0
        for row, other in there.items():
            room[row] = other is None or bool(other.room[row])

        def because() -> Sequence[Rejection]:
            elsewhere = ~room & ~_rows(snapshot, list(there))
            told = [] if verdict is None else _within(self.name, verdict, elsewhere)
            for row, other in there.items():
                if other is not None:
                    told += _within(self.name, other, ~room & _rows(snapshot, [row]))
            return told

        return Verdict(room, because)


@dataclass(frozen=True, slots=True)
class _AloneFilter(_Asked):
    """A filter that is asked about a few rows only."""

    rows: Rows

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        verdict = self.plugin.filter(pod, snapshot)
        if verdict is None:
            return None
        room = snapshot.every()
        room[self.rows] = verdict.room[self.rows] != 0
        return Verdict(room, lambda: _within(self.name, verdict, ~room))


def _within(name: str, verdict: Verdict, nodes: Mask) -> list[Rejection]:
    """Return a filter's reasons for some of the nodes."""
    return [replace(each, nodes=each.nodes & nodes) for each in rejections(name, verdict)]


def _rows(snapshot: Snapshot, rows: Sequence[int]) -> Mask:
    mask = snapshot.none()
    mask[list(rows)] = True
    return mask
