"""Batch placement jobs: the typed view of Placements."""

from datetime import datetime
from enum import StrEnum

import msgspec

from .meta import ObjectMeta
from .objective import Goal
from .pod import LabelSelector, View
from .rebalance_job import PlannedMove
from .stored import StoredObject

RESOURCE = "placements.ironfree.dev"
PRICE = "ironfree.dev/price"
"""Label of a Node: what it costs to use it at all, a decimal number; 1 where it is absent."""
VALUE = "ironfree.dev/value"
"""Annotation of a pod template, label of a pod: what placing it is worth; 1 where it is absent."""

DEFAULT_DEADLINE = 30
MOST_SECONDS = 3600
MOST_PODS = 200_000
MOST_DISPLACED = 500  # pods that a Placement may move, and as many that it may evict
DEFAULT_WAIT = 300
MOST_UNPLACED = 100  # classes that status tells of


class Phase(StrEnum):
    """How far a Placement is.

    CLEARING: running pods are moved or evicted. The last five are final. INFEASIBLE: it is proved
    that nothing of what was asked can be placed.
    """

    PENDING = "Pending"
    SOLVING = "Solving"
    CLEARING = "Clearing"
    COMMITTING = "Committing"
    PLANNED = "Planned"
    COMMITTED = "Committed"
    INFEASIBLE = "Infeasible"
    CANCELLED = "Cancelled"
    FAILED = "Failed"


FINAL = frozenset({Phase.PLANNED, Phase.COMMITTED, Phase.INFEASIBLE, Phase.CANCELLED, Phase.FAILED})


class Template(View, frozen=True):
    """Copies of a pod that need not exist; `template` stays JSON (core/v1 PodTemplateSpec)."""

    name: str = ""
    count: int = 1
    template: msgspec.Raw = msgspec.Raw(b"{}")


class Pods(View, frozen=True):
    """Which pods: pending ones of the namespace by selector and group, and copies of templates."""

    selector: LabelSelector | None = None
    groups: tuple[str, ...] = ()
    templates: tuple[Template, ...] = ()


class Hosts(View, frozen=True):
    """Which hosts: the cluster's Nodes by selector, or `nodes`, which are given as JSON."""

    selector: LabelSelector | None = None
    nodes: tuple[msgspec.Raw, ...] = ()


class Limits(View, frozen=True):
    """What may be done to running pods so that more of a Placement's have room.

    Args:
        max_moves: pods that may be replaced on other hosts, in all attempts together.
        max_preemptions: pods of lower priority that may be evicted, likewise.
        wait_seconds: how long a move may take, and an evicted pod to go.
    """

    max_moves: int = 0
    max_preemptions: int = 0
    wait_seconds: int = DEFAULT_WAIT

    @property
    def any(self) -> bool:
        """Whether anything may be done to anybody."""
        return self.max_moves > 0 or self.max_preemptions > 0


class PlacementSpec(View, frozen=True):
    """ironfree.dev/v1 PlacementSpec."""

    mode: str = "plan"
    pods: Pods = Pods()
    hosts: Hosts = Hosts()
    objective: tuple[Goal, ...] = ()
    deadline_seconds: int = DEFAULT_DEADLINE
    profile: str = ""
    cancelled: bool = False
    limits: Limits = Limits()


class Reached(msgspec.Struct, frozen=True, rename="camel"):
    """What is reached of one goal, as decimal text; gap is a share of the bound."""

    name: str
    value: str
    bound: str
    gap: str


class SolverReport(msgspec.Struct, frozen=True, rename="camel"):
    """How far the solver is."""

    status: str = ""
    phase: str = ""
    goals: tuple[Reached, ...] = ()
    seconds: str = ""
    reason: str = ""


class Unplaced(msgspec.Struct, frozen=True, rename="camel"):
    """Pods of one class without a node, one of them by name."""

    pod: str
    count: int
    reason: str


class Victim(msgspec.Struct, frozen=True, rename="camel"):
    """A pod of lower priority that is evicted from a node.

    Args:
        pod: namespace/name.
        why: whom it makes room for.
    """

    pod: str
    uid: str
    node: str
    why: str


class Nominated(msgspec.Struct, frozen=True, rename="camel"):
    """A pod that waits, by namespace/name, to which a host that is being cleared is promised."""

    pod: str
    uid: str


class PlacementStatus(msgspec.Struct, frozen=True, rename="camel"):
    """ironfree.dev/v1 PlacementStatus; counts are always written.

    Args:
        attempts: how often it was solved, because the cluster changed before the commit.
        moves: of the plan that stands; those with `since` have begun.
        victims: of the plan that stands.
        moved: moves that have begun, of all attempts. evicted: pods that were, likewise.
        nominated: while victims leave; whoever goes on after a crash takes that back.
    """

    phase: str = Phase.PENDING
    message: str = ""
    observed_generation: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    pods: int = 0
    placed: int = 0
    hosts_used: int = 0
    solver: SolverReport | None = None
    unplaced: tuple[Unplaced, ...] = ()
    attempts: int = 0
    moves: tuple[PlannedMove, ...] = ()
    victims: tuple[Victim, ...] = ()
    moved: int = 0
    evicted: int = 0
    nominated: tuple[Nominated, ...] = ()


class PlacementJob(msgspec.Struct, frozen=True):
    """A Placement as its runner sees it."""

    meta: ObjectMeta
    spec: PlacementSpec
    status: PlacementStatus
    stored: StoredObject

    @property
    def ended(self) -> bool:
        """Whether nothing more is done about it."""
        return self.status.phase in FINAL


class _Body(msgspec.Struct):
    spec: PlacementSpec = PlacementSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(PlacementStatus)


def placement_job(stored: StoredObject) -> PlacementJob:
    """Return the typed view of a stored Placement."""
    return PlacementJob(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else PlacementStatus(),
        stored=stored,
    )
