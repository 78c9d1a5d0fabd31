"""Brings one pod on one host to its desired state: reconcile, carry out, report, again.

A worker is a task only while there is something to do. A slow pod keeps no other waiting, and a
deletion interrupts whatever its worker is doing: instructions may be cut off at any time, since
each can be repeated.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from ..drivers import PodObservation
from ..errors import DriverError, Fenced, StatusError
from ..objects.pod import PodStatus
from ..objects.stored import ObjectKey
from .assigned_pod import AssignedPod
from .circuit import Circuit
from .execution import Refusal, Subject, Workshop, awaited, carry_out, subject_of
from .health import Watch, after_probe
from .hooks import pod_address
from .instructions import (
    EnsureContainer,
    EnsureSandbox,
    FinishDeletion,
    Instruction,
    PullImage,
    RunPostStart,
    StopContainer,
    WriteVolumes,
)
from .lifecycle import Decision, DesiredPod, reconcile
from .memory import Eviction, PodMemory, failed, succeeded
from .pacing import Pacer
from .pod_tokens import begun, renewal
from .probing import ProbedPod
from .termination_message import listen, told, unheard
from .volume_content import sources, token_sources

_log = logging.getLogger(__name__)
_LONGEST_RETRY = 30.0
_BROKEN = EnsureSandbox | EnsureContainer | WriteVolumes
"""What a circuit holds back: whatever ends or removes something is always tried."""


class Desk(Protocol):
    """What a worker needs of the session that runs it."""

    looks: int  # how many looks at the host have begun
    fence: asyncio.Event  # set when nothing stale is left on the host
    shop: Workshop
    circuit: Circuit
    pacer: Pacer

    def assigned(self, uid: str) -> AssignedPod | None:
        """Return the pod if the store has it on this host."""
        ...

    def desired(self, assigned: AssignedPod, shown: PodStatus) -> DesiredPod:
        """Return the pod as the lifecycle wants it."""
        ...

    def report(self, assigned: AssignedPod, status: PodStatus) -> None:
        """Have a status written."""
        ...

    async def finish(self, assigned: AssignedPod) -> None:
        """Let a deleted pod go from the store."""
        ...

    def probe(self, uid: str, probed: ProbedPod | None, watches: Sequence[Watch]) -> None:
        """Have exactly these probes of a pod go on; a pod that is gone has none."""
        ...

    def follow(
        self,
        uid: str,
        keys: frozenset[ObjectKey],
        changed: Callable[[], None],
        renewal: float | None = None,
    ) -> None:
        """Have a pod hear of changes of what its volumes are made of.

        Args:
            renewal: when a token in them is due, in seconds since 1970.
        """
        ...

    def look_soon(self) -> None:
        """Ask for a look at the host."""
        ...

    async def looked(self) -> None:
        """Wait for a look that begins after this call."""
        ...

    def spawn(self, worker: "PodWorker") -> asyncio.Task[None] | None:
        """Run the worker as a task of the session; None when the session is ending."""
        ...

    def spawn_action(self, worker: "PodWorker", decision: Decision) -> asyncio.Task[bool] | None:
        """Run a decision's instructions as a task of the session; None when it is ending."""
        ...

    def settled(self, worker: "PodWorker") -> None:
        """Hear that a worker came to rest."""
        ...


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a running action was decided on; a change of it interrupts the action."""

    present: bool
    deadline: datetime | None
    eviction: Eviction | None


class PodWorker:
    """One pod's worker in one session."""

    def __init__(self, desk: Desk, uid: str, memory: PodMemory) -> None:
        self._desk = desk
        self.uid = uid
        self.memory = memory
        self.observed: PodObservation | None = None
        self._known = False  # whether `observed` is a fact or nobody has looked yet
        self._dirty = False
        self._task: asyncio.Task[None] | None = None
        self._action: asyncio.Task[bool] | None = None
        self._basis = _Basis(present=False, deadline=None, eviction=None)
        self._acted = 0  # the look that had begun when the last action ended
        self._heard = False  # of something that may have happened on the host
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._troubles = 0
        self._shown: tuple[int, PodStatus] | None = None
        self._watched = False
        self._stale = False
        self._said: dict[str, str] = {}  # by ended containers, by id

    @property
    def idle(self) -> bool:
        """Whether nothing is being done, nor will be without news."""
        return self._task is None and self._timer is None

    @property
    def nothing_there(self) -> bool:
        """Whether the host is known to have nothing of the pod."""
        return self._known and self.observed is None

    def hear(self) -> None:
        """Take in that there was an event of the pod; a look will tell what happened."""
        self._heard = True

    def see(self, look: int, observed: PodObservation | None) -> None:
        """Take in what a look found, unless this worker acted after the look began."""
        if self._action is not None:
            return
        if self._acted >= look:
            if self._heard:
                self._desk.look_soon()
            return
        self._heard = False
        if not self._known or observed != self.observed:
            self._known, self.observed = True, observed
            self.poke()

    def poke(self) -> None:
        """Reconsider the pod; interrupts an action that its deletion or eviction has overtaken."""
        self._dirty = True
        if self._action is not None and self._basis != self._basis_now():
            self._action.cancel()
        if self._task is None and self._known and not self._closed:
            self._task = self._desk.spawn(self)

    def evict(self, eviction: Eviction) -> None:
        """Have the pod stopped, and fail."""
        self.memory = replace(self.memory, eviction=eviction)
        self.poke()

    def clear(self) -> None:
        """Have nothing left on the host of the pod, which has ended."""
        self.memory = replace(self.memory, cleared=True)
        self.poke()

    def close(self) -> None:
        """Begin nothing any more; the session's tasks end with the session."""
        self._closed = True
        self._forget_timer()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def run(self) -> None:
        """Work until there is nothing to do, once its turn has come."""
        begins = self.observed is None and self._desk.assigned(self.uid) is not None
        try:
            await self._desk.pacer.send(self._rounds, first=not begins)
        except Fenced:
            raise
        except (StatusError, DriverError) as error:
            self._retry(f"pod {self.uid}: {error}")
        except Exception:  # noqa: BLE001 - a bug met by one pod must not stop its host
            _log.exception("pod %s cannot be reconciled", self.uid)
            self._retry("")
        finally:
            self._task = None
        self._desk.settled(self)

    async def _rounds(self) -> None:
        while self._dirty:
            self._dirty = False
            self._forget_timer()
            await self._round()

    def _basis_now(self) -> _Basis:
        assigned = self._desk.assigned(self.uid)
        deadline = assigned.pod.meta.deletion_timestamp if assigned else None
        return _Basis(assigned is not None, deadline, self.memory.eviction)

    async def _round(self) -> None:
        await self._listen()
        assigned = self._desk.assigned(self.uid)
        decision = self._decide(assigned)
        if decision.watches or self._watched:
            probed = self._probed(assigned) if assigned is not None else None
            self._desk.probe(self.uid, probed, decision.watches)
            self._watched = bool(decision.watches)
        if not decision.instructions:
            self._sleep_until(decision.wake_at)
        elif assigned is not None and isinstance(decision.instructions[0], FinishDeletion):
            await self._desk.finish(assigned)
        else:
            await self._act(decision)

    def _decide(self, assigned: AssignedPod | None) -> Decision:
        """Reconcile, and have the status shown."""
        desired = self._desired(assigned) if assigned else None
        seen = told(self.observed, self._said)
        decision = reconcile(desired, seen, self.memory, datetime.now(UTC))
        self.memory = decision.memory
        if assigned is not None:
            self._report(assigned, decision)
        return decision

    def _probed(self, assigned: AssignedPod) -> ProbedPod:
        seen = self.observed
        return ProbedPod(
            pod=assigned.pod,
            address=pod_address(assigned.pod, seen.sandbox if seen else None),
            started={c.id: c.started_at for c in seen.containers} if seen else {},
            judged=self._judged,
        )

    def _judged(self, watch: Watch, success: bool) -> None:
        """Take in that a probe has reached a threshold; it is shown before a long stop is over."""
        health = after_probe(self.memory.of(watch.container).health, watch, success=success)
        self.memory = self.memory.with_health(watch.container, health)
        if self._action is not None:
            self._decide(self._desk.assigned(self.uid))
        self.poke()

    def _source_changed(self) -> None:
        """Take in that something changed of which the pod's volumes are made, or are to be."""
        self._stale = True
        self.memory = replace(self.memory, volumes="", volumes_failure=None, sandbox_failure=None)
        self.poke()

    async def _listen(self) -> None:
        """Have heard what ended containers said, before anybody is told that they have ended."""
        host = self._desk.shop.host
        while ended := next(unheard(self.observed, self._said), None):
            assigned = self._desk.assigned(self.uid)
            if assigned is None or assigned.pod.meta.deletion_timestamp is not None:
                return  # it takes an engine longer to say than to remove it
            said = await listen(host, self._desired(assigned).pod, ended)
            present = [each.id for each in self.observed.containers] if self.observed else []
            self._said = {k: v for k, v in self._said.items() if k in present} | {ended.id: said}

    def _desired(self, assigned: AssignedPod) -> DesiredPod:
        status = assigned.pod.status
        if self._shown is not None and self._shown[0] == assigned.pod.revision:
            status = self._shown[1]  # reported, but not yet come back
        return self._desk.desired(assigned, status)

    def _report(self, assigned: AssignedPod, decision: Decision) -> None:
        tell = self._desk.shop.tell
        for notice in decision.notices:
            words = (notice.type, notice.reason, notice.message)
            tell(assigned.pod, words, notice.container)
        if decision.status is not None:
            self._shown = (assigned.pod.revision, decision.status)
            if decision.status != assigned.pod.status:
                self._desk.report(assigned, decision.status)

    async def _act(self, decision: Decision) -> None:
        self._basis = self._basis_now()
        action = self._action = self._desk.spawn_action(self, decision)
        if action is None:
            return
        try:
            await asyncio.wait({action})
        finally:
            self._action = None
            self._acted = self._desk.looks
        if action.cancelled():
            self._dirty = True
            await self._desk.looked()  # what was cut off may have happened
            return
        known = action.result()
        stopped = any(isinstance(i, StopContainer) for i in decision.instructions)
        if not known:
            self._retry("")
        else:
            self._troubles = 0
            self._dirty = True
        if stopped:
            await self._desk.looked()
        elif self._heard or not known:
            self._desk.look_soon()

    async def carry_out(self, decision: Decision) -> bool:
        """Do a decision's instructions: containers in order, all else at once.

        Returns:
            Whether every outcome is known and worth going on from.
        """
        ordered = EnsureContainer | RunPostStart
        ensures = [i for i in decision.instructions if isinstance(i, ordered)]
        others = [i for i in decision.instructions if not isinstance(i, ordered)]
        if any(
            isinstance(i, EnsureSandbox | PullImage | EnsureContainer | WriteVolumes)
            for i in ensures + others
        ):
            await self._desk.fence.wait()
        if len(others) == 1:  # the common case needs no further task
            known = await self._step(others[0])
        else:
            known = all(await asyncio.gather(*(self._step(i) for i in others)))
        for instruction in ensures:
            known = await self._step(instruction) and known
        return known

    async def _step(self, instruction: Instruction) -> bool:
        subject = subject_of(self.uid, self._desk.assigned(self.uid), self.observed)
        if isinstance(instruction, WriteVolumes | EnsureSandbox):
            self._follow(instruction, subject)
        try:
            call = partial(carry_out, self._desk.shop, instruction, subject)
            broken = isinstance(instruction, _BROKEN)
            outcome = await (self._desk.circuit.send(call) if broken else call())
        except (DriverError, StatusError) as error:
            _log.info("pod %s on %s: %s", self.uid, self._desk.shop.host_ip, error)
            return False
        except Exception:  # noqa: BLE001 - a bug met by one pod must not stop its host
            _log.exception("pod %s: %s failed", self.uid, type(instruction).__name__)
            return False
        if isinstance(outcome, Refusal):
            now = datetime.now(UTC)
            before, self.memory = (
                self.memory,
                failed(self.memory, instruction, outcome.reason, outcome.message, now),
            )
            if self._stale:  # what it lacks may be there since
                self._source_changed()
            return self.memory is not before  # remembered: the lifecycle knows when to go on
        self.memory = succeeded(self.memory, instruction)
        if self._stale:  # it changed again while it was being written
            self._source_changed()
        self.observed = outcome(self.observed)
        return True

    def _follow(self, instruction: WriteVolumes | EnsureSandbox, subject: Subject) -> None:
        """Hear from now on of changes of what an instruction needs."""
        pod, sandbox, due = subject.pod, subject.sandbox, None
        if isinstance(instruction, EnsureSandbox):
            keys = awaited(self._desk.shop, pod)
        else:
            keys = sources(pod)
            made = begun(sandbox.created_at if sandbox is not None else None)
            due = renewal(token_sources(pod), self.uid, made, int(time.time()))
        self._desk.follow(self.uid, keys, self._source_changed, due)
        self._stale = False

    def _sleep_until(self, moment: datetime | None) -> None:
        if moment is not None:
            self._call_later(max(0.0, (moment - datetime.now(UTC)).total_seconds()))

    def _retry(self, why: str) -> None:
        """Try again after a delay that doubles, with full jitter."""
        if why:
            _log.warning("%s; trying again", why)
        self._troubles += 1
        limit = min(_LONGEST_RETRY, 0.2 * 2.0 ** min(self._troubles, 16))
        self._call_later(random.uniform(0.1, limit))

    def _call_later(self, delay: float) -> None:
        self._forget_timer()
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(delay, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self.poke()
