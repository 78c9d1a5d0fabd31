"""What every room counts, as Prometheus metrics.

The rooms keep plain values; they are read here when somebody asks. Names and labels are those of
kube-scheduler, kube-apiserver and client-go where the figure means the same, and begin with
`ironfree_` otherwise. docs/metrics.md is made of what is here.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from .api.traffic import Exposition, Traffic
from .measures import Histogram, Labels
from .nodes.circuit import CircuitState
from .nodes.directory import NodeAgents
from .nodes.pull_measures import PullMeasures
from .placement.cycle import Placement
from .placement.measures import PlacementMeasures
from .plugin_manager import Rules
from .store.measures import WriterMeasures

_REQUEST = ("verb", "group", "version", "resource", "subresource", "scope")
_QUEUES = {"active": "active", "backoff": "backoff", "parked": "unschedulable", "gated": "gated"}


@dataclass
class Leading:
    """What runs while this process leads, as far as there is something to read of it.

    Args:
        rules: by schedulerName.
    """

    placement: Placement | None = None
    agents: NodeAgents | None = None
    rules: Mapping[str, Rules] = field(default_factory=dict[str, Rules])


class Written(Protocol):
    """What there is to read of the store."""

    @property
    def measures(self) -> WriterMeasures:
        """What this process has committed."""
        ...

    @property
    def queued_writes(self) -> int:
        """Operations that wait to be written."""
        ...

    @property
    def seen_revision(self) -> int:
        """The last revision that this process knows of."""
        ...


@dataclass(frozen=True)
class Rooms:
    """Where the numbers are."""

    store: Written
    leading: Leading
    placement: PlacementMeasures
    traffic: Traffic
    pulls: PullMeasures = field(default_factory=PullMeasures)


def register(registry: CollectorRegistry, rooms: Rooms) -> None:
    """Let a registry tell of all rooms and of the process."""
    registry.register(_Reading(lambda: _queue(rooms.leading)))
    registry.register(_Reading(lambda: _placement(rooms.placement)))
    registry.register(_Reading(lambda: _plugins(rooms.leading)))
    registry.register(_Reading(lambda: _hosts(rooms.leading)))
    registry.register(_Reading(lambda: _store(rooms.store)))
    registry.register(_Reading(lambda: _api(rooms.traffic)))
    registry.register(_Reading(lambda: _pulls(rooms.pulls)))
    ProcessCollector(registry=registry)


def exposition(registry: CollectorRegistry) -> Exposition:
    """Return what answers a scrape: the numbers of one moment, written aside from the loop."""

    async def expose(accept: str) -> tuple[bytes, str]:
        encode, kind = choose_encoder(accept)
        moment = tuple(registry.collect())
        return await asyncio.to_thread(encode, _Reading(lambda: moment)), kind

    return expose


class _Reading(Collector):
    """A collector that asks a function."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        return self._read()


def _queue(leading: Leading) -> Iterator[Metric]:
    leads = leading.placement is not None
    told = "1 while this process leads: places pods, and runs controllers and node agents."
    yield _gauge("leader_election_master_status", told, ("name",), {("ironfree",): int(leads)})
    pending: dict[Labels, float] = {}
    flying: dict[Labels, float] = {}
    rejected: Counter[Labels] = Counter()
    if leading.placement is not None:
        counts = leading.placement.pending()
        pending = {(name,): counts[place] for place, name in _QUEUES.items()}
        flying = {(): counts["flying"]}
        for pod, count, diagnosis in leading.placement.queue.unschedulable():
            for plugin in {refusal.plugin for refusal in diagnosis.refusals}:
                rejected[plugin, pod.scheduler_name] += count
    told = "Pods that wait for a node, by where: those that may be placed now, wait for their "
    told += "next try, wait for a change that can help, or are held back by scheduling gates or "
    told += "until enough pods of their PodGroup are there."
    yield _gauge("scheduler_pending_pods", told, ("queue",), pending)
    told = "Pods that are being placed or bound at the moment."
    yield _gauge("ironfree_scheduling_pods_in_flight", told, (), flying)
    told = "Pods without a node, by each plugin that rejected nodes for them."
    yield _gauge("scheduler_unschedulable_pods", told, ("plugin", "profile"), rejected)


def _placement(found: PlacementMeasures) -> Iterator[Metric]:
    outcome = ("result", "profile")
    told = "Pods tried, by outcome: scheduled, unschedulable, or error (a plugin failed, the "
    told += "checker or the store refused)."
    yield _counter("scheduler_schedule_attempts", told, outcome, found.attempts)
    told = "Seconds from leaving the queue until bound or given up, of each pod tried."
    name = "scheduler_scheduling_attempt_duration_seconds"
    yield _histograms(name, told, outcome, found.attempt_seconds)
    told = "Seconds from arrival in the queue until bound, of each pod bound."
    name = "scheduler_pod_scheduling_sli_duration_seconds"
    yield _histograms(name, told, ("attempts",), found.waited)
    told = "Tries it took to place a pod, of each pod bound."
    yield _histograms("scheduler_pod_scheduling_attempts", told, (), {(): found.tries})
    told = "Searches for pods that could make room for the pods of a class."
    yield _counter("scheduler_preemption_attempts", told, (), {(): found.preemptions})
    told = "Pods to be evicted by a preemption."
    yield _histograms("scheduler_preemption_victims", told, (), {(): found.victims})
    told = "Gangs tried, by outcome: scheduled, or unschedulable."
    yield _counter("ironfree_scheduling_gang_attempts", told, ("result",), found.gangs)
    told = "Pods decided on together."
    yield _histograms("ironfree_scheduling_batch_pods", told, (), {(): found.batch})
    told = "Seconds of each part of the cycle: pop, place and preempt once a class of pods, gang "
    told += "once a gang, the others once a batch."
    name = "ironfree_scheduling_phase_duration_seconds"
    yield _histograms(name, told, ("phase",), found.phases)


