"""Rebalances: the typed view, and what may be moved."""

from datetime import datetime
from enum import StrEnum

import msgspec

from .meta import ObjectMeta
from .objective import Goal
from .pod import LabelSelector, View
from .stored import StoredObject

RESOURCE = "rebalances.ironfree.dev"
MOVABLE = "ironfree.dev/movable"
"""Annotation of a pod: "false" keeps it where it is, "true" lets go of its local data."""
RETURNABLE = "ironfree.dev/returnable"
"""Key of the taint that keeps new pods off a host that a Rebalance empties or has emptied."""

MOST_MOVES = 500  # that a plan may have
MOST_FIXED = 100  # hosts whose reason to stay is told
MOST_HOSTS = 1000  # names of hosts in a status
MOST_HOPELESS = 100  # pods whose proof is told
MOST_SHAPES = 16
MOST_COPIES = 1000  # of a shape


class Phase(StrEnum):
    """What a Rebalance is about.

    PLANNED: its plan stands, and is not acted upon. QUIET: nothing is worth moving. WAITING: moves
    are planned and may not begin yet.
    """

    PENDING = "Pending"
    PLANNED = "Planned"
    MOVING = "Moving"
    WAITING = "Waiting"
    QUIET = "Quiet"
    SUSPENDED = "Suspended"
    FAILED = "Failed"


class RebalanceHosts(View, frozen=True):
    """Which hosts: pods are moved from and to these only."""

    selector: LabelSelector | None = None


class RebalancePods(View, frozen=True):
    """Which pods may be moved; namespaces () are all."""

    selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()


class MoveBudget(View, frozen=True):
    """How much may be moved."""

    max_moves_per_hour: int = 60
    max_parallel: int = 2


class Shape(View, frozen=True):
    """Pods that there should be room for; `template` stays JSON (core/v1 PodTemplateSpec)."""

    name: str = ""
    count: int = 1
    template: msgspec.Raw = msgspec.Raw(b"{}")


class RebalanceSpec(View, frozen=True):
    """ironfree.dev/v1 RebalanceSpec.

    Args:
        goal: "consolidate" empties hosts, "defragment" makes room for shapes, "improve" is for the
            objective, "none" does none of it.
        shapes: for defragment, the most important first; () for those of pods that wait.
        moves_per_host: what a host that is emptied, or a pod that gets room, may cost at most.
        make_room: whether pods are moved so that pending ones fit.
        rest_seconds: how long a pod that was moved is left alone.
        windows: within which moves begin (objects.windows); () is always.
        objective: for improve, as of Placements (objects.objective).
        min_gain_percent: of what a goal was, by which a plan for improve must make it better.
    """

    mode: str = "plan"
    suspended: bool = False
    hosts: RebalanceHosts = RebalanceHosts()
    pods: RebalancePods = RebalancePods()
    budget: MoveBudget = MoveBudget()
    moves_per_host: int = 20
    make_room: bool = False
    interval_seconds: int = 300
    rest_seconds: int = 3600
    move_seconds: int = 600
    deadline_seconds: int = 10
    windows: tuple[str, ...] = ()
    profile: str = ""
    goal: str = "consolidate"
    shapes: tuple[Shape, ...] = ()
    objective: tuple[Goal, ...] = ()
    min_gain_percent: int = 1


class PlannedMove(msgspec.Struct, frozen=True, rename="camel"):
    """A pod that is to be replaced on another host.

    Args:
        pod: namespace/name.
        since: when it began; None for one that has not.
    """

    pod: str
    uid: str
    source: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    why: str = ""
    since: datetime | None = None


class HostCounts(msgspec.Struct, frozen=True, rename="camel"):
    """How many hosts have pods.

    Args:
        after: once the plan is carried out.
        bound: fewer cannot do, whatever is moved; "" where it is not known.
    """

    total: int = 0
    used: int = 0
    after: int = 0
    bound: str = ""


class ShapeRoom(msgspec.Struct, frozen=True):
    """How many copies of a shape have room, those of other shapes aside.

    Args:
        after: once the plan is carried out.
        bound: more cannot have, whatever is moved; "" where it is not known.
    """

    name: str
    wanted: int
    fit: int
    after: int
    bound: str = ""


class Hopeless(msgspec.Struct, frozen=True):
    """A waiting pod that is proved to have no room, whatever is moved."""

    pod: str
    uid: str
    reason: str


class FixedHost(msgspec.Struct, frozen=True):
    """A host that cannot be emptied, and why."""

    host: str
    reason: str


class GoalReached(msgspec.Struct, frozen=True):
    """What a plan is worth in one goal, as decimal text.

    Args:
        before: as pods are now. after: once the plan is carried out.
        bound: no placement of the pods that may be moved is better; "" where it is not known.
    """

    name: str
    before: str
    after: str
    bound: str = ""


class RebalanceStatus(msgspec.Struct, frozen=True, rename="camel"):
    """ironfree.dev/v1 RebalanceStatus; counts are always written.

    Args:
        returnable: hosts that have no pods once the plan is carried out.
        moves: planned, not begun. active: begun, not ended.
        begun: when the moves of the last hour began.
        made: moves that ended well. missed: that ended otherwise.
        room: pending pods that the plan gives room.
        hopeless: pending pods that nothing gives room. shapes: what defragmenting comes to.
        goals: what improving comes to, the most important first.
    """

    phase: str = Phase.PENDING
    message: str = ""
    observed_generation: int = 0
    last_plan_time: datetime | None = None
    next_plan_time: datetime | None = None
    hosts: HostCounts | None = None
    returnable: tuple[str, ...] = ()
    moves: tuple[PlannedMove, ...] = ()
    active: tuple[PlannedMove, ...] = ()
    begun: tuple[datetime, ...] = ()
    made: int = 0
    missed: int = 0
    fixed: tuple[FixedHost, ...] = ()
    room: tuple[str, ...] = ()
    hopeless: tuple[Hopeless, ...] = ()
    shapes: tuple[ShapeRoom, ...] = ()
    goals: tuple[GoalReached, ...] = ()


class RebalanceJob(msgspec.Struct, frozen=True):
    """A Rebalance as its runner sees it."""

    meta: ObjectMeta
    spec: RebalanceSpec
    status: RebalanceStatus

    @property
    def acts(self) -> bool:
        """Whether it may move pods."""
        spec = self.spec
        return spec.mode == "auto" and not spec.suspended and self.meta.deletion_timestamp is None


class _Body(msgspec.Struct):
    spec: RebalanceSpec = RebalanceSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(RebalanceStatus)


def rebalance_job(stored: StoredObject) -> RebalanceJob:
    """Return the typed view of a stored Rebalance."""
    return RebalanceJob(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else RebalanceStatus(),
    )
