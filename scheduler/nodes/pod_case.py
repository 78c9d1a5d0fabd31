"""One pod at one moment: what is wanted, what is there, and what becomes of each container."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..drivers import ContainerStatus, EngineState, PodObservation
from ..objects.pod import Container, EphemeralContainer, Pod, PodContainerStatus
from .health import Health, known_health
from .memory import PodMemory
from .pod_status import restartable
from .verdict import Verdict, judge


@dataclass(frozen=True, slots=True)
class DesiredPod:
    """A pod that the store has bound to this host.

    Args:
        bound_at: when its binding was written.
        host_ip: of the node.
        runtime: the engine's word, e.g. "docker"; prefixes container ids.
    """

    pod: Pod
    bound_at: datetime
    host_ip: str
    runtime: str


def spec_hash(container: Container, sandbox_attempt: int) -> str:
    """Return the identity of a container beyond its name: what runs, and in which sandbox.

    Only name and image count (as in kubelet): the rest of a pod's containers cannot change, and a
    hash over every field would restart the world when Ironfree learns a new one.
    """
    text = f"{container.name}\0{container.image}".encode()
    return f"{hashlib.blake2b(text, digest_size=8).hexdigest()}.{sandbox_attempt}"


def sandbox_of(container: ContainerStatus) -> int:
    """Return the attempt of the sandbox a container was made for, -1 when it does not say."""
    suffix = container.spec_hash.rpartition(".")[2]
    return int(suffix) if suffix.isdecimal() else -1


@dataclass(frozen=True, slots=True)
class PodCase:
    """One pod at one moment."""

    desired: DesiredPod
    observed: PodObservation | None
    memory: PodMemory
    now: datetime

    @property
    def pod(self) -> Pod:
        """The pod as the store has it."""
        return self.desired.pod

    @property
    def sandbox_attempt(self) -> int | None:
        """The running sandbox's attempt, None when none runs."""
        sandbox = self.observed.sandbox if self.observed else None
        return sandbox.attempt if sandbox and sandbox.running else None

    @property
    def live_sandbox_id(self) -> str | None:
        """The running sandbox's id, None when none runs."""
        sandbox = self.observed.sandbox if self.observed else None
        return sandbox.id if sandbox and sandbox.running else None

    @property
    def has_access(self) -> bool:
        """Whether the sandbox was made with what its containers ask the API with."""
        sandbox = self.observed.sandbox if self.observed else None
        return sandbox is not None and sandbox.api_access

    def history(self, name: str) -> Sequence[ContainerStatus]:
        """Return a container's attempts, newest first.

        Nothing when a later one was shown, which somebody has removed: those before it tell nothing
        of how that ended, and their successor's name is taken.
        """
        found = [c for c in (self.observed.containers if self.observed else ()) if c.name == name]
        shown = self.shown(name)
        counted = (shown.restart_count or 0) if shown else 0
        if all(c.attempt < counted and c.state is EngineState.EXITED for c in found):
            return ()
        return sorted(found, key=lambda c: c.attempt, reverse=True)

    def running(self, names: Iterable[str] | None = None) -> Sequence[ContainerStatus]:
        """Return every running container of the pod, or those of the names."""
        present = self.observed.containers if self.observed else ()
        wanted = None if names is None else frozenset(names)
        return [
            c
            for c in present
            if c.state is EngineState.RUNNING and (wanted is None or c.name in wanted)
        ]

    def shown(self, name: str) -> PodContainerStatus | None:
        """Return the status the store shows of a container."""
        known = self.pod.status.all_container_statuses
        return next((s for s in known if s.name == name), None)

    def current(self, container: Container, status: ContainerStatus) -> bool:
        """Return whether it is what the spec asks for, in the sandbox that runs now."""
        attempt = self.sandbox_attempt
        return attempt is not None and status.spec_hash == spec_hash(container, attempt)

    def verdict(self, container: Container, *, init: bool) -> Verdict:
        """Judge one container."""
        history = self.history(container.name)
        latest = history[0] if history else None
        return judge(
            container,
            latest,
            policy=self._policy(container, init=init),
            current=latest is not None and self.current(container, latest),
            shown=self.shown(container.name),
            memory=self.memory,
            now=self.now,
        )

    def health(self, container: Container, status: ContainerStatus) -> Health:
        """Return what is known of a running attempt, every question answered."""
        remembered = self.memory.of(container.name).health
        shown = self.shown(container.name)
        return known_health(container, status, remembered, shown, self.desired.runtime)

    def restarts(self, container: Container) -> bool:
        """Return whether a container that is stopped for its health will be started again."""
        policy = container.restart_policy or self.pod.spec.restart_policy
        return policy != "Never" or bool(container.restart_policy_rules)

    def _policy(self, container: Container, *, init: bool) -> str:
        if isinstance(container, EphemeralContainer):
            return "Never"
        policy = container.restart_policy or self.pod.spec.restart_policy
        if not init or restartable(container):
            return policy
        fresh = self.sandbox_attempt is None or self.memory.sandbox_made
        return f"Init{'Never' if policy == 'Never' else 'OnFailure'}{'Fresh' if fresh else ''}"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What becomes of every container, in the order of the spec."""

    apps: Sequence[tuple[Container, Verdict]]
    inits: Sequence[tuple[Container, Verdict]]
    ephemerals: Sequence[tuple[Container, Verdict]] = ()

    @property
    def all(self) -> Sequence[tuple[Container, Verdict]]:
        """Init containers first, ephemeral containers last."""
        return (*self.inits, *self.apps, *self.ephemerals)


def judged(case: PodCase) -> Verdicts:
    """Judge every container of the pod."""
    spec = case.pod.spec
    return Verdicts(
        apps=[(c, case.verdict(c, init=False)) for c in spec.containers],
        inits=[(c, case.verdict(c, init=True)) for c in spec.init_containers],
        ephemerals=[(c, case.verdict(c, init=False)) for c in spec.ephemeral_containers],
    )