def _hosts(leading: Leading) -> Iterator[Metric]:
    circuits: Mapping[CircuitState, int] = leading.agents.circuits() if leading.agents else {}
    told = "Hosts by what is sent to their engines: all (closed), nothing because they do not "
    told += "answer or do not do what they are told (open), or one call to try them (half-open)."
    counts = {(str(state),): float(count) for state, count in circuits.items()}
    yield _gauge("ironfree_host_circuits", told, ("state",), counts)
    pressures: Mapping[str, int] = leading.agents.pressures() if leading.agents else {}
    told = "Hosts that are short of memory, process ids or disk, by the condition of their nodes."
    kinds = ("MemoryPressure", "PIDPressure", "DiskPressure")
    counts = {(kind,): float(pressures.get(kind, 0)) for kind in kinds}
    yield _gauge("ironfree_host_pressures", told, ("condition",), counts)
    evicted: Mapping[str, int] = leading.agents.evictions if leading.agents else {}
    told = "Pods evicted from their hosts, by what was short, since this process leads."
    kinds = ("memory", "pids", "ephemeral-storage", "ephemeral-storage-limit")
    found = {(resource,): evicted.get(resource, 0) for resource in kinds}
    yield _counter("ironfree_pod_evictions", told, ("resource",), found)


def _plugins(leading: Leading) -> Iterator[Metric]:
    found: dict[Labels, Histogram] = {}
    for profile, rules in leading.rules.items():
        for (rule, point), timing in rules.timings().items():
            found[rule, point, "Success", profile] = timing.answered
            found[rule, point, "Error", profile] = timing.failed
    told = "Seconds of a plugin's calls; one call answers for a class of pods and all nodes."
    labels = ("plugin", "extension_point", "status", "profile")
    yield _histograms("scheduler_plugin_execution_duration_seconds", told, labels, found)


def _store(store: Written) -> Iterator[Metric]:
    found = store.measures
    told = "Seconds of each transaction that changed something."
    yield _histograms("ironfree_store_commit_duration_seconds", told, (), {(): found.commit})
    told = "Operations that went into each transaction that changed something."
    yield _histograms("ironfree_store_commit_operations", told, (), {(): found.batch})
    told = "Operations that wait for their transaction."
    yield _gauge("ironfree_store_queued_operations", told, (), {(): store.queued_writes})
    told = "Last revision of the store that this process has seen."
    yield _gauge("ironfree_store_revision", told, (), {(): store.seen_revision})


def _api(traffic: Traffic) -> Iterator[Metric]:
    told = "Requests answered; code 499 where the client left before."
    yield _counter("apiserver_request", told, (*_REQUEST, "code"), traffic.requests)
    told = "Seconds of requests, but for watches and streams."
    yield _histograms("apiserver_request_duration_seconds", told, _REQUEST, traffic.seconds)
    told = "Open watches, followed logs, exec, attach and port-forward."
    yield _gauge("apiserver_longrunning_requests", told, _REQUEST, traffic.lasting)
    told = "Requests that are being answered, but for watches and streams."
    flying: dict[Labels, float] = {(kind,): count for kind, count in traffic.in_flight.items()}
    yield _gauge("apiserver_current_inflight_requests", told, ("request_kind",), flying)


def _pulls(found: PullMeasures) -> Iterator[Metric]:
    told = "Pulls of images that have ended, by outcome: pulled, failed (the registry or the "
    told += "engine refused), or broken_off (nobody wanted it any more, or the host went away)."
    yield _counter("ironfree_image_pulls", told, ("registry", "result"), found.outcomes)
    told = "Seconds of pulls that succeeded."
    yield _histograms("ironfree_image_pull_duration_seconds", told, (), {(): found.seconds})
    told = "Seconds that pulls waited for their turn."
    yield _histograms("ironfree_image_pull_wait_seconds", told, (), {(): found.waited})
    told = "Pulls that wait for their turn."
    yield _gauge("ironfree_image_pulls_waiting", told, ("registry",), found.waiting)
    told = "Pulls under way."
    yield _gauge("ironfree_image_pulls_under_way", told, ("registry",), found.pulling)


def _gauge(
    name: str, told: str, labels: Labels, found: Mapping[Labels, float] | Mapping[Labels, int]
) -> Metric:
    family = GaugeMetricFamily(name, told, labels=labels)
    for values, number in found.items():
        family.add_metric(values, number)
    return family


def _counter(name: str, told: str, labels: Labels, found: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, told, labels=labels)
    for values, number in found.items():
        family.add_metric(values, number)
    return family


def _histograms(name: str, told: str, labels: Labels, found: Mapping[Labels, Histogram]) -> Metric:
    """Return a family; histograms that have seen nothing are left out where labels tell them."""
    family = HistogramMetricFamily(name, told, labels=labels)
    for values, histogram in found.items():
        if labels and not histogram.count:
            continue
        bounds = [*(repr(float(bound)) for bound in histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
        family.add_metric(values, buckets, histogram.total)
    return family
