"""Every extension point of Ironfree. A plugin author needs only this page.

A plugin is a Python distribution with an entry point in the group "ironfree" that names a module
(or an object) with functions marked `@hookimpl`:

    from scheduler import hookimpl

    @hookimpl
    def ironfree_filters():
        return [MyFilter()]

A hook may leave out parameters it does not need. Decisions are vectorised: a filter or scorer is
called once per class of identical pods and answers for all N nodes of the `Snapshot` at once with
a NumPy array; `PerNodeFilter` and `PerNodeScorer` are for authors who would rather answer node by
node (about a thousand times slower at 5,000 nodes). Filters and scorers are synchronous, pure and
fast: no input or output, nothing remembered between calls but by `snapshot.generation`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntFlag, auto
from typing import Protocol, runtime_checkable

import numpy as np
import pluggy
from numpy.typing import NDArray

from .batch_terms import Batch, BatchPlan, Complaint, Term
from .drivers import Driver
from .objects.json import JsonObject
from .objects.pod_class import PodClass
from .snapshot import Counts, Mask, NodeFacts, Rows, Snapshot, TaintKey

__all__ = [
    "Alike",
    "Args",
    "Batch",
    "BatchPlan",
    "BatchRule",
    "Change",
    "Complaint",
    "Counts",
    "CoupledScores",
    "Coupling",
    "Driver",
    "Filter",
    "FoldableCoupling",
    "FoldableScores",
    "Mask",
    "Mutual",
    "MutualScorer",
    "NodeFacts",
    "NodeView",
    "Normalise",
    "PerNodeFilter",
    "PerNodeScorer",
    "PodClass",
    "Rejection",
    "Rows",
    "Scorer",
    "Scores",
    "Snapshot",
    "TaintKey",
    "Term",
    "Verdict",
    "hookimpl",
    "hookspec",
]

PROJECT = "ironfree"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Scores = NDArray[np.int64 | np.float64]


@dataclass(frozen=True, slots=True)
class Args:
    """Arguments of rules as a profile gives them (kubescheduler.config.k8s.io/v1 pluginConfig)."""

    rules: Mapping[str, JsonObject]

    def of(self, rule: str) -> JsonObject:
        """Return the arguments of a rule, {} where there are none."""
        return self.rules.get(rule, {})


class Change(IntFlag):
    """What can happen in a cluster that makes an unschedulable pod worth another look."""

    NODE_ADDED = auto()
    NODE_REMOVED = auto()  # a node went or got a taint: for rules over groups of nodes
    NODE_RESOURCES = auto()  # allocatable grew
    NODE_LABELS = auto()
    NODE_TAINTS = auto()  # a node lost a taint or spec.unschedulable
    POD_REMOVED = auto()  # a bound pod ended or went: resources and ports came free
    POD_PLACED = auto()  # a pod was bound, by whomever
    POD_LABELS = auto()  # a bound pod's labels changed, or it is being deleted from now on
    NAMESPACE = auto()  # a namespace came, or its labels changed
    STORAGE = auto()  # a claim, a volume or a storage class came, changed or went
    IMAGES = auto()  # what architectures an image is made for came to be known, or changed
    ANY = (
        NODE_ADDED
        | NODE_REMOVED
        | NODE_RESOURCES
        | NODE_LABELS
        | NODE_TAINTS
        | POD_REMOVED
        | POD_PLACED
        | POD_LABELS
        | NAMESPACE
        | STORAGE
        | IMAGES
    )


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What a filter finds in a pod's way on one node, in numbers.

    Args:
        said: one sentence, for people.
        numbers: the same by name, for programs.
        pods: class → rows of the pods that are in the way: if some of them left, it would help.
    """

    said: str
    numbers: Mapping[str, str | int]
    pods: Mapping[PodClass, Sequence[int]] = field(
        default_factory=dict[PodClass, Sequence[int]], repr=False
    )


