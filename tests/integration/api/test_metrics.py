"""What /metrics tells of a service that places pods."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from scheduler.api.configuration import ApiSettings
from scheduler.api.server import build, serve
from scheduler.api.traffic import Telemetry, Traffic
from scheduler.informer import Informer
from scheduler.meter import Meter
from scheduler.metrics import Leading, Rooms, exposition, register
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.node import node_view
from scheduler.objects.pod import pod_view
from scheduler.placement.cycle import Placement
from scheduler.placement.measures import PlacementMeasures
from scheduler.placement.tenants import NODE
from tests.integration.api.conftest import NOBODY
from tests.placement_cases import every_rule
from tests.store_values import create

PODS = "/api/v1/namespaces/default/pods"


class Service:
    """A leader with an API, and what it tells of itself."""

    def __init__(self, store, session, leading, measures):
        self.store, self.session = store, session
        self._leading, self._measures = leading, measures

    @asynccontextmanager
    async def leads(self):
        async with self.store.leadership("test").hold() as epoch, asyncio.TaskGroup() as group:
            index = {NODE: lambda pod: (pod.node,) if pod.node else ()}
            pods = Informer(self.store, "pods", pod_view, index)
            nodes = Informer(self.store, "nodes", node_view)
            rules = every_rule()
            placement = Placement(
                self.store, rules, epoch, pods=pods, nodes=nodes, measures=self._measures
            )
            self._leading.placement, self._leading.rules = placement, rules
            parts = [group.create_task(part.run()) for part in (pods, nodes, placement)]
            yield pods
            for part in parts:
                part.cancel()
        self._leading.placement, self._leading.rules = None, {}

    async def text(self, **headers):
        async with self.session.get("/metrics", headers=headers) as answer:
            assert answer.status == 200
            return await answer.text(), answer.headers["Content-Type"]

    async def numbers(self):
        """Return {(sample, labels without empty ones): number}."""
        text, _ = await self.text()
        return {
            (sample.name, frozenset((k, v) for k, v in sample.labels.items() if v)): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def number(self, name, /, **labels):
        return (await self.numbers()).get((name, frozenset(labels.items())))

    async def reaches(self, wanted, name, /, **labels):
        async with asyncio.timeout(20):
            while await self.number(name, **labels) != wanted:
                pass

    async def post(self, path, body):
        async with self.session.post(path, json=body) as answer:
            assert answer.status == 201, await answer.text()
            return await answer.json()

    async def pods(self, *names, **spec):
        for name in names:
            request = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
            spec = {"containers": [request]} | spec
            meta = {"name": name}
            await self.post(
                PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
            )


@asynccontextmanager
async def serving(store, **changes):
    rooms = Rooms(store, Leading(), PlacementMeasures(), Traffic())
    registry = CollectorRegistry()
    register(registry, rooms)
    settings = ApiSettings(port=0, **changes)
    telemetry = Telemetry(rooms.traffic, exposition(registry))
    app = build(store, REGISTRY, Meter(None), NOBODY, settings, telemetry)
    started = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, settings, started))
    try:
        port = await started
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield Service(store, session, rooms.leading, rooms.placement)
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def service(store):
    await store.write(create("namespaces", "default"))
    async with serving(store) as running:
        yield running


def node(cpu="2"):
    offer = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    return create("nodes", "n", status=json.dumps({"allocatable": offer}).encode())


def under(name):
    return {"schedulingGates": [{"name": name}]}


async def test_placement_tells_what_it_decided_and_how_long_it_took(service):
    scheduled = {"result": "scheduled", "profile": "default-scheduler"}
    assert await service.number("leader_election_master_status", name="ironfree") == 0
    await service.store.write(node())
    async with service.leads():
        await service.pods("a", "b", "c")
        await service.reaches(2, "scheduler_schedule_attempts_total", **scheduled)
        await service.reaches(1, "scheduler_pending_pods", queue="unschedulable")
        await service.pods("gated", **under("example.com/gate"))
        await service.reaches(1, "scheduler_pending_pods", queue="gated")
        found = await service.numbers()
    of = {name: value for (name, labels), value in found.items() if not labels}
    assert found["leader_election_master_status", frozenset({("name", "ironfree")})] == 1
    assert of["scheduler_pod_scheduling_attempts_count"] == 2
    assert of["ironfree_scheduling_pods_in_flight"] == 0
    assert of["scheduler_preemption_victims_count"] == 0
    assert of["scheduler_preemption_attempts_total"] >= 1

    def labelled(name, **labels):
        return found.get((name, frozenset(labels.items())))

    fit = {"plugin": "NodeResourcesFit", "profile": "default-scheduler"}
    assert labelled("scheduler_unschedulable_pods", **fit) == 1
    calls = {**fit, "extension_point": "Filter", "status": "Success"}
    assert labelled("scheduler_plugin_execution_duration_seconds_count", **calls) >= 2
    assert labelled("scheduler_plugin_execution_duration_seconds_sum", **calls) > 0
    assert labelled("scheduler_pod_scheduling_sli_duration_seconds_count", attempts="1") == 2
    assert labelled("scheduler_scheduling_attempt_duration_seconds_count", **scheduled) == 2
    for phase in ("ingest", "freeze", "pop", "place", "preempt", "check", "account", "bind"):
        name = "ironfree_scheduling_phase_duration_seconds_count"
        assert labelled(name, phase=phase) >= 1, phase
    for queue in ("active", "backoff"):
        assert labelled("scheduler_pending_pods", queue=queue) == 0
    assert await service.number("leader_election_master_status", name="ironfree") == 0
    kept = await service.number("scheduler_schedule_attempts_total", **scheduled)
    assert kept == 2
    assert await service.number("scheduler_pending_pods", queue="gated") is None


async def test_a_pod_that_had_to_wait_tells_its_tries_and_its_whole_time(service):
    async with service.leads():
        await service.pods("p")
        await service.reaches(1, "scheduler_pending_pods", queue="unschedulable")
        await service.store.write(node())
        name = "scheduler_pod_scheduling_sli_duration_seconds_count"
        await service.reaches(1, name, attempts="2")
        waited = await service.number(name.replace("_count", "_sum"), attempts="2")
    assert waited >= 1.0  # the first back-off
    assert await service.number("scheduler_pod_scheduling_attempts_sum") == 2


async def test_preemption_tells_its_victims(service):
    high = create("priorityclasses.scheduling.k8s.io", "high", body=b'{"value":1000}')
    await service.store.write(node("1"))
    await service.store.write(high)
    async with service.leads():
        await service.pods("low")
        await service.reaches(1, "scheduler_pod_scheduling_attempts_count")
        await service.pods("high", priority=1000, priorityClassName="high")
        await service.reaches(1, "scheduler_preemption_victims_count")
    assert await service.number("scheduler_preemption_victims_sum") == 1


async def test_requests_are_told_by_what_they_were(service):
    await service.pods("a")
    for path, status in [
        (PODS, 200),
        (f"{PODS}/a", 200),
        (f"{PODS}/absent", 404),
        ("/api/v1/pods", 200),
        ("/version", 200),
        ("/api/v1/nonsense/x/y/z", 404),
    ]:
        async with service.session.get(path) as answer:
            assert answer.status == status
    found = await service.numbers()

    def requests(**labels):
        return found.get(("apiserver_request_total", frozenset(labels.items())))

    pods = {"version": "v1", "resource": "pods"}
    assert requests(verb="POST", **pods, scope="namespace", code="201") == 1
    assert requests(verb="LIST", **pods, scope="namespace", code="200") == 1
    assert requests(verb="LIST", **pods, scope="cluster", code="200") == 1
    assert requests(verb="GET", **pods, scope="resource", code="200") == 1
    assert requests(verb="GET", **pods, scope="resource", code="404") == 1
    assert requests(verb="GET", code="404") == 1
    spent = {"verb": "GET", **pods, "scope": "resource"}
    name = "apiserver_request_duration_seconds_count"
    assert found[name, frozenset(spent.items())] == 2
    in_flight = "apiserver_current_inflight_requests"
    assert found[in_flight, frozenset({("request_kind", "mutating")})] == 0
    assert found[in_flight, frozenset({("request_kind", "readOnly")})] == 1  # the scrape itself


async def test_open_watches_are_told_while_they_are_open(service):
    watch = {"verb": "WATCH", "version": "v1", "resource": "pods", "scope": "cluster"}
    name = "apiserver_longrunning_requests"
    async with service.session.get("/api/v1/pods?watch=1&timeoutSeconds=60") as answer:
        assert answer.status == 200
        assert await service.number(name, **watch) == 1
    async with service.session.get("/api/v1/pods?watch=1&timeoutSeconds=1") as answer:
        await answer.read()
    await service.reaches(2, "apiserver_request_total", **watch, code="200")
    assert await service.number("apiserver_request_duration_seconds_count", **watch) is None
    await service.reaches(0, name, **watch)


async def test_the_store_tells_of_its_transactions(service):
    before = await service.numbers()
    await service.store.write_many([create("configmaps", f"c{n}", "default") for n in range(50)])
    after = await service.numbers()

    def grown(name):
        return after[name, frozenset()] - before[name, frozenset()]

    assert grown("ironfree_store_commit_operations_count") == 1
    assert grown("ironfree_store_commit_operations_sum") == 50
    assert grown("ironfree_store_commit_duration_seconds_count") == 1
    assert grown("ironfree_store_revision") == 50
    assert after["ironfree_store_queued_operations", frozenset()] == 0
    assert after["process_resident_memory_bytes", frozenset()] > 1e6


async def test_a_client_that_wants_openmetrics_gets_it(service):
    text, kind = await service.text()
    assert kind.startswith("text/plain")
    text, kind = await service.text(Accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert "scheduler_schedule_attempts" in {family.name for family in open_families(text)}


async def test_metrics_ask_for_the_token(store):
    async with serving(store, token="s3cret") as service:
        async with service.session.get("/metrics") as answer:
            assert answer.status == 401
        await service.text(Authorization="Bearer s3cret")
        async with service.session.post(
            "/metrics", headers={"Authorization": "Bearer s3cret"}
        ) as answer:
            assert answer.status == 405
        for path in ("/livez", "/readyz", "/healthz"):
            async with service.session.get(path) as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
