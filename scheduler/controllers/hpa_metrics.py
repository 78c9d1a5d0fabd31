"""How many replicas a metric of a HorizontalPodAutoscaler asks for.

Pure. Source: Kubernetes' documented algorithm (Horizontal Pod Autoscaling, "Algorithm details"):
replicas = ⌈present * usage / wanted⌉, unless the ratio is within the tolerance of 1. Pods that do
not count yet, and pods that are not measured, are assumed to use what makes a change smaller.
Ratios are exact fractions, so nothing depends on how floating point rounds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Protocol

from ..meter import Rate
from ..objects import quantity
from ..objects.horizontal_pod_autoscaler import (
    Amount,
    Behavior,
    MetricSpec,
    MetricStatus,
    MetricValue,
    ResourceMetric,
    ResourceMetricStatus,
)
from ..objects.pod import Container, Pod
from ..objects.resources import CPU, MEMORY

START = timedelta(minutes=5)
"""From its start a pod's processor time may be that of starting (cpu-initialization-period)."""
FIRST_READINESS = timedelta(seconds=30)
"""A pod that became unready no later than this was never ready (initial-readiness-delay)."""
_TOLERANCE = Fraction(1, 10)
_FULL = 100  # percent


@dataclass(frozen=True, slots=True)
class Replica:
    """A pod of what is scaled.

    Args:
        usage: of its containers by name; None where it has not been measured.
    """

    pod: Pod
    usage: Mapping[str, Rate] | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a metric asks for.

    Args:
        metric: its name for people.
        status: what was measured.
    """

    replicas: int
    metric: str
    status: MetricStatus


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a metric asks for nothing: a condition's reason, and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a ratio may be from 1 without anything being done."""

    up: Fraction = _TOLERANCE
    down: Fraction = _TOLERANCE

    @classmethod
    def of(cls, behavior: Behavior) -> "Tolerance":
        """Return what the rules say, a tenth where they say nothing."""
        return cls(_share(behavior.scale_up.tolerance), _share(behavior.scale_down.tolerance))

    def covers(self, ratio: Fraction) -> bool:
        """Tell whether a ratio is as good as 1."""
        return 1 - self.down <= ratio <= 1 + self.up


def _share(value: Amount | None) -> Fraction:
    return _TOLERANCE if value is None else Fraction(quantity.nano(str(value)), 10**9)


def propose(
    metric: MetricSpec,
    current: int,
    replicas: Sequence[Replica],
    tolerance: Tolerance,
    now: datetime,
) -> Proposal | Failure:
    """Return how many replicas a metric asks for.

    Args:
        current: replicas that are wanted at present.
        replicas: all pods of what is scaled.
    """
    if metric.type == "Resource" and metric.resource is not None:
        return _resource(metric.resource, current, replicas, tolerance, now)
    if metric.type == "ContainerResource" and metric.container_resource is not None:
        return _resource(metric.container_resource, current, replicas, tolerance, now)
    named = {"Pods": metric.pods, "Object": metric.object, "External": metric.external}
    source = named.get(metric.type)
    name = source.metric.name if source is not None else ""
    return Failure(
        f"FailedGet{metric.type}Metric",
        f"the HPA was unable to compute the replica count: unable to get metric {name}: Ironfree "
        "measures cpu and memory only, and serves no custom or external metrics API",
    )


def _resource(
    metric: ResourceMetric,
    current: int,
    replicas: Sequence[Replica],
    tolerance: Tolerance,
    now: datetime,
) -> Proposal | Failure:
    reason = "FailedGetContainerResourceMetric" if metric.container else "FailedGetResourceMetric"
    found = _proposed(metric, current, replicas, tolerance, now)
    if isinstance(found, str):
        what = "utilization" if metric.target.average_utilization is not None else "usage"
        return Failure(
            reason,
            f"the HPA was unable to compute the replica count: failed to get {metric.name} {what}: "
            + found,
        )
    return found


def _proposed(
    metric: ResourceMetric,
    current: int,
    replicas: Sequence[Replica],
    tolerance: Tolerance,
    now: datetime,
) -> Proposal | str:
    """Return what a resource asks for, or why that cannot be said."""
    if metric.name not in (CPU, MEMORY):
        return f"Ironfree measures {CPU} and {MEMORY} only"
    if not replicas:
        return "there are no pods"
    if all(each.usage is None for each in replicas):
        return "no pod has been measured yet"
    groups = _grouped(metric, replicas, now)
    if not groups.usage:
        return "did not receive metrics for targeted pods (pods might be unready)"
    if metric.target.average_utilization is not None:
        requests = _requests(metric, replicas)
        if isinstance(requests, str):
            return requests
        gauge: _Gauge = _Utilization(metric.target.average_utilization, requests)
        if not sum(requests[name] for name in groups.usage):
            return f"the pods request no {metric.name}"
    else:
        gauge = _Average(quantity.milli(str(metric.target.average_value)))
    wanted = _wanted(current, groups, gauge, tolerance)
    return Proposal(wanted, _name(metric), _status(metric, gauge.value(groups.usage)))


def _name(metric: ResourceMetric) -> str:
    container = " container" if metric.container else ""
    if metric.target.average_utilization is None:
        return f"{metric.name}{container} resource"
    return f"{metric.name}{container} resource utilization (percentage of request)"


def _status(metric: ResourceMetric, value: MetricValue) -> MetricStatus:
    status = ResourceMetricStatus(metric.name, value, metric.container)
    if metric.container:
        return MetricStatus("ContainerResource", container_resource=status)
    return MetricStatus("Resource", resource=status)


