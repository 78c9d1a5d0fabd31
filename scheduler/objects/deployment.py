"""Typed view of Deployments."""

from datetime import datetime

import msgspec

from .meta import ObjectMeta
from .pod import View
from .pod_owner import DEPLOYMENT, OwnerKind, PodTemplate, label_selector
from .selectors import Selector
from .stored import StoredObject

_QUARTER = "25%"
RECREATE = "Recreate"


class RollingUpdate(View, frozen=True):
    """apps/v1 RollingUpdateDeployment: numbers of pods, or percentages of replicas."""

    max_surge: int | str = _QUARTER
    max_unavailable: int | str = _QUARTER


class DeploymentStrategy(View, frozen=True):
    """apps/v1 DeploymentStrategy."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(View, frozen=True):
    """apps/v1 DeploymentSpec; the selector stays JSON, because ReplicaSets keep all of it."""

    replicas: int = 1
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False
    strategy: DeploymentStrategy = DeploymentStrategy()
    selector: msgspec.Raw = msgspec.Raw(b"null")
    template: PodTemplate = PodTemplate()


class DeploymentCondition(View, frozen=True):
    """apps/v1 DeploymentCondition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_update_time: datetime | None = None
    last_transition_time: datetime | None = None


class DeploymentStatus(View, frozen=True):
    """apps/v1 DeploymentStatus."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    collision_count: int = 0
    conditions: tuple[DeploymentCondition, ...] = ()

    def condition(self, kind: str) -> DeploymentCondition | None:
        """Return the condition of that type, if present."""
        return next((c for c in self.conditions if c.type == kind), None)


class Deployment(msgspec.Struct, frozen=True):
    """A Deployment as its controller sees it."""

    meta: ObjectMeta
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()
    revision: int = 0

    @property
    def owner_kind(self) -> OwnerKind:
        """Its kind."""
        return DEPLOYMENT

    @property
    def selector(self) -> Selector:
        """Which ReplicaSets and pods are its own."""
        return label_selector(bytes(self.spec.selector))

    @property
    def template(self) -> PodTemplate:
        """What its pods are like."""
        return self.spec.template

    @property
    def recreates(self) -> bool:
        """Whether all old pods go before a new one comes: so it is where two may never run."""
        return self.spec.strategy.type == RECREATE or self.template.at_most_once

    @property
    def surge(self) -> int:
        """How many more pods than wanted there may be while pods are replaced."""
        return self._limits()[0]

    @property
    def unavailable(self) -> int:
        """How many fewer pods than wanted may be available."""
        return min(self._limits()[1], self.spec.replicas)

    def _limits(self) -> tuple[int, int]:
        """Return both, of which one is not 0 (Kubernetes ResolveFenceposts)."""
        if self.recreates:
            return 0, 0
        rolling = self.spec.strategy.rolling_update or RollingUpdate()
        surge = share(rolling.max_surge, self.spec.replicas, up=True)
        unavailable = share(rolling.max_unavailable, self.spec.replicas, up=False)
        return surge, unavailable if surge or unavailable else 1


def share(value: int | str, of: int, *, up: bool) -> int:
    """Return a number, or a percentage of `of` rounded up or down (GetScaledValueFromIntOrPercent).

    What is no percentage, which validation refuses, is none.
    """
    if isinstance(value, int):
        return value
    digits = value.removesuffix("%")
    percent = int(digits) if digits.isdigit() else 0
    return -(-percent * of // 100) if up else percent * of // 100


class _Body(msgspec.Struct):
    spec: DeploymentSpec = DeploymentSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(DeploymentStatus)


def deployment_view(stored: StoredObject) -> Deployment:
    """Return the typed view of a stored Deployment."""
    return Deployment(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else DeploymentStatus(),
        revision=stored.revision,
    )