@dataclass(frozen=True, slots=True)
class Rejection:
    """One reason and the nodes it holds for.

    Args:
        reason: as it reads in "0/3 nodes are available: 2 <reason>.".
        nodes: (N,) bool.
        resolvable: True if removing pods from the node could help.
        wakes_on: which changes can help these nodes, where fewer do than the filter's `wakes_on`
            says (kube-scheduler's queueing hints); None: those.
        obstacles: tells of one of these rows what is in the way; asked while the snapshot lives,
            and only when a person wants to know.
    """

    reason: str
    nodes: Mask
    resolvable: bool = True
    wakes_on: Change | None = None
    obstacles: Callable[[int], Sequence[Obstacle]] | None = None


class Coupling(Protocol):
    """A filter's answer while copies of one class are placed that bear on each other's nodes.

    For rules over groups of nodes (spread, affinity): a copy on one node changes what others may
    take. It lives for one decision, and after every `put` must say what a fresh call of the filter
    would say of a snapshot with those copies in it.
    """

    @property
    def settled(self) -> bool:
        """True when no further copy changes `room` any more."""
        ...

    def put(self, row: int) -> None:
        """Take over that one more copy is on the row."""
        ...

    def room(self) -> Mask:
        """Return the (N,) bool where the next copy may run; the caller does not keep it."""
        ...


Alike = Sequence[NDArray[np.int32] | NDArray[np.int64] | Mask]


@runtime_checkable
class FoldableCoupling(Coupling, Protocol):
    """A coupling that also says which rows are alike to it, so that a few stand for thousands.

    Two rows are alike if they have equal room, now and after any copies, and if a copy on one
    changes the room of every row as a copy on the other would. Copies of other couplings that do
    not say it are placed row by row, which is a hundred times slower on thousands of nodes.
    """

    def groups(self) -> Alike | None:
        """Return (N,) columns such that rows equal in all of them are alike; None: can't tell."""
        ...

    def fold(self, rows: Rows) -> Coupling:
        """Return this coupling, as it stands, for a cluster of the given rows alone.

        Args:
            rows: (G,) one of each group; row g of the answer's is rows[g], `put(g)` stands for a
                copy on whatever row of its group. What is put there does not show here.
        """
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """A filter's answer for all nodes.

    Args:
        room: (N,) bool, True where the pod may run; or (N,) int64, how many more copies of the
            class may run there (0: none), where one copy makes the next less possible.
        because: the reason for every node without room, or a function giving Rejections that
            together cover them; it is called only when somebody must be told.
        resolvable, wakes_on: with a plain reason, see Rejection.
        coupling: given where a copy on one node changes the room of others; `room` is then the
            (N,) bool for the first copy.
    """

    room: Mask | Counts
    because: str | Callable[[], Sequence[Rejection]]
    resolvable: bool = True
    coupling: Coupling | None = None
    wakes_on: Change | None = None


class Filter(Protocol):
    """Says where pods of a class may run."""

    @property
    def name(self) -> str:
        """CamelCase, unique; in messages, decisions and settings."""
        ...

    @property
    def wakes_on(self) -> Change:
        """Which changes can make a pod this filter rejected schedulable; parked pods wait for them.

        A change that is left out costs such a pod up to five minutes, one too many costs a try.
        """
        ...

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Judge all nodes; None means no objection anywhere and no limit."""
        ...


@runtime_checkable
class Lenient(Protocol):
    """What a Filter may be besides: one by which nodes may be asked for more than they offer."""

    def ignores(self, resource: str) -> bool:
        """Tell whether it never counts a resource; then nobody else holds a plan to it."""
        ...


class Normalise(Enum):
    """How raw scores become 0-100 over the nodes that passed every filter (as kube-scheduler)."""

    NONE = "none"  # they are 0-100 already
    LARGEST = "largest"  # 100 · raw // max; all 0 if max is 0
    REVERSED = "reversed"  # 100 - 100 · raw // max; all 100 if max is 0


class CoupledScores(Protocol):
    """Scores that change on other nodes too when a copy is placed; lives for one decision."""

    def put(self, row: int) -> None:
        """Take over that one more copy is on the row."""
        ...

    def scores(self, rows: Rows) -> Scores:
        """Score the next copy.

        Args:
            rows: (M,) ascending: all rows where it may go; the scorer normalises over them.

        Returns:
            (M,) 0-100.
        """
        ...


@runtime_checkable
class FoldableScores(CoupledScores, Protocol):
    """Coupled scores that also say which rows are alike; see FoldableCoupling.

    Rows are alike if they score the same among any rows, and if it makes no difference to scores
    how many rows of a group are asked for beside the first.
    """

    def groups(self) -> Alike | None:
        """Return (N,) columns such that rows equal in all of them are alike; None: can't tell."""
        ...

    def fold(self, rows: Rows) -> CoupledScores:
        """Return these scores, as they stand, for a cluster of the given rows alone."""
        ...


