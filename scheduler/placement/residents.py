"""Pods on nodes as columns, for a search that looks at very many of them at once. Pure."""

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Self

import numpy as np

from ..objects.pod_class import PodClass
from ..snapshot import Counts, Mask, Rows
from .tenancy import RunningPod


@dataclass(frozen=True, slots=True, eq=False)
class Residents:
    """T pods on some nodes; who one of them is, is made only when asked for.

    Args:
        whose: (T,) the position of its node among those asked for.
        classes: what they are; kinds: (T,) which of them each is.
        started: (T,) as `RunningPod.started`; leaving: (T,) those being deleted.
        who: returns the pod of a number below T.
    """

    whose: Counts
    classes: Sequence[PodClass]
    kinds: Counts
    started: Counts
    leaving: Mask
    who: Callable[[int], RunningPod]

    @classmethod
    def of(cls, nodes: Sequence[Collection[RunningPod]]) -> Self:
        """Return the pods of nodes, node by node."""
        pods = list(chain.from_iterable(nodes))
        sizes = np.fromiter(map(len, nodes), dtype=np.int64, count=len(nodes))
        classes, kinds = kinds_of(each.pod for each in pods)
        return cls(
            np.repeat(np.arange(len(nodes), dtype=np.int64), sizes),
            classes,
            kinds,
            np.array([each.started for each in pods], dtype=np.int64),
            np.array([each.leaving for each in pods], dtype=np.bool_),
            pods.__getitem__,
        )

    def __len__(self) -> int:
        return self.whose.size

    @property
    def priorities(self) -> Counts:
        """(T,) int64."""
        return np.array([each.priority for each in self.classes], dtype=np.int64)[self.kinds]

    def take(self, numbers: Rows) -> Self:
        """Return those of these numbers, in that order."""
        return type(self)(
            self.whose[numbers],
            self.classes,
            self.kinds[numbers],
            self.started[numbers],
            self.leaving[numbers],
            partial(_at, self.who, numbers),
        )

    def __getitem__(self, number: int) -> RunningPod:
        return self.who(number)


def joined(parts: Sequence[Residents]) -> Residents:
    """Return the pods of all parts, part after part."""
    codes: dict[PodClass, int] = {}
    kinds = [
        np.array([codes.setdefault(pod, len(codes)) for pod in part.classes], dtype=np.int64)[
            part.kinds
        ]
        for part in parts
    ]
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64).tolist()
    return Residents(
        np.concatenate([part.whose for part in parts]),
        list(codes),
        np.concatenate(kinds),
        np.concatenate([part.started for part in parts]),
        np.concatenate([part.leaving for part in parts]),
        partial(_among, parts, ends),
    )


class Homes(Mapping[str, Collection[RunningPod]]):
    """The pods on each node, which can be asked for those of many nodes at once."""

    @abstractmethod
    def on(self, nodes: Sequence[str]) -> Residents:
        """Return the pods of nodes, which differ, the order of a node's being its own."""


def on_nodes(running: Mapping[str, Collection[RunningPod]], nodes: Sequence[str]) -> Residents:
    """Return the pods of nodes, which differ; on one that is not known nobody is."""
    if isinstance(running, Homes):
        return running.on(nodes)
    return Residents.of([running.get(node, ()) for node in nodes])


def kinds_of(pods: Iterable[PodClass]) -> tuple[list[PodClass], Counts]:
    """Return the classes there are, and which of them each of the T pods is of, (T,)."""
    codes: dict[PodClass, int] = {}
    kinds = np.fromiter((codes.setdefault(pod, len(codes)) for pod in pods), dtype=np.int64)
    return list(codes), kinds


def _among(parts: Sequence[Residents], ends: Sequence[int], number: int) -> RunningPod:
    part = bisect_right(ends, number)
    return parts[part][number - (ends[part - 1] if part else 0)]


def _at(who: Callable[[int], RunningPod], numbers: Rows, number: int) -> RunningPod:
    return who(int(numbers[number]))
