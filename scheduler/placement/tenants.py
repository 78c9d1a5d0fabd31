"""Who runs on each node, for the search for victims."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from ..informer import AnyDelta, CohortDelta, Delta, Informer
from ..objects.lots import Crowd
from ..objects.node import Node
from ..objects.pod import Pod
from ..objects.stored import ObjectKey
from .state import ClusterState
from .tenancy import RunningPod, since_start

NODE = "node"  # the index of the pods' informer that this needs
_KEPT = 250_000  # pods whose nodes are remembered
_COHORTS = 10_000  # of which it is remembered when their pods started


class Tenants(Mapping[str, Sequence[RunningPod]]):
    """The pods on each node, as they are now; made node by node when asked for.

    What was made is kept until the node's pods change, so that of several searches in a row each
    looks at what the one before has moved. `pods` and `nodes` must be told of every change.
    """

    def __init__(self, pods: Informer[Pod], state: ClusterState) -> None:
        self._pods = pods
        self._state = state
        self._known: dict[str, tuple[RunningPod, ...]] = {}
        self._kept = 0  # pods in _known
        self._since: dict[str, int] = {}  # by cohort: of its pods of which nothing is said

    def pods(self, deltas: Iterable[AnyDelta[Pod]]) -> None:
        """Forget what is known of the nodes of pods that changed."""
        if not self._known:
            return
        for delta in deltas:
            if isinstance(delta, CohortDelta):
                for node in set(delta.change.nodes):
                    self._forget(node)
                continue
            for pod in (delta.old, delta.new):
                if pod is not None and pod.node:
                    self._forget(pod.node)

    def nodes(self, deltas: Iterable[Delta[Node]]) -> None:
        """Forget what is known of nodes that came or went: only pods of known nodes count."""
        for delta in deltas:
            if delta.old is None or delta.new is None:
                self._forget(delta.key.name)

    def _forget(self, node: str) -> None:
        self._kept -= len(self._known.pop(node, ()))

    def __getitem__(self, node: str) -> Sequence[RunningPod]:
        known = self._known.get(node)
        if known is None:
            residents = self._residents(node)
            residents.sort(key=attrgetter("key"))
            if self._kept > _KEPT:
                self._known.clear()
                self._kept = 0
            known = self._known[node] = tuple(residents)
            self._kept += len(known)
        return known

    def _residents(self, node: str) -> list[RunningPod]:
        single, crowds = self._pods.in_crowds(NODE, node)
        found: list[RunningPod] = []
        counted = self._state.counted
        for pod in single:
            known = None if pod.terminal else counted(pod.meta.uid)
            if known is not None:
                found.append(RunningPod.of(pod, known[0]))
        for crowd in crowds:
            cohort = crowd.cohort
            since = 0 if crowd.reported else self._started(crowd)
            for ordinal in crowd.ordinals:
                uid = cohort.pod_uid(ordinal)
                known = counted(uid)
                if known is None:
                    continue
                key = ObjectKey("pods", cohort.namespace, cohort.name(ordinal))
                if crowd.reported:
                    found.append(RunningPod.of(self._pods.items[key], known[0]))
                else:  # one like the other, and none of them is being deleted
                    found.append(RunningPod(key, uid, known[0], since))
        return found

    def _started(self, crowd: Crowd[Pod]) -> int:
        """Return when pods of a cohort started, of which nothing but its own status is said."""
        uid = crowd.cohort.uid
        if uid not in self._since:
            if len(self._since) >= _COHORTS:
                self._since.clear()
            self._since[uid] = since_start(crowd.sample)
        return self._since[uid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
