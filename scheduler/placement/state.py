"""The cluster as columns, kept current one delta at a time.

Pure: informers' deltas and the cycle's own decisions come in, frozen snapshots go out. Bound pods
count on their node's name, so they are remembered while the node is unknown. An assumed pod counts
like a bound one until its binding is confirmed or forgotten.
"""

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import BadRequest
from ..objects.cohort import FIRST, Cohort
from ..objects.node import Node
from ..objects.node_ports import foreign_ports
from ..objects.pod_class import HostPort, PodClass, Workload
from ..objects.resources import CPU, EPHEMERAL_STORAGE, MEMORY, PODS, allocatable
from ..objects.selectors import Selector
from ..snapshot import Counts, NodeFacts, Snapshot, TaintKey
from .columns import Column, CountTable
from .facts import FactColumns
from .storage_table import StorageTable

_CORE = (CPU, MEMORY, EPHEMERAL_STORAGE, PODS)


class ClusterState:
    """Everything a snapshot is made of."""

    def __init__(self) -> None:
        self._facts = FactColumns()
        self.storage = StorageTable()
        self._resources: list[str] = list(_CORE)
        self._resource_row = {name: row for row, name in enumerate(_CORE)}
        self._offers: list[Mapping[str, int]] = []
        self._allocatable = Column(np.zeros((len(_CORE), 0), dtype=np.int64))
        self._requested = Column(np.zeros((len(_CORE), 0), dtype=np.int64))
        self._assumed = Column(np.zeros((2, 0), dtype=np.int64))
        self._ports = CountTable[tuple[str, int], tuple[int, str]]()
        self._placed = CountTable[PodClass, int]()
        self._leaving = CountTable[PodClass, int]()
        self._attracting = CountTable[PodClass, int]()
        self._claiming = CountTable[PodClass, int]()
        self._images = CountTable[str, int]()
        self._architectures: dict[str, frozenset[str]] = {}
        self._frozen_architectures: Mapping[str, frozenset[str]] | None = None
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._workloads: Mapping[str, Mapping[Workload, Selector]] = {}  # never changed in place
        self._pods: dict[str, tuple[PodClass, str]] = {}
        self._lots: dict[str, _Lot] = {}  # cohort's uid → its counted pods
        self._strays = Counter[str]()  # cohort's uid → how many of its pods are among `_pods`
        self._going: set[str] = set()  # uids of counted pods that are being deleted
        self._homeless: dict[str, dict[str, PodClass]] = {}  # unknown node → uid → class
        self._homeless_on: dict[str, str] = {}  # uid → unknown node
        self._vectors: dict[PodClass, NDArray[np.int64]] = {}

    @property
    def size(self) -> int:
        """How many nodes are known."""
        return len(self._facts.row_of)

    def __contains__(self, uid: str) -> bool:
        """Tell whether a pod is counted on a known node."""
        return self.counted(uid) is not None

    def counted(self, uid: str) -> tuple[PodClass, str] | None:
        """Return the class and the node of a pod that is counted on a known node, else None."""
        return self._pods.get(uid) or self._lodged(uid)

    def counted_of(
        self, cohort: Cohort, ordinals: Iterable[int]
    ) -> Iterator[tuple[int, PodClass, str]]:
        """Yield of a cohort's pods those that are counted on a known node: class and node too."""
        lot = self._lots.get(cohort.uid)
        lodgers: Mapping[int, str] = {} if lot is None else lot.nodes
        strays = cohort.uid in self._strays
        for ordinal in ordinals:
            node = lodgers.get(ordinal)
            if lot is not None and node is not None:
                yield ordinal, lot.pod, node
            elif strays and (alone := self._pods.get(cohort.pod_uid(ordinal))) is not None:
                yield ordinal, *alone

    def set_node(self, node: Node) -> None:
        """Add a node or take over its new state."""
        facts = node_facts(node)
        name = facts.name
        offer = node_offer(node)
        row = self._facts.row_of.get(name)
        if row is None:
            row = self._facts.add(facts)
            self._count_images(row, {}, facts.images)
            self._count_foreign(row, frozenset(), facts.foreign_ports)
            self._offers.append({})
            self._set_offer(row, offer)
            for uid, pod in self._homeless.pop(name, {}).items():
                del self._homeless_on[uid]
                self._put_in(uid, pod, name, row)
            return
        self.set_facts(facts)
        if offer != self._offers[row]:
            self._set_offer(row, offer)

    def set_facts(self, facts: NodeFacts) -> None:
        """Take over what a known node declares of itself, but for its resources."""
        row = self._facts.row_of[facts.name]
        before = self._facts.of(row)
        self._count_images(row, before.images, facts.images)
        self._count_foreign(row, before.foreign_ports, facts.foreign_ports)
        self._facts.set(row, facts)

    def remove_nodes(self, names: Collection[str]) -> None:
        """Forget nodes; the pods bound to them stay known."""
        gone = {name: self._facts.row_of[name] for name in names if name in self._facts.row_of}
        if not gone:
            return
        for uid, (pod, node) in list(self._pods.items()):
            if node in gone:
                self._stray(uid, -1)
                del self._pods[uid]
                self._keep_homeless(uid, pod, node)
        for uid, pod, node in [each for lot in self._lots.values() for each in lot.on(gone)]:
            self._take_from_lot(uid)
            self._keep_homeless(uid, pod, node)
        rows = self._facts.remove(sorted(gone.values()))
        for column in (self._allocatable, self._requested, self._assumed):
            column.keep(rows)
        self._offers = [self._offers[row] for row in rows.tolist()]
        self._rebuild_tables()

    def set_pod(self, uid: str, pod: PodClass, node: str, *, leaving: bool = False) -> bool:
        """Count a bound or assumed pod on its node; returns whether anything changed.

        Args:
            leaving: it is being deleted; it counts until it is gone.
        """
        known = self.counted(uid)
        if known is not None and known[1] == node and known[0] == pod:
            return leaving and self._leaves(uid, *known)
        row = self._facts.row_of.get(node)
        if row is None:
            if self._homeless.get(node, {}).get(uid) == pod:
                return False
            self.remove_pod(uid)
            self._keep_homeless(uid, pod, node)
            if leaving:
                self._going.add(uid)
            return True
        self.remove_pod(uid)
        if leaving:
            self._going.add(uid)
        self._put_in(uid, pod, node, row)
        return True

    def set_cohort(
        self, cohort: Cohort, pod: PodClass, ordinals: Sequence[int], nodes: Sequence[str]
    ) -> bool:
        """Count bound pods of a cohort on their nodes; returns whether anything changed."""
        lot = self._lots.get(cohort.uid)
        if lot is not None and all(
            lot.nodes.get(ordinal) == node for ordinal, node in zip(ordinals, nodes, strict=True)
        ):
            return False
        changed = [
            self.set_pod(cohort.pod_uid(ordinal), pod, node)
            for ordinal, node in zip(ordinals, nodes, strict=True)
        ]
        return any(changed)

    def assume_cohort(
        self, cohort: Cohort, pod: PodClass, ordinals: Sequence[int], nodes: Sequence[str]
    ) -> None:
        """Count pods of a cohort that are about to be bound.

        Args:
            nodes: names of known ones, one for each ordinal, none of which is counted yet.
        """
        lot = self._lots.get(cohort.uid)
        if lot is None:
            lot = self._lots[cohort.uid] = _Lot(cohort, pod)
        lot.nodes.update(zip(ordinals, nodes, strict=True))
        self._count_on(pod, Counter(nodes))

    def is_lodged(self, cohort: Cohort, ordinals: Iterable[int]) -> bool:
        """Tell whether some of a cohort's pods are counted."""
        lot = self._lots.get(cohort.uid)
        if lot is not None and any(ordinal in lot.nodes for ordinal in ordinals):
            return True
        return cohort.uid in self._strays and any(
            cohort.pod_uid(ordinal) in self._pods for ordinal in ordinals
        )

    def members(self, namespace: str, group: str) -> int:
        """Return how many pods of a PodGroup count, on whatever node, but for leaving ones."""

        def belongs(pod: PodClass) -> bool:
            return pod.group == group and pod.namespace == namespace

        placed = self._placed.live()
        known = sum(sum(rows.values()) for pod, rows in placed.items() if belongs(pod))
        leaving = self._leaving.live()
        gone = sum(sum(rows.values()) for pod, rows in leaving.items() if belongs(pod))
        homeless = [(u, pod) for pods in self._homeless.values() for u, pod in pods.items()]
        return known - gone + sum(u not in self._going and belongs(p) for u, p in homeless)

    def _lodged(self, uid: str) -> tuple[PodClass, str] | None:
        if not self._lots:
            return None
        lot = self._lots.get(uid[:28] + FIRST)
        return None if lot is None else lot.find(uid)

    def _stray(self, uid: str, count: int) -> None:
        """Note that a pod which may be of a cohort is counted alone, or no more."""
        if uid[28:32] != FIRST[:4]:
            return
        cohort = uid[:28] + FIRST
        self._strays[cohort] += count
        if not self._strays[cohort]:
            del self._strays[cohort]

    def _take_from_lot(self, uid: str) -> None:
        lot = self._lots[uid[:28] + FIRST]
        lot.pop(uid)
        if not lot.nodes:
            del self._lots[lot.cohort.uid]

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """Take over a namespace's labels; None forgets it."""
        changed = dict(self._namespaces)
        if labels is None:
            changed.pop(name, None)
        else:
            changed[name] = labels
        self._namespaces = changed

    def set_workload(
        self, namespace: str, resource: str, name: str, selector: Selector | None
    ) -> None:
        """Take over what a service or controller selects; None forgets it."""
        of_namespace = dict(self._workloads.get(namespace, {}))
        if selector is None:
            of_namespace.pop((resource, name), None)
        else:
            of_namespace[resource, name] = selector
        self._workloads = {**self._workloads, namespace: of_namespace}

    def remove_pod(self, uid: str) -> bool:
        """Stop counting a pod; returns whether it was counted."""
        counted = self._take_out(uid)
        self._going.discard(uid)
        return counted

    def remove_pods(self, uids: Iterable[str]) -> bool:
        """Stop counting pods, alike ones together; returns whether any was counted."""
        on: dict[PodClass, dict[str, int]] = {}
        counted = False
        for uid in uids:
            known = self._pods.get(uid)
            if known is None or uid in self._going:
                counted |= self.remove_pod(uid)
                continue
            del self._pods[uid]
            self._stray(uid, -1)
            there = on.setdefault(known[0], {})
            there[known[1]] = there.get(known[1], 0) - 1
        for pod, nodes in on.items():
            self._count_on(pod, nodes)
        return counted or bool(on)

    def _leaves(self, uid: str, pod: PodClass, node: str) -> bool:
        """Mark a counted pod as being deleted; returns whether that is news."""
        if uid in self._going:
            return False
        self._going.add(uid)
        self._leaving.add(pod, self._facts.row_of[node], 1)
        return True

    def _put_in(self, uid: str, pod: PodClass, node: str, row: int) -> None:
        self._pods[uid] = (pod, node)
        self._stray(uid, 1)
        self._count(pod, row, 1)
        if uid in self._going:
            self._leaving.add(pod, row, 1)

    def _take_out(self, uid: str) -> bool:
        known = self._pods.pop(uid, None)
        if known is not None:
            self._stray(uid, -1)
        elif (known := self._lodged(uid)) is not None:
            self._take_from_lot(uid)
        if known is not None:
            row = self._facts.row_of[known[1]]
            self._count(known[0], row, -1)
            if uid in self._going:
                self._leaving.add(known[0], row, -1)
            return True
        node = self._homeless_on.pop(uid, None)
        if node is None:
            return False
        del self._homeless[node][uid]
        if not self._homeless[node]:
            del self._homeless[node]
        return True

    def _keep_homeless(self, uid: str, pod: PodClass, node: str) -> None:
        """Remember a pod whose node is not known."""
        self._homeless.setdefault(node, {})[uid] = pod
        self._homeless_on[uid] = node

    def assume(self, pod: PodClass, placed: Iterable[tuple[str, str]]) -> None:
        """Count pods of one class that are about to be bound.

        Args:
            pod: their class.
            placed: (uid, node name) of each; nodes are known, uids are not counted yet.
        """
        on: Counter[str] = Counter()
        for uid, node in placed:
            self._pods[uid] = (pod, node)
            self._stray(uid, 1)
            on[node] += 1
        self._count_on(pod, on)

    def _count_on(self, pod: PodClass, on: Mapping[str, int]) -> None:
        """Count further pods of a class, so many on each node; a negative number: fewer."""
        row_of = self._facts.row_of
        if len(on) < 16:
            for node, count in on.items():
                self._count(pod, row_of[node], count)
            return
        index = np.fromiter((row_of[node] for node in on), dtype=np.int64, count=len(on))
        counts = np.fromiter(on.values(), dtype=np.int64, count=len(on))
        self._requested.writable(self.size)[:, index] += self._vector(pod)[:, None] * counts
        self._assumed.writable(self.size)[:, index] += assumed_vector(pod)[:, None] * counts
        for node, count in on.items():
            self._count_tables(pod, row_of[node], count)

    def set_architectures(self, image: str, found: frozenset[str]) -> bool:
        """Take over what an image is made for, none when it is not known; returns if that is news.

        Args:
            image: its whole name.
        """
        if self._architectures.get(image, frozenset()) == found:
            return False
        self._frozen_architectures = None
        if found:
            self._architectures[image] = found
        else:
            del self._architectures[image]
        return True

    def freeze(self, revision: int) -> Snapshot:
        """Return the cluster as it is now; later changes leave the snapshot alone."""
        size = self.size
        facts = self._facts
        if self._frozen_architectures is None:
            self._frozen_architectures = dict(self._architectures)
        return Snapshot(
            revision=revision,
            generation=facts.generation,
            nodes=facts.nodes(),
            row_of=facts.names(),
            resources=tuple(self._resources),
            resource_row=dict(self._resource_row),
            allocatable=self._allocatable.freeze(size),
            requested=self._requested.freeze(size),
            assumed=self._assumed.freeze(size),
            labels=facts.labels(),
            taint_codes=facts.taint_codes.freeze(size),
            taint_sets=facts.taint_sets,
            unschedulable=facts.unschedulable.freeze(size),
            ready=facts.ready.freeze(size),
            ports=self._ports.freeze(),
            placed=self._placed.freeze(),
            leaving=self._leaving.freeze(),
            attracting=self._attracting.freeze(),
            claiming=self._claiming.freeze(),
            storage=self.storage.freeze(),
            architectures=self._frozen_architectures,
            images=self._images.freeze(),
            namespaces=self._namespaces,
            workloads=self._workloads,
            all_rows=np.arange(size, dtype=np.int64),
        )

    def _set_offer(self, row: int, offer: Mapping[str, int]) -> None:
        fresh = [name for name in offer if name not in self._resource_row]
        if fresh:
            self._add_resources(fresh)
        column = self._allocatable.writable(self.size)
        column[:, row] = [offer.get(name, 0) for name in self._resources]
        self._offers[row] = offer

    def _add_resources(self, names: list[str]) -> None:
        for name in names:
            self._resource_row[name] = len(self._resources)
            self._resources.append(name)
        self._allocatable.add_rows(len(names))
        self._requested.add_rows(len(names))
        self._vectors.clear()
        requested = self._requested.writable(self.size)
        for pod, rows in self._placed.freeze().items():
            for name in names:
                amount = pod.requests.amounts.get(name, 0)
                for row, count in rows.items() if amount else ():
                    requested[self._resource_row[name], row] += amount * count

    def _count(self, pod: PodClass, row: int, count: int) -> None:
        self._requested.writable(self.size)[:, row] += self._vector(pod) * count
        self._assumed.writable(self.size)[:, row] += assumed_vector(pod) * count
        self._count_tables(pod, row, count)

    def _count_tables(self, pod: PodClass, row: int, count: int) -> None:
        self._placed.add(pod, row, count)
        if pod.attracts:
            self._attracting.add(pod, row, count)
        if pod.claims:
            self._claiming.add(pod, row, count)
        for port in pod.host_ports:
            self._ports.add((port.protocol, port.port), (row, port.host_ip), count)

    def _vector(self, pod: PodClass) -> NDArray[np.int64]:
        vector = self._vectors.get(pod)
        if vector is None:
            if len(self._vectors) > 65536:
                self._vectors.clear()
            vector = self._vectors[pod] = request_vector(pod, self._resource_row)
        return vector

    def _count_images(self, row: int, old: Mapping[str, int], new: Mapping[str, int]) -> None:
        if old == new:
            return
        for name, size in old.items():
            self._images.add(name, row, -size)
        for name, size in new.items():
            self._images.add(name, row, size)

    def _count_foreign(self, row: int, old: frozenset[HostPort], new: frozenset[HostPort]) -> None:
        """Count ports that containers outside Ironfree have taken."""
        for ports, count in ((old - new, -1), (new - old, 1)):
            for port in ports:
                self._ports.add((port.protocol, port.port), (row, port.host_ip), count)

    def _rebuild_tables(self) -> None:
        self._ports = CountTable[tuple[str, int], tuple[int, str]]()
        self._placed = CountTable[PodClass, int]()
        self._leaving = CountTable[PodClass, int]()
        self._attracting = CountTable[PodClass, int]()
        self._claiming = CountTable[PodClass, int]()
        self._images = CountTable[str, int]()
        row_of = self._facts.row_of
        for uid, (pod, node) in self._pods.items():
            self._count_tables(pod, row_of[node], 1)
            if uid in self._going:
                self._leaving.add(pod, row_of[node], 1)
        for lot in self._lots.values():
            for ordinal, node in lot.nodes.items():
                self._count_tables(lot.pod, row_of[node], 1)
                if self._going and lot.cohort.pod_uid(ordinal) in self._going:
                    self._leaving.add(lot.pod, row_of[node], 1)
        for row in row_of.values():
            facts = self._facts.of(row)
            self._count_images(row, {}, facts.images)
            self._count_foreign(row, frozenset(), facts.foreign_ports)