class _Gauge(Protocol):
    """Compares usage, in thousandths by pod, with what is wanted."""

    def ratio(self, usage: Mapping[str, int]) -> Fraction: ...

    def full(self, pod: str) -> int:
        """Return what a pod would use that is not measured while others use too little."""
        ...

    def value(self, usage: Mapping[str, int]) -> MetricValue: ...


@dataclass(frozen=True, slots=True)
class _Utilization:
    """Against a percentage of what pods request."""

    target: int
    requests: Mapping[str, int]

    def _percent(self, usage: Mapping[str, int]) -> int:
        return sum(usage.values()) * 100 // sum(self.requests[name] for name in usage)

    def ratio(self, usage: Mapping[str, int]) -> Fraction:
        return Fraction(self._percent(usage), self.target)

    def full(self, pod: str) -> int:
        return self.requests[pod] * max(_FULL, self.target) // 100

    def value(self, usage: Mapping[str, int]) -> MetricValue:
        average = sum(usage.values()) // len(usage)
        return MetricValue(self._percent(usage), quantity.format_milli(average))


@dataclass(frozen=True, slots=True)
class _Average:
    """Against an amount for each pod, in thousandths."""

    target: int

    def ratio(self, usage: Mapping[str, int]) -> Fraction:
        return Fraction(sum(usage.values()) // len(usage), self.target)

    def full(self, pod: str) -> int:
        return self.target

    def value(self, usage: Mapping[str, int]) -> MetricValue:
        return MetricValue(None, quantity.format_milli(sum(usage.values()) // len(usage)))


@dataclass(frozen=True, slots=True)
class _Groups:
    """Pods by whether their measurement counts; those that end are in none.

    Args:
        usage: in thousandths, of those that count.
    """

    usage: Mapping[str, int]
    unready: frozenset[str]
    missing: frozenset[str]


def _grouped(metric: ResourceMetric, replicas: Iterable[Replica], now: datetime) -> _Groups:
    usage: dict[str, int] = {}
    unready: set[str] = set()
    missing: set[str] = set()
    for each in replicas:
        pod, name = each.pod, each.pod.meta.name
        if not pod.active:
            continue
        used = _used(metric, each)
        if pod.status.phase == "Pending":
            unready.add(name)
        elif used is None:
            missing.add(name)
        elif metric.name == CPU and _starting(each, now):
            unready.add(name)
        else:
            usage[name] = used
    return _Groups(usage, frozenset(unready), frozenset(missing))


def _used(metric: ResourceMetric, replica: Replica) -> int | None:
    """Return a pod's usage in thousandths, None where it is not known."""
    rates = replica.usage
    if rates is None or (metric.container and metric.container not in rates):
        return None
    counted = [rates[metric.container]] if metric.container else [*rates.values()]
    if metric.name == MEMORY:
        return sum(rate.memory_bytes for rate in counted) * 1000
    return -(-sum(rate.nanocores for rate in counted) // 1_000_000)


def _starting(replica: Replica, now: datetime) -> bool:
    """Tell whether a pod's processor time says nothing yet of its usual load."""
    status = replica.pod.status
    ready = status.condition("Ready")
    if ready is None or status.start_time is None or ready.last_transition_time is None:
        return True
    since = ready.last_transition_time
    if status.start_time + START <= now:
        return ready.status == "False" and since < status.start_time + FIRST_READINESS
    rates = replica.usage or {}
    early = any(rate.at < since + timedelta(seconds=rate.seconds) for rate in rates.values())
    return ready.status == "False" or early


def _requests(metric: ResourceMetric, replicas: Iterable[Replica]) -> dict[str, int] | str:
    """Return what pods request in thousandths by name, or whose request is missing."""
    found: dict[str, int] = {}
    for each in replicas:
        spec = each.pod.spec
        level = spec.resources.requests if spec.resources is not None else {}
        if metric.name in level and not metric.container:
            found[each.pod.meta.name] = quantity.milli(str(level[metric.name]))
            continue
        total = 0
        for container in _counted(each.pod, metric.container):
            request = container.resources.requests.get(metric.name)
            if request is None:
                return (
                    f"missing request for {metric.name} in container {container.name} of Pod "
                    f"{each.pod.meta.name}"
                )
            total += quantity.milli(str(request))
        found[each.pod.meta.name] = total
    return found


def _counted(pod: Pod, only: str) -> list[Container]:
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    every = [*pod.spec.containers, *sidecars]
    return [each for each in every if each.name == only] if only else every


def _wanted(current: int, groups: _Groups, gauge: _Gauge, tolerance: Tolerance) -> int:
    usage = dict(groups.usage)
    ratio = gauge.ratio(usage)
    grows_unready = bool(groups.unready) and ratio > 1
    if not grows_unready and not groups.missing:
        return current if tolerance.covers(ratio) else ceil(ratio * len(usage))
    if ratio < 1:
        usage.update({name: gauge.full(name) for name in groups.missing})
    elif ratio > 1:
        usage.update(dict.fromkeys(groups.missing, 0))
    if grows_unready:
        usage.update(dict.fromkeys(groups.unready, 0))
    again = gauge.ratio(usage)
    if tolerance.covers(again) or (ratio < 1) != (again < 1):
        return current
    wanted = ceil(again * len(usage))
    return max(wanted, current) if again > 1 else min(wanted, current)
