"""Starts pods of a cohort together, on hosts that can start many at once.

Identical pods start alike, so one of them goes through the lifecycle and the others fill in what
they have of their own. That is only right as long as everything goes well: whoever is not plain,
does not start or is changed meanwhile goes on with a worker of its own, like any pod.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec.structs import replace

from ..drivers import (
    ContainerSpec,
    ContainerStatus,
    CrowdHost,
    EngineState,
    PodIdentity,
    PodObservation,
    SandboxSpec,
    SandboxStatus,
)
from ..errors import DriverError, Fenced, StatusError, Unavailable
from ..objects.cohort import Cohort, Stencil, plain
from ..objects.pod import Container, Pod, PodSpec, claim_names, pod_view
from ..store.operations import CohortChange, ReportCohort
from ..store.store import Store
from .environment import ConfigProblem, PodFacts, Sources, resolve
from .lifecycle import DesiredPod, reconcile
from .memory import PodMemory
from .security import lone_group, runs_as_non_root
from .status_writer import merged
from .translation import container_spec, hostname, pull_policy, sandbox_spec
from .volume_content import written

_log = logging.getLogger(__name__)
_HOST, _IP = "@host@", "@ip@"
_FLOOD = 8, 0.5  # so many cohorts bound in so many seconds: placing further pods goes first
_YIELD = 1.0  # seconds left to that between two cohorts
_PAUSE = 1.0
_AT_ONCE = 16  # cohorts that wait for slow hosts
_PATIENCE = 30.0  # seconds for a host to start its part of a cohort
STARTED = PodMemory(sandbox_attempts=1, sandbox_made=True)
"""What is remembered of a pod that was started here."""


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A pod that runs as it should, and of which nothing need be done until it changes."""

    cohort: Cohort
    ordinal: int
    observed: PodObservation


