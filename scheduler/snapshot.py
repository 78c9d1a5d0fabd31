"""The cluster at one instant, in columns: what plugins and placement look at.

Row n of every column is the same node; arrays of resources are (R, N). Everything is read-only.
Labels and taints are interned to small integers, so a rule over 5,000 nodes is a few NumPy
operations. This room decides nothing and knows no store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from .objects.pod_class import HostPort, PodClass, Workload
from .objects.selectors import Selector
from .objects.storage import Storage

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Rows = NDArray[np.int64]
Codes = NDArray[np.int32]

S = TypeVar("S", bound=np.generic)

ABSENT = -1


class TaintKey(msgspec.Struct, frozen=True, order=True):
    """A taint without the time it was added."""

    key: str
    value: str
    effect: str


class NodeFacts(msgspec.Struct, frozen=True):
    """What a node declares of itself, resources aside."""

    name: str
    labels: dict[str, str] = {}
    taints: tuple[TaintKey, ...] = ()
    unschedulable: bool = False
    ready: bool = True
    images: dict[str, int] = {}
    foreign_ports: frozenset[HostPort] = frozenset()


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """One label key over all nodes.

    Args:
        codes: (N,) int32; ABSENT where the node lacks the label.
        code_of: value → code; may know values that no node has any more.
    """

    codes: Codes
    code_of: Mapping[str, int]

    def has(self) -> Mask:
        """Return where the label exists."""
        return self.codes != ABSENT

    def is_in(self, values: Sequence[str]) -> Mask:
        """Return where the label has one of the values."""
        wanted = [self.code_of[value] for value in values if value in self.code_of]
        if len(wanted) == 1:
            return self.codes == wanted[0]
        return np.isin(self.codes, np.array(wanted, dtype=np.int32))

    def where(self, test: Callable[[str], bool]) -> Mask:
        """Return where the value passes a test, called once per distinct value."""
        passed = np.zeros(len(self.code_of) + 1, dtype=np.bool_)
        for value, code in self.code_of.items():
            passed[code] = test(value)
        passed[ABSENT] = False
        return passed[self.codes]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen cluster of N nodes and R resources.

    Within one batch of decisions, `requested`, `assumed`, `ports` and `placed` include what the
    batch has decided before; everything else depends on the nodes alone and is unchanged while
    `generation` is. Keep nothing across calls but by `generation`.

    Args:
        revision: of the store up to which the cluster is known.
        generation: grows when a node's facts or the set of nodes change.
        nodes: facts by row.
        row_of: node name → row.
        resources: names of the R rows.
        resource_row: name → row.
        allocatable: (R, N) int64, cpu in thousandths, base units otherwise.
        requested: (R, N) int64, bound and assumed pods.
        assumed: (2, N) int64, cpu and memory as `PodRequests.assumed_*`, for scores.
        labels: label key → column.
        taint_codes: (N,) int32 index into taint_sets.
        taint_sets: distinct lists of taints, () is code 0.
        unschedulable: (N,) bool, spec.unschedulable.
        ready: (N,) bool, condition Ready is True.
        ports: (protocol, port) → {(row, host ip): how many pods, or containers of others}.
        placed: class → {row: how many pods}, those that are being deleted included.
        leaving: of placed, those that are being deleted.
        attracting: of placed, the classes with pod affinity or anti-affinity.
        images: image name → {row: bytes}, as nodes report them.
        namespaces: name → labels.
        workloads: namespace → (resource, name) → what its services and controllers select.
        claiming: of placed, the classes that mount claims.
        storage: volumes, claims and classes; None where nothing is said of any.
        architectures: image's whole name → what it is made for, as registries say; others may be
            made for anything.
        all_rows: (N,) 0 … N-1, the very object that scorers get when they are asked for every row.
    """

    revision: int
    generation: int
    nodes: Sequence[NodeFacts]
    row_of: Mapping[str, int]
    resources: tuple[str, ...]
    resource_row: Mapping[str, int]
    allocatable: Counts
    requested: Counts
    assumed: Counts
    labels: Mapping[str, LabelColumn]
    taint_codes: Codes
    taint_sets: Sequence[tuple[TaintKey, ...]]
    unschedulable: Mask
    ready: Mask
    ports: Mapping[tuple[str, int], Mapping[tuple[int, str], int]]
    placed: Mapping[PodClass, Mapping[int, int]]
    leaving: Mapping[PodClass, Mapping[int, int]]
    attracting: Mapping[PodClass, Mapping[int, int]]
    images: Mapping[str, Mapping[int, int]]
    namespaces: Mapping[str, Mapping[str, str]]
    workloads: Mapping[str, Mapping[Workload, Selector]]
    all_rows: Rows
    claiming: Mapping[PodClass, Mapping[int, int]] = field(
        default_factory=dict[PodClass, Mapping[int, int]]
    )
    storage: Storage | None = None
    architectures: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    @property
    def size(self) -> int:
        """N, the number of nodes."""
        return len(self.nodes)

    def names(self, rows: Rows) -> tuple[str, ...]:
        """Return the nodes' names of rows."""
        indices: list[int] = rows.tolist()
        return tuple([self.nodes[row].name for row in indices])

    def at(self, column: NDArray[S], rows: Rows) -> NDArray[S]:
        """Return column[rows], without copying when all rows are asked for; do not write to it."""
        return column if rows is self.all_rows else column[rows]

    def none(self) -> Mask:
        """Return a fresh (N,) mask that is False everywhere."""
        return np.zeros(self.size, dtype=np.bool_)

    def every(self) -> Mask:
        """Return a fresh (N,) mask that is True everywhere."""
        return np.ones(self.size, dtype=np.bool_)

    def label(self, key: str) -> LabelColumn:
        """Return the column of a label key, all absent if no node has it."""
        column = self.labels.get(key)
        if column is None:
            return LabelColumn(np.full(self.size, ABSENT, dtype=np.int32), {})
        return column

    def port_conflicts(self, wanted: Sequence[HostPort]) -> Mask:
        """Return where at least one of the ports is taken."""
        taken = self.none()
        for port in wanted:
            for row, address in self.ports.get((port.protocol, port.port), {}):
                if port.conflicts(HostPort(port.protocol, port.port, address)):
                    taken[row] = True
        return taken
