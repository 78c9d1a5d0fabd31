"""What a Deployment's ReplicaSets should become, one step at a time. Pure.

Kubernetes' deployment controller: a ReplicaSet per template, revisions in annotations, scaling in
proportion, rolling within maxSurge and maxUnavailable, recreating, and the conditions that
`kubectl rollout` reads (deployment_status).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..objects.deployment import Deployment, DeploymentStatus
from ..objects.meta import ObjectMeta
from ..objects.pod_owner import PodTemplate
from ..objects.replication import Replication
from .deployment_status import Progress, next_status, overdue_in
from .template_hash import identity, template_hash

REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MOST = "deployment.kubernetes.io/max-replicas"
_NOT_INHERITED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        _HISTORY,
        _DESIRED,
        _MOST,
    }
)
_HISTORY_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class NewReplicaSet:
    """The ReplicaSet of the present template, to be made."""

    name: str
    hash: str
    replicas: int
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What a ReplicaSet is to have."""

    of: Replication
    replicas: int
    annotations: Mapping[str, str]
    min_ready_seconds: int


@dataclass(frozen=True, slots=True)
class Claims:
    """The ReplicaSets that are a Deployment's, to be taken over, and to be let go."""

    owned: tuple[Replication, ...]
    adopt: tuple[Replication, ...]
    release: tuple[Replication, ...]


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What to write for one Deployment.

    Args:
        revision: of the template, for the Deployment's annotation; 0 leaves it.
        status: to be; equal to the present one when nothing has changed.
        look_again: when the deadline of its progress ends.
    """

    status: DeploymentStatus
    create: NewReplicaSet | None = None
    changes: tuple[Change, ...] = ()
    deletes: tuple[Replication, ...] = ()
    revision: int = 0
    look_again: timedelta | None = None


def claims(deployment: Deployment, found: Iterable[Replication]) -> Claims:
    """Sort out the ReplicaSets that it owns and the orphans that its selector finds."""
    owned: list[Replication] = []
    adopt: list[Replication] = []
    release: list[Replication] = []
    deleting = deployment.meta.deletion_timestamp is not None
    for each in found:
        owner = each.meta.controller_owner()
        matches = deployment.selector.matches(each.meta.labels)
        if owner is None:
            if matches and not deleting and each.meta.deletion_timestamp is None:
                adopt.append(each)
        elif owner.uid == deployment.meta.uid:
            (owned if matches or deleting else release).append(each)
    return Claims((*owned, *adopt), tuple(adopt), tuple(release))


def plan(
    deployment: Deployment,
    sets: Sequence[Replication],
    pods_left: Callable[[Collection[str]], bool],
    now: datetime,
) -> DeploymentPlan:
    """Return the next step towards what a Deployment asks for.

    Args:
        sets: the ReplicaSets it owns.
        pods_left: tells whether pods that have not ended belong to ReplicaSets of these uids.
    """
    rollout = _Rollout(deployment, sets)
    if deployment.meta.deletion_timestamp is None:
        rollout.step(pods_left)
    made = rollout.create
    status = next_status(
        deployment,
        sets,
        Progress(
            new=rollout.new,
            name=made.name if made is not None else rollout.new.meta.name if rollout.new else "",
            created=made is not None,
            found=rollout.found_anew,
        ),
        now,
    )
    return DeploymentPlan(
        status,
        rollout.create,
        rollout.changes(),
        tuple(rollout.deletes),
        rollout.revision,
        overdue_in(deployment, status, now),
    )


class _Rollout:
    """A step being planned."""

    def __init__(self, deployment: Deployment, sets: Sequence[Replication]) -> None:
        self.deployment = deployment
        self.wanted = deployment.spec.replicas
        self.sets = sorted(sets, key=_age)
        self.new = next((s for s in self.sets if is_of(s, deployment.template)), None)
        self.old = [each for each in self.sets if each is not self.new]
        self.replicas = {each.meta.uid: each.spec.replicas for each in sets}
        self.annotations = {each.meta.uid: dict(each.meta.annotations) for each in sets}
        self.create: NewReplicaSet | None = None
        self.deletes: list[Replication] = []
        self.revision = 0
        self.found_anew = False

    def step(self, pods_left: Callable[[Collection[str]], bool]) -> None:
        """Do one thing: scale, or move the rollout on."""
        if self.new is not None:
            self._renew(self.new)
        if self.deployment.spec.paused:
            self._scale(pods_left)
            self._tidy()
        elif self.deployment.recreates:
            self._recreate(pods_left)
        elif self._rescaled():
            self._scale(pods_left)
        else:
            self._roll()

    def changes(self) -> tuple[Change, ...]:
        """Return what is different of the ReplicaSets."""
        ready = self.deployment.spec.min_ready_seconds
        found: list[Change] = []
        for each in self.sets:
            uid = each.meta.uid
            seconds = ready if each is self.new else each.spec.min_ready_seconds
            before = (each.spec.replicas, each.meta.annotations, each.spec.min_ready_seconds)
            after = (self.replicas[uid], self.annotations[uid], seconds)
            if before != after:
                found.append(Change(each, *after))
        return tuple(found)

    def _renew(self, new: Replication) -> None:
        """Make the ReplicaSet of the template the latest revision."""
        said = self.annotations[new.meta.uid]
        said.update(_inherited(self.deployment.meta))
        latest, before = self._latest() + 1, said.get(REVISION, "")
        if revision_of(new.meta) < latest:
            said[REVISION] = str(latest)
            if before:
                history = [*filter(None, said.get(_HISTORY, "").split(",")), before]
                while len(",".join(history)) > _HISTORY_LENGTH:
                    history.pop(0)
                said[_HISTORY] = ",".join(history)
        self.revision = int(said[REVISION])
        self.found_anew = True

    def _latest(self) -> int:
        return max((revision_of(each.meta) for each in self.old), default=0)

    def _make(self) -> None:
        deployment, revision = self.deployment, self._latest() + 1
        named = template_hash(deployment.template, deployment.status.collision_count)
        said = _inherited(deployment.meta) | {REVISION: str(revision)} | self._size()
        name = f"{deployment.meta.name}-{named}"
        self.create = NewReplicaSet(name, named, self._allowed(0), said)
        self.revision = revision

    def _size(self) -> dict[str, str]:
        return {_DESIRED: str(self.wanted), _MOST: str(self.wanted + self.deployment.surge)}

    def _allowed(self, present: int) -> int:
        """Return how many replicas the new ReplicaSet may have, now that it has so many."""
        if self.deployment.recreates:
            return self.wanted
        room = self.wanted + self.deployment.surge - sum(self.replicas.values())
        return present + min(room, self.wanted - present) if room > 0 else present

    def _set(self, each: Replication, replicas: int) -> None:
        """Give a ReplicaSet a number, and note what it is a part of."""
        self.replicas[each.meta.uid] = replicas
        self.annotations[each.meta.uid].update(self._size())

    def _active(self, sets: Iterable[Replication]) -> list[Replication]:
        return [each for each in sets if self.replicas[each.meta.uid] > 0]

    def _rescaled(self) -> bool:
        """Tell whether the Deployment's number has changed since its ReplicaSets were scaled."""
        noted = (each.meta.annotations.get(_DESIRED, "") for each in self._active(self.sets))
        return any(said.isdigit() and int(said) != self.wanted for said in noted)

    def _scale(self, pods_left: Callable[[Collection[str]], bool]) -> None:
        """Spread a changed number over the ReplicaSets there are (proportional scaling).

        Where all old pods go first, none is added beside what is left of another ReplicaSet.
        """
        active = self._active(self.sets)
        only = active[0] if len(active) == 1 else None
        if not active:
            only = self.new or (self.old[-1] if self.old else None)
        if only is not None:
            grows = self.wanted > self.replicas[only.meta.uid]
            others = [each for each in self.sets if each is not only]
            if not (self.deployment.recreates and grows and _staffed(others, pods_left)):
                self._set(only, self.wanted)
            return
        if self._saturated():
            for each in self._active(self.old):
                self._set(each, 0)
        elif not self.deployment.recreates:
            self._spread(active)

    def _saturated(self) -> bool:
        new, wanted = self.new, self.wanted
        if new is None:
            return False
        noted = new.meta.annotations.get(_DESIRED)
        return (
            noted == str(wanted)
            and new.spec.replicas == wanted
            and new.status.available_replicas == wanted
        )

    def _spread(self, active: Sequence[Replication]) -> None:
        most = self.wanted + self.deployment.surge if self.wanted else 0
        missing = most - sum(self.replicas[each.meta.uid] for each in active)
        # of equal size the newest grows first, the oldest shrinks first
        ordered = sorted(active, key=_age, reverse=missing > 0)
        ordered.sort(key=lambda s: -self.replicas[s.meta.uid])
        added, sizes = 0, dict[str, int]()
        for each in ordered:
            part = self._proportion(each, missing, added) if missing else 0
            sizes[each.meta.uid] = self.replicas[each.meta.uid] + part
            added += part
        for each in ordered:
            rest = missing - added if each is ordered[0] and missing else 0
            self._set(each, max(0, sizes[each.meta.uid] + rest))

    def _proportion(self, each: Replication, missing: int, added: int) -> int:
        """Return a ReplicaSet's part of what is missing (negative: too much)."""
        size, left = self.replicas[each.meta.uid], missing - added
        if not self.wanted:
            part = -size
        else:
            noted = each.meta.annotations.get(_MOST, "")
            before = int(noted) if noted.isdigit() else self.deployment.status.replicas
            most = self.wanted + self.deployment.surge
            part = (2 * size * most + before) // (2 * before) - size if before else 0
        return min(part, left) if missing > 0 else max(part, left)

    def _recreate(self, pods_left: Callable[[Collection[str]], bool]) -> None:
        active = self._active(self.old)
        for each in active:
            self._set(each, 0)
        if active or _staffed(self.old, pods_left):
            return
        if self.new is None:
            self._make()
        else:
            self._set(self.new, self.wanted)
        self._tidy()

    def _roll(self) -> None:
        if self.new is None:
            self._make()
            return
        present = self.replicas[self.new.meta.uid]
        allowed = self.wanted if present > self.wanted else self._allowed(present)
        if allowed != present:
            self._set(self.new, allowed)
        elif not self._shrink_old(self.new):
            self._tidy()

    def _shrink_old(self, new: Replication) -> bool:
        """Take from the old ReplicaSets what availability allows; tell whether that is any."""
        old = self._active(self.old)
        needed = self.wanted - self.deployment.unavailable
        missing = self.replicas[new.meta.uid] - new.status.available_replicas
        most = sum(self.replicas.values()) - needed - missing
        if not old or most <= 0:
            return False
        taken = self._take(old, most, _unhealthy)
        available = sum(each.status.available_replicas for each in self.sets)
        taken += self._take(old, available - needed, lambda _each, size: size)
        return taken > 0

    def _take(
        self, sets: Sequence[Replication], most: int, offered: Callable[[Replication, int], int]
    ) -> int:
        """Shrink the oldest first, each by what it offers at its size."""
        taken = 0
        for each in sets:
            size = self.replicas[each.meta.uid]
            part = min(most - taken, offered(each, size))
            if part > 0:
                self._set(each, size - part)
                taken += part
        return taken

    def _tidy(self) -> None:
        """Have the ReplicaSets of revisions beyond the limit deleted, once the rollout is over."""
        deployment, status = self.deployment, self.deployment.status
        over = (
            {status.updated_replicas, status.replicas, status.available_replicas} == {self.wanted}
            and status.observed_generation >= deployment.meta.generation
        ) or deployment.spec.paused
        alive = [each for each in self.old if each.meta.deletion_timestamp is None]
        surplus = len(alive) - deployment.spec.revision_history_limit
        if not over or surplus <= 0:
            return
        oldest = sorted(alive, key=lambda each: (revision_of(each.meta), _age(each)))
        self.deletes = [
            each
            for each in oldest[:surplus]
            if not self.replicas[each.meta.uid]
            and not each.status.replicas
            and each.status.observed_generation >= each.meta.generation
        ]


def _staffed(sets: Sequence[Replication], pods_left: Callable[[Collection[str]], bool]) -> bool:
    """Tell whether ReplicaSets have pods, or may be making some by a number they had before."""
    unseen = any(each.status.observed_generation < each.meta.generation for each in sets)
    return unseen or pods_left([each.meta.uid for each in sets])


def _unhealthy(each: Replication, size: int) -> int:
    return size - min(each.status.available_replicas, size)


def _age(each: Replication) -> tuple[float, str]:
    made = each.meta.creation_timestamp
    return (made.timestamp() if made is not None else 0.0, each.meta.name)


def revision_of(meta: ObjectMeta) -> int:
    """Return the revision in an object's annotations, 0 where there is none."""
    said = meta.annotations.get(REVISION, "")
    return int(said) if said.isdigit() else 0


def _inherited(meta: ObjectMeta) -> dict[str, str]:
    """Return the annotations that a Deployment hands down to its ReplicaSet."""
    return {key: value for key, value in meta.annotations.items() if key not in _NOT_INHERITED}


def is_of(each: Replication, template: PodTemplate) -> bool:
    """Tell whether a ReplicaSet makes the pods of a template."""
    return each.template is not None and identity(each.template) == identity(template)