@dataclass(slots=True)
class _Lot:
    """Counted pods of a cohort: ordinal → node's name."""

    cohort: Cohort
    pod: PodClass
    nodes: dict[int, str] = field(default_factory=dict[int, str])

    def find(self, uid: str) -> tuple[PodClass, str] | None:
        """Return a pod's class and node, None if it is not counted."""
        node = self.nodes.get(int(uid[28:], 16))
        return None if node is None else (self.pod, node)

    def pop(self, uid: str) -> None:
        """Count a pod no more."""
        del self.nodes[int(uid[28:], 16)]

    def on(self, nodes: Container[str]) -> Iterator[tuple[str, PodClass, str]]:
        """Yield uid, class and node of the pods on those nodes."""
        for ordinal, node in self.nodes.items():
            if node in nodes:
                yield self.cohort.pod_uid(ordinal), self.pod, node


def request_vector(pod: PodClass, resource_row: Mapping[str, int]) -> Counts:
    """Return what one copy requests as (R,) int64; resources no node offers are left out."""
    vector = np.zeros(len(resource_row), dtype=np.int64)
    for name, amount in pod.requests.amounts.items():
        row = resource_row.get(name)
        if row is not None:
            vector[row] = amount
    return vector


def assumed_vector(pod: PodClass) -> Counts:
    """Return what scores assume of one copy as (2,) int64: cpu, memory."""
    return np.array([pod.requests.assumed_cpu, pod.requests.assumed_memory], dtype=np.int64)


def node_facts(node: Node) -> NodeFacts:
    """Return what a node declares of itself."""
    ready = node.status.condition("Ready")
    return NodeFacts(
        name=node.meta.name,
        labels=node.meta.labels,
        taints=tuple(TaintKey(t.key, t.value, t.effect) for t in node.spec.taints),
        unschedulable=node.spec.unschedulable,
        ready=ready is not None and ready.status == "True",
        # One of no size is there all the same, and counts where it is spread out.
        images={name: i.size_bytes or 1 for i in node.status.images for name in i.names},
        foreign_ports=foreign_ports(node.meta.annotations),
    )


def node_offer(node: Node) -> Mapping[str, int]:
    """Return allocatable, or capacity where a node gives none (Kubernetes defaults it so)."""
    try:
        return allocatable(node.status.allocatable or node.status.capacity)
    except BadRequest:
        return {}  # nothing can be placed on a node whose offer cannot be read
