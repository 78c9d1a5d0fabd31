"""Where a Service is found."""

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from scheduler.controllers.endpoint_plan import Backends, endpoints_of, plan_slices
from scheduler.objects.endpoints import MOST, slice_view
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import pod_view
from scheduler.objects.service import service_view
from scheduler.objects.stored import Body, StoredObject, intern_body
from scheduler.store.operations import Create, Remove, Replace

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def service(ports=({"port": 80, "name": "", "protocol": "TCP", "targetPort": 8080},), **spec):
    meta = ObjectMeta(name="web", namespace="default", uid="service", labels={"team": "a"})
    body = msgspec.json.encode({"spec": {"selector": {"app": "web"}, "ports": list(ports), **spec}})
    return service_view(StoredObject("services", meta, 1, 1, Body(body), b""))


def pod(name, ip="10.0.0.1", ready=True, phase="Running", named=None, deleted=False, **spec):
    meta = ObjectMeta(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        deletion_timestamp=NOW if deleted else None,
    )
    ports = [{"containerPort": number, "name": key} for key, number in (named or {}).items()]
    body = {"spec": {"containers": [{"name": "c", "image": "i", "ports": ports}], **spec}}
    status = {
        "phase": phase,
        "podIP": ip,
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    encoded = msgspec.json.encode(status)
    stored = StoredObject("pods", meta, 1, 1, intern_body(msgspec.json.encode(body)), encoded)
    return pod_view(stored)


def written(writes, before=()):
    """Return the slices as they are after some writes."""
    slices = {each.meta.name: each for each in before}
    for write in writes:
        if isinstance(write, Remove):
            del slices[write.key.name]
        else:
            assert isinstance(write, (Create, Replace))
            stored = StoredObject(write.resource, write.meta, 2, 1, write.body, b"")
            slices[write.meta.name] = slice_view(stored)
    return list(slices.values())


def slices_of(wanted, pods, before=(), zones=None):
    return written(plan_slices(Backends.of(wanted, pods, zones or {}), before, NOW), before)


def told(endpoint):
    said = endpoint.conditions
    return said.ready, said.serving, said.terminating


def test_a_ready_pod_is_told_of_with_its_port_and_place():
    wanted = service()
    backends = Backends.of(wanted, [pod("a", "10.0.0.7")], {"": "z1"})
    (found,) = written(plan_slices(backends, (), NOW))
    assert found.meta.labels == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert found.meta.owner_references[0].uid == "service"
    assert [(port.name, port.port, port.protocol) for port in found.ports] == [("", 8080, "TCP")]
    (endpoint,) = found.endpoints
    assert endpoint.addresses == ("10.0.0.7",)
    assert (endpoint.target_ref.name, endpoint.zone) == ("a", "z1")
    assert told(endpoint) == (True, True, False)


def test_nobody_is_told_of_by_one_empty_slice():
    (found,) = slices_of(service(), [])
    assert (found.endpoints, found.ports) == ((), ())
    assert slices_of(service(), [], [found]) == [found]


def test_pods_that_have_ended_or_have_no_address_are_left_out():
    pods = [pod("a", phase="Succeeded"), pod("b", phase="Failed"), pod("c", ip="")]
    (found,) = slices_of(service(), pods)
    assert found.endpoints == ()


def test_readiness_and_an_end_are_told():
    pods = [pod("a", ready=False), pod("b", deleted=True), pod("c", ready=False, deleted=True)]
    (found,) = slices_of(service(), pods)
    assert {e.target_ref.name: told(e) for e in found.endpoints} == {
        "a": (False, False, False),
        "b": (False, True, True),
        "c": (False, False, True),
    }
    (found,) = slices_of(service(publishNotReadyAddresses=True), pods)
    assert [told(e)[0] for e in found.endpoints] == [True, True, True]


def test_named_ports_are_each_pods_own():
    ports = [
        {"port": 80, "name": "http", "protocol": "TCP", "targetPort": "web"},
        {"port": 90, "name": "stats", "protocol": "TCP", "targetPort": "stats"},
    ]
    pods = [
        pod("a", named={"web": 8080, "stats": 9090}),
        pod("b", named={"web": 8081, "stats": 9090}),
        pod("c", named={"web": 8080}),
        pod("d"),
    ]
    found = slices_of(service(ports), pods)
    assert {tuple((p.name, p.port) for p in each.ports) for each in found} == {
        (("http", 8080), ("stats", 9090)),
        (("http", 8081), ("stats", 9090)),
        (("http", 8080),),
    }
    assert sorted(e.target_ref.name for each in found for e in each.endpoints) == ["a", "b", "c"]


def test_a_headless_service_without_ports_has_addresses():
    wanted = service((), clusterIP="None")
    (found,) = slices_of(wanted, [pod("a", hostname="db-0", subdomain="web"), pod("b")])
    assert found.meta.labels["service.kubernetes.io/headless"] == ""
    assert [e.hostname for e in found.endpoints] == ["db-0", None]
    assert found.ports == ()


def test_what_stays_is_not_written_again():
    pods = [pod(f"p{n}", f"10.0.0.{n}") for n in range(1, 9)]
    before = slices_of(service(), pods)
    assert plan_slices(Backends.of(service(), pods, {}), before, NOW) == []
    changed = [*pods[:-1], pod("p8", "10.0.0.8", ready=False)]
    (write,) = plan_slices(Backends.of(service(), changed, {}), before, NOW)
    assert isinstance(write, Replace)


def test_old_labels_are_mended():
    (before,) = slices_of(service(), [pod("a")])
    meta = msgspec.structs.replace(before.meta, labels={**before.meta.labels, "team": "b"})
    before = slice_view(msgspec.structs.replace(before.stored, meta=meta))
    (after,) = slices_of(service(), [pod("a")], [before])
    assert after.meta.labels["team"] == "a"


numbers = st.lists(st.integers(0, 400), unique=True, max_size=350)


@given(first=numbers, second=numbers, odd=st.integers(1, 5))
def test_everybody_is_in_one_slice_and_stays_there(first, second, odd):
    def pods(which):
        named = {True: {"web": 1}, False: {"web": 2}}
        return [
            pod(f"p{n}", f"10.1.{n // 250}.{n % 250}", named=named[n % odd == 0]) for n in which
        ]

    wanted = service(({"port": 80, "name": "", "protocol": "TCP", "targetPort": "web"},))
    before = slices_of(wanted, pods(first))
    after = slices_of(wanted, pods(second), before)
    for which, slices in ((first, before), (second, after)):
        names = [e.target_ref.name for each in slices for e in each.endpoints]
        assert sorted(names) == sorted(f"p{n}" for n in which)
        assert all(len(each.endpoints) <= MOST for each in slices)
        assert slices
        assert len(slices) == 1 or all(each.endpoints for each in slices)
    places = {e.target_ref.name: s.meta.name for s in before for e in s.endpoints}
    for each in after:
        for endpoint in each.endpoints:
            name = endpoint.target_ref.name
            assert places.get(name, each.meta.name) == each.meta.name


def test_endpoints_tell_ready_ones_apart_and_leave_out_those_that_end():
    pods = [pod("a", "10.0.0.1"), pod("b", "10.0.0.2", ready=False), pod("c", deleted=True)]
    made = endpoints_of(Backends.of(service(), pods, {}), NOW)
    (subset,) = msgspec.json.decode(made.body.json)["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["10.0.0.1"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert made.meta.name == "web"


def test_endpoints_are_cut_at_a_thousand_and_say_so():
    pods = [pod(f"p{n}", f"10.1.{n // 250}.{n % 250}", ready=n % 2 == 0) for n in range(1500)]
    made = endpoints_of(Backends.of(service(), pods, {}), NOW)
    (subset,) = msgspec.json.decode(made.body.json)["subsets"]
    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (750, 250)
    assert made.meta.annotations == {"endpoints.kubernetes.io/over-capacity": "truncated"}
