"""Who runs on each node, for the search for victims."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from operator import attrgetter

import msgspec
import numpy as np

from ..hookspecs import Counts, PodClass
from ..informer import AnyDelta, CohortDelta, Delta, Informer
from ..objects.cohort import FIRST, Cohort, Lodging
from ..objects.node import Node
from ..objects.pod import Pod
from ..objects.stored import ObjectKey
from .residents import Homes, Residents, joined, kinds_of
from .state import ClusterState
from .tenancy import UNSTARTED, RunningPod, nanoseconds

NODE = "node"  # the index of the pods' informer that this needs
_KEPT = 250_000  # pods held one by one that are remembered
_COHORTS = 10_000  # of which it is remembered where their pods are, and since when
_UNASKED = -1


class Tenants(Homes):
    """The pods on each node, as they are now; looked up when asked for.

    What was looked up is kept until it changes, so that of several searches in a row each looks at
    what the one before has moved. `pods` and `nodes` must be told of every change.
    """

    def __init__(self, pods: Informer[Pod], state: ClusterState) -> None:
        self._pods = pods
        self._state = state
        self._alone: dict[str, Sequence[RunningPod]] = {}  # by node
        self._kept = 0  # pods in _alone
        self._lodgers: dict[str, Residents] = {}  # by cohort; `whose` are numbers of nodes
        self._numbers: dict[str, int] = {}  # of those nodes
        self._starts: dict[str, Counts] = {}  # by cohort: of each of its pods, or _UNASKED

    def pods(self, deltas: Iterable[AnyDelta[Pod]]) -> None:
        """Forget what is known of the nodes and of the cohorts of pods that changed."""
        if not self._alone and not self._lodgers:
            return
        for delta in deltas:
            if isinstance(delta, CohortDelta):
                self._lodgers.pop(delta.change.cohort.uid, None)
                continue
            for pod in (delta.old, delta.new):
                if pod is not None and pod.node:
                    self._kept -= len(self._alone.pop(pod.node, ()))
                    self._lodgers.pop(pod.meta.uid[:28] + FIRST, None)

    def nodes(self, deltas: Iterable[Delta[Node]]) -> None:
        """Forget what is known if nodes came or went: only pods of known nodes count."""
        if any(delta.old is None or delta.new is None for delta in deltas):
            self._forget()

    def _forget(self) -> None:
        for known in (self._alone, self._lodgers, self._numbers, self._starts):
            known.clear()
        self._kept = 0

    def __getitem__(self, node: str) -> Sequence[RunningPod]:
        """Return the pods of one node."""
        found = list(self._on_their_own(node))
        for crowd in self._pods.crowds(NODE, node):
            cohort, starts = crowd.cohort, self._started(crowd.lodging, crowd.ordinals)
            for ordinal, wanted, _ in self._state.counted_of(cohort, crowd.ordinals):
                found.append(_lodger(cohort, ordinal, wanted, int(starts[ordinal])))
        return found

    def on(self, nodes: Sequence[str]) -> Residents:
        """Return the pods of nodes, on each first those held one by one, then by cohorts."""
        if self._kept > _KEPT or len(self._starts) > _COHORTS:
            self._forget()
        alone = Residents.of([self._on_their_own(node) for node in nodes])
        cohorts = [self._of_cohort(lodging) for lodging in self._pods.lodgings()]
        if not cohorts:
            return alone
        lodgers = joined(cohorts)
        position = np.full(len(self._numbers), -1, dtype=np.int64)
        for index, node in enumerate(nodes):
            number = self._numbers.get(node)
            if number is not None:
                position[number] = index
        lodgers = replace(lodgers, whose=position[lodgers.whose])
        return joined([alone, lodgers.take(np.flatnonzero(lodgers.whose >= 0))])

    def _on_their_own(self, node: str) -> Sequence[RunningPod]:
        """Return a node's pods that are held one by one."""
        known = self._alone.get(node)
        if known is None:
            counted = self._state.counted
            pods = [pod for pod in self._pods.alone(NODE, node) if not pod.terminal]
            asked = ((pod, counted(pod.meta.uid)) for pod in pods)
            found = [RunningPod.of(pod, known[0]) for pod, known in asked if known is not None]
            known = self._alone[node] = sorted(found, key=attrgetter("key"))
            self._kept += len(known)
        return known

    def _of_cohort(self, lodging: Lodging) -> Residents:
        """Return a cohort's pods, by the numbers of the nodes they are on."""
        cohort = lodging.cohort
        known = self._lodgers.get(cohort.uid)
        if known is None:
            counted = list(self._state.counted_of(cohort, lodging.bound()))
            ordinals = np.array([ordinal for ordinal, _, _ in counted], dtype=np.int64)
            numbers = self._numbers
            classes, kinds = kinds_of(pod for _, pod, _ in counted)
            started = self._started(lodging, ordinals.tolist())[ordinals]
            known = self._lodgers[cohort.uid] = Residents(
                np.array(
                    [numbers.setdefault(node, len(numbers)) for _, _, node in counted],
                    dtype=np.int64,
                ),
                classes,
                kinds,
                started,
                np.zeros(len(counted), dtype=np.bool_),  # such a pod lives in no cohort
                partial(_of_these, cohort, ordinals, classes, kinds, started),
            )
        return known

    def _started(self, lodging: Lodging, ordinals: Iterable[int]) -> Counts:
        """Return when pods of a cohort started, by ordinal; right for those that are given."""
        cohort, said = lodging.cohort, lodging.said
        started = np.full(cohort.size, _since_start(cohort.status), dtype=np.int64)
        told = [ordinal for ordinal in ordinals if ordinal in said] if said else []
        if told:
            known = self._starts.get(cohort.uid)
            if known is None:
                known = self._starts[cohort.uid] = np.full(cohort.size, _UNASKED, dtype=np.int64)
            for ordinal in told:  # of a pod that lives in a cohort something is said but once
                if known[ordinal] == _UNASKED:
                    known[ordinal] = _since_start(lodging.status(ordinal))
            started[told] = known[told]
        return started

    def __iter__(self) -> Iterator[str]:
        return iter(self._alone)

    def __len__(self) -> int:
        return len(self._alone)


class _Status(msgspec.Struct, rename="camel"):
    """What of a status is of interest here."""

    start_time: datetime | None = None


def _since_start(status: bytes) -> int:
    started = msgspec.json.decode(status, type=_Status).start_time if status else None
    return UNSTARTED if started is None else nanoseconds(started)


def _lodger(cohort: Cohort, ordinal: int, wanted: PodClass, started: int) -> RunningPod:
    key = ObjectKey("pods", cohort.namespace, cohort.name(ordinal))
    return RunningPod(key, cohort.pod_uid(ordinal), wanted, started)


def _of_these(
    cohort: Cohort,
    ordinals: Counts,
    classes: Sequence[PodClass],
    kinds: Counts,
    started: Counts,
    number: int,
) -> RunningPod:
    wanted = classes[int(kinds[number])]
    return _lodger(cohort, int(ordinals[number]), wanted, int(started[number]))