class Scorer(Protocol):
    """Says how good each node is for one more pod of a class."""

    @property
    def name(self) -> str:
        """CamelCase, unique among scorers."""
        ...

    @property
    def weight(self) -> int:
        """Factor of the 0-100 score in the sum."""
        ...

    @property
    def normalise(self) -> Normalise:
        """What to do with the raw scores."""
        ...

    @property
    def depends_on_copies(self) -> bool:
        """True when the score changes as copies of the class fill a node."""
        ...

    def score(
        self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts
    ) -> Scores | CoupledScores | None:
        """Score the next copy on each node.

        Args:
            pod: the class.
            snapshot: the cluster without the copies below.
            rows: (M,) node rows; a row may occur more than once.
            copies: (M,) how many copies of the class this decision has put on the node already;
                zeros unless depends_on_copies.

        Returns:
            (M,) int64 or float64, higher is better; None when all nodes are equal (score 0);
            CoupledScores when a copy changes the scores of other nodes, `copies` being zeros then.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mutual:
    """What pods of one batch add to each other's scores where they share a domain.

    Args:
        pod: index of the class that is scored.
        others: by index of a class, which may be `pod` itself, how many points of the 0-100 score
            one more pod of it in the same domain adds, or takes off (before the weight).
        domain: (N,) int64 codes of nodes, -1 for nodes on which nobody counts.
    """

    pod: int
    others: Mapping[int, float]
    domain: Counts


@runtime_checkable
class MutualScorer(Protocol):
    """A scorer that also says what pods which are placed together would mean to each other.

    A Placement takes it into its goal `prefer: pods`; scores alone say only what pods that run
    mean to those that come.
    """

    def mutual(self, pods: Sequence[PodClass], snapshot: Snapshot, rows: Rows) -> Iterable[Mutual]:
        """Say what each further pod of the classes would change in the scores of the classes.

        Args:
            pods: the classes of the batch.
            snapshot: the cluster before it.
            rows: where they may go.
        """
        ...


class BatchRule(Protocol):
    """What a plugin says of batch placements (kind Placement); see scheduler.batch_terms.

    A Rebalance asks it of what runs, as if that were one batch, before and while pods are moved.
    A rule that also holds for pods placed one by one needs a filter for these, which may have the
    same name. Synchronous and pure, as filters are.
    """

    @property
    def name(self) -> str:
        """CamelCase, unique among batch rules; in messages, goals and settings."""
        ...

    def terms(self, batch: Batch) -> Iterable[Term]:
        """Say what holds for every plan of a batch, and what is good.

        Called before the solver begins, and of what runs before pods are moved. If it fails, so
        does the Placement or the Rebalance.
        """
        ...

    def check(self, batch: Batch, plan: BatchPlan) -> Iterable[Complaint]:
        """Judge a plan before it is applied, from the counts alone: the solver is not believed.

        Called again for what is left of the plan, until there is no complaint. Of what runs, a
        complaint is no news that was made before any pod was moved.
        """
        ...


@hookspec
def ironfree_drivers() -> Sequence[Driver]:
    """Container engines this plugin can drive; names are unique over all plugins.

    What their hosts may offer besides is in scheduler.streams and drivers.CrowdHost.
    """
    raise NotImplementedError


@hookspec
def ironfree_filters(args: Args) -> Sequence[Filter]:
    """Filters, in the order their reasons are given (the first to reject a node is named).

    Called once per profile.

    Args:
        args: the profile's arguments of rules.

    Raises:
        ConfigurationError: arguments that cannot be; says which and why.
    """
    raise NotImplementedError


@hookspec
def ironfree_scorers(args: Args) -> Sequence[Scorer]:
    """Scorers; their weighted scores add up, the highest sum wins, then the lowest row.

    Called once per profile; a profile may give a scorer another weight than its own.

    Args:
        args: the profile's arguments of rules.

    Raises:
        ConfigurationError: arguments that cannot be; says which and why.
    """
    raise NotImplementedError


@hookspec
def ironfree_batch_rules(args: Args) -> Sequence[BatchRule]:
    """Rules of batch placements: costs, constraints and bounds for the solver, and their check.

    Called once per profile; a rule that the profile disables (as a filter) does not run.

    Args:
        args: the profile's arguments of rules.

    Raises:
        ConfigurationError: arguments that cannot be; says which and why.
    """
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node, for plugins that answer node by node.

    Args:
        allocatable, requested: resource → amount; requested includes `copies`.
        copies: pods of the class that this decision has put here already.
    """

    facts: NodeFacts
    allocatable: Mapping[str, int]
    requested: Mapping[str, int]
    copies: int = 0

    @property
    def name(self) -> str:
        """The node's name."""
        return self.facts.name

    @property
    def labels(self) -> Mapping[str, str]:
        """The node's labels."""
        return self.facts.labels


