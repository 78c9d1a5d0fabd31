"""Members of PodGroups: held back until there are enough of them, then tried as one.

Pure. A group's waiting members are kept here. While fewer are there than must get their nodes
together, they cost nothing and are told what is missing. Once there are enough, one entry in the
scheduling queue stands for all of them (a Gang), with one place in a line, one reason and one
back-off. When `minMember` of a group have nodes, those that still wait are pods like any others:
they join the queue by themselves until fewer have nodes again.

A member has a node while it is bound, has not ended and is not being deleted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ..hookspecs import Change
from ..objects.pod_class import PodClass
from ..objects.pod_group import MOST_MEMBERS, RESOURCE, PodGroup, obstacle
from ..objects.stored import ObjectKey
from .framework import Diagnosis
from .plan import Gang, PendingPod
from .queue import SchedulingQueue

_PLACES = ("active", "backoff", "parked", "flying", "gated")
HELD_BACK = 1.0  # seconds from when a group changes until its members are told what is missing

Report = Callable[[Iterable[PendingPod], str], None]


@dataclass(slots=True)
class _Member:
    """A member without a node.

    Args:
        told: the reason for holding it back that it was last told.
    """

    pod: PodClass
    pending: PendingPod
    arrived: float
    told: str = ""


_Members = dict[ObjectKey, _Member]


@dataclass(slots=True, eq=False)
class _Company:
    """The live pods of one group; each is in one of the four places.

    Args:
        waiting: held back, or in the queue as the gang.
        apart: in the queue by themselves, because enough have nodes.
        flying: being decided on or bound together.
        bound: those with nodes.
        entry: what the queue has of it.
        ticket: what stands for it there while it is being decided on or bound.
        news: what it consists of has changed since it was last looked at.
        why: why it is held back.
    """

    key: ObjectKey
    group: PodGroup | None = None
    waiting: _Members = field(default_factory=_Members)
    apart: _Members = field(default_factory=_Members)
    flying: _Members = field(default_factory=_Members)
    bound: set[ObjectKey] = field(default_factory=set[ObjectKey])
    entry: Gang | None = None
    ticket: PendingPod | None = None
    news: bool = False
    why: str = ""

    @property
    def satisfied(self) -> bool:
        """Whether enough of its pods have nodes."""
        return self.group is not None and not self.group.wanting(len(self.bound))

    @property
    def empty(self) -> bool:
        """Whether nothing is known of it."""
        return self.group is None and not (self.waiting or self.apart or self.flying or self.bound)


@dataclass(frozen=True, slots=True)
class Muster:
    """The members of a gang that are to be decided on together.

    Args:
        pods: by class, in order of arrival.
        wanting: how many of them must get nodes.
    """

    gang: Gang
    pods: dict[PodClass, list[PendingPod]]
    wanting: int


class Gangs:
    """Every pod of every group.

    Args:
        queue: where gangs wait once they are complete.
        report: told which pods wait, and why, when that is known without trying.
    """

    def __init__(self, queue: SchedulingQueue, report: Report) -> None:
        self._queue = queue
        self._report = report
        self._companies: dict[ObjectKey, _Company] = {}
        self._of: dict[ObjectKey, _Company] = {}  # pod → where it belongs
        self._changed: dict[_Company, None] = {}
        self._untold: dict[_Company, None] = {}
        self._tell_at: float | None = None

    def set_group(self, key: ObjectKey, group: PodGroup | None) -> None:
        """Take over a group's state; None: it is gone."""
        company = self._company(key)
        before, company.group = company.group, group
        if before is None or group is None or _differ(before, group):
            self._news(company)

    def wait(self, pod: PodClass, pending: PendingPod, now: float) -> None:
        """A member wants a node, or has changed while it does."""
        company = self._company(ObjectKey(RESOURCE, pod.namespace, pod.group))
        if self._of.get(pending.key) is not company:
            self.leave(pending.key)
        self._of[pending.key] = company
        apart = company.apart.get(pending.key)
        if apart is not None:
            apart.pod = pod
            self._join(apart)
            return
        known = company.waiting.get(pending.key)
        if known is None or known.pending != pending:
            self._queue.remove(pending.key)  # it may have waited as no member
            company.waiting[pending.key] = _Member(pod, pending, now)
            self._news(company)
        elif known.pod != pod:
            known.pod = pod
            self._news(company)

    def bound(self, pod: PodClass, key: ObjectKey) -> None:
        """A member has a node."""
        company = self._company(ObjectKey(RESOURCE, pod.namespace, pod.group))
        if self._of.get(key) is company and key in company.bound:
            return
        self.leave(key)
        self._of[key] = company
        company.bound.add(key)
        self._news(company)

    def leave(self, key: ObjectKey) -> None:
        """Forget a pod, which may be a member."""
        company = self._of.pop(key, None)
        if company is None:
            return
        for place in (company.waiting, company.apart, company.flying):
            place.pop(key, None)
        company.bound.discard(key)
        self._news(company)

    def settle(self) -> None:
        """Put every group that has changed where it belongs."""
        while self._changed:
            company, _ = self._changed.popitem()
            if company.ticket is None:  # otherwise when it has landed
                self._settle(company)

    def satisfied(self, pod: PodClass) -> bool:
        """Tell whether members of a class may get nodes by themselves."""
        company = self._companies.get(ObjectKey(RESOURCE, pod.namespace, pod.group))
        return company is not None and company.satisfied

    def take_back(self, pods: Sequence[PendingPod]) -> None:
        """Members that left the queue by themselves may not any more."""
        for pending, arrived in zip(pods, self._queue.arrivals(pods), strict=True):
            self._queue.remove(pending.key)
            company = self._of[pending.key]
            member = company.apart.pop(pending.key)
            member.arrived = arrived
            company.waiting[pending.key] = member
            self._news(company)
        self.settle()

    def stands(self, pod: PodClass) -> bool:
        """Tell whether members of a class may be given nodes, together or by themselves."""
        company = self._companies.get(ObjectKey(RESOURCE, pod.namespace, pod.group))
        return company is not None and (company.entry is not None or company.satisfied)

    def size(self, gang: Gang) -> int:
        """Return how many members of a gang wait."""
        return len(self._companies[gang.key].waiting)

    def take(self, gang: Gang, ticket: PendingPod) -> Muster:
        """Return the members of a gang that has left the queue."""
        company = self._companies[gang.key]
        assert company.group is not None
        company.ticket = ticket
        keys = list(company.waiting)[:MOST_MEMBERS]
        company.flying = {key: company.waiting.pop(key) for key in keys}
        pods: dict[PodClass, list[PendingPod]] = {}
        for member in company.flying.values():
            member.told = ""
            pods.setdefault(member.pod, []).append(member.pending)
        return Muster(gang, pods, company.group.wanting(len(company.bound)))

    def arrivals(self, pods: Iterable[PendingPod]) -> list[float]:
        """Return when each of some members that are being decided on arrived."""
        return [self._of[pod.key].flying[pod.key].arrived for pod in pods]

    def park(self, gang: Gang, diagnosis: Diagnosis, now: float) -> None:
        """A gang has not been placed."""
        ticket = self._land(gang)
        if ticket is not None:
            self._queue.park(gang, (ticket,), diagnosis, now)
            self.settle()

    def retry(self, gang: Gang, now: float, *, backoff: bool) -> None:
        """A gang has not been bound: try again at once, or after a back-off."""
        ticket = self._land(gang)
        if ticket is not None:
            self._queue.retry(gang, (ticket,), now, backoff=backoff)
            self.settle()

    def done(self, gang: Gang, pods: Iterable[PendingPod]) -> None:
        """Members of a gang have been bound."""
        company = self._companies[gang.key]
        for pod in pods:
            if company.flying.pop(pod.key, None) is not None:
                company.bound.add(pod.key)
        ticket = self._land(gang)
        if ticket is not None:
            self._queue.done(ticket.key)
            self.settle()

    def tell(self, now: float) -> float | None:
        """Tell members that are held back why, but not each time that another one comes.

        Returns:
            When to ask again, None if there is nothing to tell.
        """
        if not self._untold:
            return None
        if self._tell_at is None:
            self._tell_at = now + HELD_BACK
        if now < self._tell_at:
            return self._tell_at
        for company in self._untold:
            members = [m for m in company.waiting.values() if m.told != company.why]
            if company.why and members:
                self._report([member.pending for member in members], company.why)
                for member in members:
                    member.told = company.why
        self._untold.clear()
        self._tell_at = None
        return None

    def counts(self) -> dict[str, int]:
        """Return how many members are in each place, but for those in the queue by themselves.

        Places are those of SchedulingQueue.counts, the entries it counts for gangs taken off, and
        "gated" for those held back.
        """
        counts: dict[str, int] = dict.fromkeys(_PLACES, 0)
        for company in self._companies.values():
            place = self._queue.place_of(company.key)
            counts[place or "gated"] += len(company.waiting) - bool(place)
            counts["flying"] += len(company.flying)
        return counts

    def _settle(self, company: _Company) -> None:
        news, company.news = company.news, False
        if company.satisfied:
            company.why = ""
            self._withdraw(company)
            for key in list(company.waiting):
                member = company.apart[key] = company.waiting.pop(key)
                self._join(member)
            return
        for key in list(company.apart):
            if self._queue.place_of(key) not in ("", "flying"):
                self._queue.remove(key)
                company.waiting[key] = company.apart.pop(key)
        waiting = len(company.waiting)
        company.why = obstacle(company.key.name, company.group, waiting, len(company.bound))
        if company.why or company.group is None:
            self._withdraw(company)
            if company.waiting:
                self._untold[company] = None
        else:
            self._enter(company, company.group, news=news)
        if company.empty:
            del self._companies[company.key]

    def _enter(self, company: _Company, group: PodGroup, *, news: bool) -> None:
        """Let a complete gang wait in the queue, and not for nothing if it has changed."""
        members = company.waiting.values()
        first = next(iter(members))
        lowest = min(member.pod.priority for member in members)
        entry = Gang(company.key, lowest, first.pod.scheduler_name)
        ticket = PendingPod(company.key, group.meta.uid)
        self._queue.add(entry, ticket, first.arrived)
        if news and entry == company.entry:
            self._queue.wake(entry)
        company.entry = entry

    def _withdraw(self, company: _Company) -> None:
        if company.entry is not None and not company.satisfied:
            self._queue.changed(Change.POD_REMOVED)  # what room was kept for it is free
        self._queue.remove(company.key)
        company.entry = None

    def _join(self, member: _Member) -> None:
        """Let a member wait in the queue by itself."""
        diagnosis = self._queue.add(member.pod, member.pending, member.arrived)
        if diagnosis is not None:
            self._report((member.pending,), diagnosis.message)

    def _land(self, gang: Gang) -> PendingPod | None:
        """Let what is left of a gang wait again; returns its ticket, None if it was not away."""
        company = self._companies.get(gang.key)
        if company is None:
            return None
        ticket, company.ticket = company.ticket, None
        company.waiting = company.flying | company.waiting
        company.flying = {}
        if ticket is not None:
            self._changed[company] = None
        return ticket

    def _company(self, key: ObjectKey) -> _Company:
        company = self._companies.get(key)
        if company is None:
            company = self._companies[key] = _Company(key)
        return company

    def _news(self, company: _Company) -> None:
        company.news = True
        self._changed[company] = None


def _differ(before: PodGroup, after: PodGroup) -> bool:
    """Tell whether a group's change bears on whether its members are tried."""
    return (before.meta.uid, before.spec, before.expired) != (
        after.meta.uid,
        after.spec,
        after.expired,
    )
