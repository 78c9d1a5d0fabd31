"""What hosts are told of a Service."""

import msgspec
import pytest

from scheduler.network.table import Surroundings, entries_of
from scheduler.networks import Backend, Listener, Record
from scheduler.objects.endpoints import slice_view
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.service import service_view
from scheduler.objects.stored import Body, StoredObject

ZONE = "cluster.local"
WEB = f"web.shop.svc.{ZONE}"


def stored(resource, body):
    meta = ObjectMeta(name="web", namespace="shop", uid="u")
    return StoredObject(resource, meta, 1, 1, Body(msgspec.json.encode(body)), b"")


def service(**spec):
    spec = {"clusterIP": "10.96.0.20", "ports": [{"port": 80, "protocol": "TCP"}], **spec}
    return service_view(stored("services", {"spec": spec}))


def endpoint(address, *, ready=True, serving=None, **more):
    serving = ready if serving is None else serving
    return {"addresses": [address], "conditions": {"ready": ready, "serving": serving}, **more}


def slices(*endpoints, ports=({"port": 8080, "name": "", "protocol": "TCP"},)):
    body = {"addressType": "IPv4", "endpoints": list(endpoints), "ports": list(ports)}
    return [slice_view(stored("endpointslices.discovery.k8s.io", body))]


def told(of, found, reaches=lambda _: True, declared=lambda _: ()):
    around = Surroundings(ZONE, reaches, lambda address: address.startswith("10.240."), declared)
    return {each.key: each for each in entries_of(of, found, around)}


def backends(entries, port=80):
    (listener,) = (e for e in entries.values() if isinstance(e, Listener) and e.port == port)
    return [f"{each.address}:{each.port}" for each in listener.backends]


def test_an_address_a_name_and_who_is_ready():
    entries = told(service(), slices(endpoint("10.240.1.2"), endpoint("10.240.2.2", ready=False)))
    assert [*entries.values()] == [
        Record(WEB, "A", ("10.96.0.20",)),
        Listener("10.96.0.20", 80, "TCP", (Backend("10.240.1.2", 8080),)),
    ]


def test_nobody_ready_leaves_those_that_end_and_still_serve():
    going = endpoint("10.240.1.2", ready=False, serving=True)
    gone = endpoint("10.240.1.3", ready=False)
    assert backends(told(service(), slices(going, gone))) == ["10.240.1.2:8080"]
    ready = endpoint("10.240.1.4")
    assert backends(told(service(), slices(going, gone, ready))) == ["10.240.1.4:8080"]
    assert backends(told(service(), slices(gone))) == []


def test_who_cannot_be_reached_from_everywhere_is_nobody():
    found = slices(endpoint("172.17.0.2"), endpoint("10.240.1.2"))
    entries = told(service(), found, reaches=lambda each: each.addresses[0] != "172.17.0.2")
    assert backends(entries) == ["10.240.1.2:8080"]


def test_ports_are_told_apart_by_name_and_protocol():
    ports = [
        {"port": 80, "name": "http", "protocol": "TCP"},
        {"port": 53, "name": "dns", "protocol": "UDP"},
        {"port": 9, "name": "other", "protocol": "SCTP"},
    ]
    found = slices(
        endpoint("10.240.1.2"),
        ports=(
            {"port": 8080, "name": "http", "protocol": "TCP"},
            {"port": 5353, "name": "dns", "protocol": "UDP"},
            {"port": 9, "name": "other", "protocol": "SCTP"},
        ),
    )
    entries = told(service(ports=ports, sessionAffinity="ClientIP"), found)
    assert backends(entries, 80) == ["10.240.1.2:8080"]
    assert backends(entries, 53) == ["10.240.1.2:5353"]
    listeners = [each for each in entries.values() if isinstance(each, Listener)]
    assert [(each.protocol, each.sticky) for each in listeners] == [("TCP", True), ("UDP", True)]
    located = {each.name: each.values for each in entries.values() if isinstance(each, Record)}
    assert located[f"_http._tcp.{WEB}"] == (f"80:{WEB}",)
    assert located[f"_dns._udp.{WEB}"] == (f"53:{WEB}",)


def test_a_port_of_nodes_leads_to_the_same():
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}]
    entries = told(service(type="NodePort", ports=ports), slices(endpoint("10.240.1.2")))
    assert backends(entries, 30080) == backends(entries, 80) == ["10.240.1.2:8080"]
    assert ("listener", "0.0.0.0", "30080", "TCP") in entries


def test_without_an_address_the_name_means_the_pods_and_each_has_one_of_its_own():
    found = slices(
        endpoint("10.240.1.2", hostname="web-0"),
        endpoint("10.240.2.2"),
        endpoint("10.240.2.3", ready=False),
        ports=({"port": 9042, "name": "cql", "protocol": "TCP"},),
    )
    of = service(clusterIP="None", ports=[{"port": 9042, "name": "cql", "protocol": "TCP"}])
    entries = told(of, found, declared=lambda _: [(7000, "TCP"), (9042, "TCP"), (5, "SCTP")])
    names = {(e.name, e.kind): e.values for e in entries.values() if isinstance(e, Record)}
    assert names == {
        (WEB, "A"): ("10.240.1.2", "10.240.2.2"),
        (f"web-0.{WEB}", "A"): ("10.240.1.2",),
        (f"10-240-2-2.{WEB}", "A"): ("10.240.2.2",),
        (f"_cql._tcp.{WEB}", "SRV"): (f"9042:10-240-2-2.{WEB}", f"9042:web-0.{WEB}"),
    }
    listeners = {
        (e.address, e.port): e.backends for e in entries.values() if isinstance(e, Listener)
    }
    assert listeners == {
        (address, port): (Backend(address, port),)
        for address in ("10.240.1.2", "10.240.2.2")
        for port in (7000, 9042)
    }


def test_an_address_that_is_no_pods_is_a_name_only():
    found = slices(endpoint("192.0.2.1", hostname="node"), endpoint("10.240.1.2"))
    entries = told(service(clusterIP="None"), found)
    assert {e.address for e in entries.values() if isinstance(e, Listener)} == {"10.240.1.2"}
    assert entries["record", WEB, "A"].values == ("10.240.1.2", "192.0.2.1")
    assert entries["record", f"node.{WEB}", "A"].values == ("192.0.2.1",)


@pytest.mark.parametrize("name", ["db.example.com", "DB.example.com."])
def test_a_name_elsewhere(name):
    of = service(type="ExternalName", externalName=name, clusterIP="", ports=[])
    assert [*told(of, []).values()] == [Record(WEB, "CNAME", ("db.example.com",))]


def test_an_address_that_is_not_given_yet_is_nothing():
    assert told(service(clusterIP=""), []) == {}