def node_view(
    snapshot: Snapshot, row: int, pod: PodClass | None = None, copies: int = 0
) -> NodeView:
    """Return one row of a snapshot, with `copies` of the class already on it."""
    names = snapshot.resources
    requested: dict[str, int] = dict(zip(names, snapshot.requested[:, row].tolist(), strict=True))
    for name, amount in pod.requests.amounts.items() if pod and copies else ():
        if name in requested:
            requested[name] += amount * copies
    allocatable = dict(zip(names, snapshot.allocatable[:, row].tolist(), strict=True))
    return NodeView(snapshot.nodes[row], allocatable, requested, copies)


@dataclass(frozen=True)
class PerNodeFilter(ABC):
    """A filter written node by node: implement `rejects`."""

    name: str
    wakes_on: Change = Change.ANY

    @abstractmethod
    def rejects(self, pod: PodClass, node: NodeView) -> str | None:
        """Return why the pod may not run on the node, or None if it may."""

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Ask `rejects` for every node."""
        groups: dict[str, Mask] = {}
        room = snapshot.every()
        for row in range(snapshot.size):
            reason = self.rejects(pod, node_view(snapshot, row))
            if reason is not None:
                room[row] = False
                groups.setdefault(reason, snapshot.none())[row] = True
        if not groups:
            return None
        return Verdict(room, lambda: [Rejection(r, nodes) for r, nodes in groups.items()])


@dataclass(frozen=True)
class PerNodeScorer(ABC):
    """A scorer written node by node: implement `rate`."""

    name: str
    weight: int = 1
    normalise: Normalise = Normalise.NONE
    depends_on_copies: bool = field(default=True)

    @abstractmethod
    def rate(self, pod: PodClass, node: NodeView) -> float:
        """Return how good the node is for one more pod, 0-100 unless normalised."""

    def score(self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts) -> Scores | None:
        """Ask `rate` for every row."""
        pairs = zip(rows.tolist(), copies.tolist(), strict=True)
        rates = [self.rate(pod, node_view(snapshot, row, pod, n)) for row, n in pairs]
        return np.array(rates, dtype=np.float64)