class Company(Protocol):
    """The host that some pods of a cohort are to start on, and who looks after them there."""

    @property
    def crowd_host(self) -> CrowdHost | None:
        """The host, if it can start many pods at once and is ready to."""
        ...

    @property
    def host_ip(self) -> str:
        """The node's address."""
        ...

    @property
    def runtime(self) -> str:
        """The engine's word."""
        ...

    def claim(self, cohort: Cohort, ordinals: Iterable[int]) -> list[int]:
        """Return the pods that are still as the cohort has them and that nobody else sees to.

        They are left alone from now on until they settle or fall out.
        """
        ...

    def settle(self, settled: Settled) -> None:
        """Take over a claimed pod that runs and has been reported."""
        ...

    def disband(self) -> None:
        """Have every further pod started by a worker of its own: the host is too slow."""
        ...

    def fall_out(self, cohort: Cohort, ordinals: Iterable[int]) -> None:
        """Have workers see to pods, from whatever state they are in."""
        ...


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How pods of a cohort start."""

    sample: Pod
    sandbox: SandboxSpec
    containers: tuple[ContainerSpec, ...]
    bound_at: datetime

    def specs(self, cohort: Cohort, ordinals: Sequence[int], epoch: int) -> list[SandboxSpec]:
        """Return the sandboxes of some pods."""
        made: list[SandboxSpec] = []
        for ordinal in ordinals:
            name = cohort.name(ordinal)
            identity = PodIdentity(cohort.pod_uid(ordinal), cohort.namespace, name, epoch)
            own = hostname(self.sample.spec, name)
            made.append(replace(self.sandbox, identity=identity, hostname=own))
        return made


class _Start(msgspec.Struct, frozen=True, gc=False):
    """A pod that has started, what it fills the stencil with, and the second it started in."""

    company: Company
    settled: Settled
    own: tuple[str, ...]
    moment: datetime


class Muster:
    """One per leader; `add` never waits."""

    def __init__(self, store: Store, epoch: int) -> None:
        self._store = store
        self._epoch = epoch
        self._waiting: deque[tuple[CohortChange, list[tuple[Company, list[int]]]]] = deque()
        self._wake = asyncio.Event()
        self._arrivals: deque[float] = deque(maxlen=_FLOOD[0])

    def add(self, change: CohortChange, companies: list[tuple[Company, list[int]]]) -> None:
        """Have pods started that were bound.

        Args:
            companies: with positions in the change's ordinals.
        """
        self._waiting.append((change, companies))
        self._arrivals.append(asyncio.get_running_loop().time())
        self._wake.set()

    async def run(self) -> None:
        """Start pods, forever.

        Raises:
            ExceptionGroup: with Fenced, when another leader has taken over.
        """
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                while self._waiting:
                    change, companies = self._waiting.popleft()
                    recipe = _recipe(pod_view(change.one(0).object), self._epoch)
                    starts = await self._launch(group, change, companies, recipe)
                    finish = self._finish(change.cohort, recipe, starts)
                    if all(start.done() for start in starts):
                        await finish
                    else:  # a host takes its time: go on with others
                        await slots.acquire()
                        group.create_task(finish).add_done_callback(lambda _: slots.release())
                    await asyncio.sleep(_YIELD if self._flooded() else 0)
                self._wake.clear()

    def _flooded(self) -> bool:
        recent = len(self._arrivals) == _FLOOD[0]
        return recent and asyncio.get_running_loop().time() - self._arrivals[0] < _FLOOD[1]

    async def _launch(
        self,
        group: asyncio.TaskGroup,
        change: CohortChange,
        companies: list[tuple[Company, list[int]]],
        recipe: _Recipe | None,
    ) -> list[asyncio.Task[list[_Start]]]:
        starts: list[asyncio.Task[list[_Start]]] = []
        for company, numbers in companies:
            ordinals = [change.ordinals[number] for number in numbers]
            host = company.crowd_host
            if recipe is None or host is None:
                company.fall_out(change.cohort, ordinals)
            else:
                start = self._muster(company, host, recipe, change.cohort, ordinals)
                starts.append(group.create_task(start))
                await asyncio.sleep(0)  # a host that takes no time is done now: others go between
        return starts

    async def _finish(
        self,
        cohort: Cohort,
        recipe: _Recipe | None,
        starts: Sequence[asyncio.Task[list[_Start]]],
    ) -> None:
        told: dict[tuple[datetime, str], list[_Start]] = {}
        for started in await asyncio.gather(*starts):
            for each in started:
                told.setdefault((each.moment, each.company.runtime), []).append(each)
        for (moment, runtime), pods in told.items():
            assert recipe is not None
            stencil = _stencil(recipe, cohort, moment, runtime)
            await self._report(stencil, cohort, pods)

    async def _muster(
        self,
        company: Company,
        host: CrowdHost,
        recipe: _Recipe,
        cohort: Cohort,
        ordinals: Sequence[int],
    ) -> list[_Start]:
        """Start pods on one host; who does not start falls out."""
        ready = company.claim(cohort, ordinals)
        specs = recipe.specs(cohort, ready, self._epoch)
        try:
            async with asyncio.timeout(_PATIENCE):
                for container in recipe.sample.spec.containers:
                    await host.ensure_image(container.image, pull_policy(container))
                seen = await host.start_pods(specs, recipe.containers)
        except (DriverError, TimeoutError) as error:
            _log.info("%d pods do not start together: %s", len(specs), error)
            if isinstance(error, TimeoutError):
                company.disband()
            company.fall_out(cohort, ready)
            return []
        started: list[_Start] = []
        for ordinal, observed in zip(ready, seen, strict=True):
            own = observed and _own(company.host_ip, observed)
            moment = observed and _moment(observed)
            if observed is None or not own or moment is None:
                company.fall_out(cohort, (ordinal,))
            else:
                settled = Settled(cohort, ordinal, observed)
                started.append(_Start(company, settled, own, moment))
        return started

    async def _report(
        self, stencil: Stencil | None, cohort: Cohort, pods: Sequence[_Start]
    ) -> None:
        ordinals = tuple([each.settled.ordinal for each in pods])
        out: set[int] = set(ordinals)
        if stencil is not None:
            own = tuple([each.own for each in pods])
            op = ReportCohort(
                cohort.namespace, cohort.uid, ordinals, "Running", stencil, own, self._epoch
            )
            out = set(await self._write(op))
        for each in pods:
            if each.settled.ordinal in out:
                each.company.fall_out(cohort, (each.settled.ordinal,))
            else:
                each.company.settle(each.settled)

    async def _write(self, op: ReportCohort) -> Iterable[int]:
        """Write a report; returns whose it was not taken."""
        while True:
            try:
                (outcome,) = await self._store.write_cohorts((op,))
            except Unavailable as error:
                _log.warning("%d statuses wait: %s", len(op.ordinals), error)
                await asyncio.sleep(_PAUSE)
                continue
            if isinstance(outcome, Fenced):
                raise outcome
            return op.ordinals if isinstance(outcome, StatusError) else outcome.refused


def _recipe(sample: Pod, epoch: int) -> _Recipe | None:
    """Return how pods like this one start, None if they do not all start alike."""
    spec, stored = sample.spec, sample.stored
    varies = any(c.env_from or any(v.value_from for v in c.env) for c in spec.containers)
    watched = any(
        c.lifecycle or c.liveness_probe or c.readiness_probe or c.startup_probe
        for c in spec.containers
    )
    varies = varies or watched or any(_asks_image(spec, c) for c in spec.containers)
    varies = varies or spec.active_deadline_seconds is not None
    varies = varies or bool(written(sample) or claim_names(spec))
    varies = varies or bool(spec.runtime_class_name)
    if spec.init_containers or spec.host_network or varies or stored is None:
        return None
    facts = PodFacts(sample, "", "", "default", {})
    containers: list[ContainerSpec] = []
    for container in spec.containers:
        env = resolve(container, facts, Sources({}, {}))
        if isinstance(env, ConfigProblem):
            return None
        containers.append(container_spec(spec, container, 0, 0, env))
    sandbox = sandbox_spec(sample, 0, epoch)
    if sandbox.ports or stored.binding is None:
        return None
    return _Recipe(sample, sandbox, tuple(containers), stored.binding.bound_at)


def _asks_image(spec: PodSpec, container: Container) -> bool:
    """Return whether whom a container runs as is for its image to say."""
    return runs_as_non_root(spec, container) or lone_group(spec, container) is not None


def _stencil(recipe: _Recipe, cohort: Cohort, moment: datetime, runtime: str) -> Stencil | None:
    """Return the status of a pod that has just started, None if there is more to do for it."""
    identity = recipe.sandbox.identity
    marks = [f"@{number}@" for number in range(len(recipe.containers))]
    observed = PodObservation(
        identity,
        SandboxStatus(identity, "@sandbox@", 0, running=True, ip=_IP, created_at=moment),
        tuple(
            ContainerStatus(
                name=container.name,
                id=mark,
                attempt=0,
                spec_hash=container.spec_hash,
                state=EngineState.RUNNING,
                image=container.image,
                image_id=f"@image-{mark}",
                created_at=moment,
                started_at=moment,
            )
            for container, mark in zip(recipe.containers, marks, strict=True)
        ),
    )
    images = [f"@image-{mark}" for mark in marks]
    desired = DesiredPod(recipe.sample, recipe.bound_at, _HOST, runtime)
    decision = reconcile(desired, observed, STARTED, moment)
    if decision.instructions or decision.status is None or decision.status.phase != "Running":
        return None
    return Stencil.of(merged(cohort.status, decision.status), [*images, _HOST, _IP, *marks])


def _own(host_ip: str, observed: PodObservation) -> tuple[str, ...] | None:
    """Return what a started pod fills the stencil with, None if it has not started."""
    sandbox, containers = observed.sandbox, observed.containers
    if sandbox is None or any(c.state is not EngineState.RUNNING for c in containers):
        return None
    own = (*(c.image_id for c in containers), host_ip, sandbox.ip, *(c.id for c in containers))
    return own if plain("".join(own)) else None


def _moment(observed: PodObservation) -> datetime | None:
    """Return the second in which a pod's containers started, if it was one."""
    first = observed.containers[0].started_at if observed.containers else None
    if first is None:
        return None
    second = first.replace(microsecond=0)
    for other in observed.containers[1:]:
        if other.started_at is None or other.started_at.replace(microsecond=0) != second:
            return None
    return second
