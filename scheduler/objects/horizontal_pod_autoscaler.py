"""Typed view of HorizontalPodAutoscalers (autoscaling/v2)."""

from datetime import datetime

import msgspec

from .meta import ObjectMeta
from .stored import StoredObject
from .view import View

RESOURCE = "horizontalpodautoscalers.autoscaling"
KIND = "HorizontalPodAutoscaler"
Amount = str | int | float


class ScaleTarget(View, frozen=True):
    """autoscaling/v2 CrossVersionObjectReference."""

    kind: str = ""
    name: str = ""
    api_version: str = ""

    @property
    def group(self) -> str:
        """The API group, "" for core."""
        return self.api_version.rpartition("/")[0]


class MetricTarget(View, frozen=True):
    """autoscaling/v2 MetricTarget."""

    type: str = ""
    value: Amount | None = None
    average_value: Amount | None = None
    average_utilization: int | None = None


class ResourceMetric(View, frozen=True):
    """autoscaling/v2 ResourceMetricSource and ContainerResourceMetricSource."""

    name: str = ""
    target: MetricTarget = MetricTarget()
    container: str = ""


class MetricIdentifier(View, frozen=True):
    """autoscaling/v2 MetricIdentifier."""

    name: str = ""


class NamedMetric(View, frozen=True):
    """autoscaling/v2 PodsMetricSource, ObjectMetricSource, ExternalMetricSource: their name."""

    metric: MetricIdentifier = MetricIdentifier()


class MetricSpec(View, frozen=True):
    """autoscaling/v2 MetricSpec."""

    type: str = ""
    resource: ResourceMetric | None = None
    container_resource: ResourceMetric | None = None
    pods: NamedMetric | None = None
    object: NamedMetric | None = None
    external: NamedMetric | None = None


class ScalingPolicy(View, frozen=True):
    """autoscaling/v2 HPAScalingPolicy."""

    type: str = ""
    value: int = 0
    period_seconds: int = 0


class ScalingRules(View, frozen=True):
    """autoscaling/v2 HPAScalingRules."""

    select_policy: str = "Max"
    policies: tuple[ScalingPolicy, ...] = ()
    stabilization_window_seconds: int | None = None
    tolerance: Amount | None = None


DEFAULT_UP = ScalingRules(
    policies=(ScalingPolicy("Pods", 4, 15), ScalingPolicy("Percent", 100, 15)),
    stabilization_window_seconds=0,
)
DEFAULT_DOWN = ScalingRules(
    policies=(ScalingPolicy("Percent", 100, 15),), stabilization_window_seconds=300
)


class Behavior(View, frozen=True):
    """autoscaling/v2 HorizontalPodAutoscalerBehavior."""

    scale_up: ScalingRules = DEFAULT_UP
    scale_down: ScalingRules = DEFAULT_DOWN


class AutoscalerSpec(View, frozen=True):
    """autoscaling/v2 HorizontalPodAutoscalerSpec."""

    scale_target_ref: ScaleTarget = ScaleTarget()
    min_replicas: int = 1
    max_replicas: int = 1
    metrics: tuple[MetricSpec, ...] = ()
    behavior: Behavior = Behavior()


class MetricValue(View, frozen=True):
    """autoscaling/v2 MetricValueStatus."""

    average_utilization: int | None = None
    average_value: str = ""


class ResourceMetricStatus(View, frozen=True):
    """autoscaling/v2 ResourceMetricStatus and ContainerResourceMetricStatus."""

    name: str
    current: MetricValue
    container: str = ""


class MetricStatus(View, frozen=True):
    """autoscaling/v2 MetricStatus, of the types that are measured here."""

    type: str = ""
    resource: ResourceMetricStatus | None = None
    container_resource: ResourceMetricStatus | None = None


class AutoscalerCondition(View, frozen=True):
    """autoscaling/v2 HorizontalPodAutoscalerCondition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class AutoscalerStatus(View, frozen=True):
    """autoscaling/v2 HorizontalPodAutoscalerStatus; the numbers are always written."""

    observed_generation: int = 0
    last_scale_time: datetime | None = None
    current_replicas: int | None = None
    desired_replicas: int | None = None
    current_metrics: tuple[MetricStatus, ...] = ()
    conditions: tuple[AutoscalerCondition, ...] = ()


class HorizontalPodAutoscaler(msgspec.Struct, frozen=True):
    """A HorizontalPodAutoscaler as its controller sees it."""

    meta: ObjectMeta
    spec: AutoscalerSpec
    status: AutoscalerStatus
    stored: StoredObject


class _Body(msgspec.Struct):
    spec: AutoscalerSpec = AutoscalerSpec()


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(AutoscalerStatus)


def autoscaler_view(stored: StoredObject) -> HorizontalPodAutoscaler:
    """Return the typed view of a stored HorizontalPodAutoscaler."""
    return HorizontalPodAutoscaler(
        meta=stored.meta,
        spec=_body.decode(stored.body.json).spec,
        status=_status.decode(stored.status) if stored.status else AutoscalerStatus(),
        stored=stored,
    )
