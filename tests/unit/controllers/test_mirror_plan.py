"""Which slices hand-written Endpoints need."""

from datetime import UTC, datetime

import msgspec

from scheduler.controllers.mirror_plan import MOST_MIRRORED, Mirror, plan_mirror
from scheduler.objects.endpoints import endpoints_view, slice_view
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, StoredObject
from scheduler.store.operations import Create, Remove, Replace

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HTTP, DNS = {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}


def endpoints(*subsets, uid="e", **meta):
    made = ObjectMeta(name="web", namespace="default", uid=uid, **meta)
    body = Body(msgspec.json.encode({"subsets": list(subsets)}))
    return endpoints_view(StoredObject("endpoints", made, 1, 1, body))


def subset(*ready, waiting=(), ports=(HTTP,)):
    return {
        "addresses": [{"ip": each} for each in ready],
        "notReadyAddresses": [{"ip": each} for each in waiting],
        "ports": list(ports),
    }


def told(mirror):
    return [
        {each.addresses[0]: each.conditions.ready for each in endpoints}
        for endpoints in mirror.by_ports.values()
    ]


def plan(wanted, slices=()):
    return plan_mirror(wanted, Mirror.of(wanted), slices, NOW)


def seen(write, **fields):
    stored = StoredObject(write.resource, write.meta, 2, 1, write.body)
    return msgspec.structs.replace(slice_view(stored), **fields)


def test_subsets_of_the_same_ports_are_one_slice():
    spelt_out = {**HTTP, "protocol": "TCP"}
    wanted = endpoints(subset("192.0.2.1"), subset("192.0.2.2", ports=[spelt_out]))
    assert told(Mirror.of(wanted)) == [{"192.0.2.1": True, "192.0.2.2": True}]
    apart = endpoints(subset("192.0.2.1"), subset("192.0.2.1", ports=[DNS]))
    assert told(Mirror.of(apart)) == [{"192.0.2.1": True}] * 2


def test_an_address_that_is_said_to_be_both_is_not_ready():
    both = endpoints(subset("192.0.2.1", waiting=["192.0.2.1"]), subset("192.0.2.1"))
    assert told(Mirror.of(both)) == [{"192.0.2.1": False}]


def test_what_does_not_fit_is_counted():
    many = [f"192.0.{n // 250}.{n % 250}" for n in range(MOST_MIRRORED)]
    mirror = Mirror.of(endpoints(subset(*many, waiting=["10.0.0.1", many[0], "2001:db8::1"])))
    assert (mirror.beyond, mirror.foreign) == (1, 1)
    (found,) = told(mirror)
    assert len(found) == MOST_MIRRORED
    assert found[many[0]] is False
    assert [reason for reason, _ in mirror.complaints()] == [
        "InvalidIPAddress",
        "TooManyAddressesToMirror",
    ]
    assert Mirror.of(endpoints(subset("192.0.2.1"))).complaints() == []


def test_nothing_is_written_where_nothing_has_changed():
    wanted = endpoints(subset("192.0.2.1"), subset(waiting=["192.0.2.2"], ports=[DNS]))
    writes = plan(wanted)
    assert [type(each) for each in writes] == [Create, Create]
    assert plan(wanted, [seen(each) for each in writes]) == []


def test_a_slice_whose_ports_are_gone_takes_others():
    (made,) = plan(endpoints(subset("192.0.2.1")))
    (write,) = plan(endpoints(subset("192.0.2.1", ports=[DNS])), [seen(made)])
    assert isinstance(write, Replace)
    assert (write.meta.uid, seen(write).ports[0].port) == (made.meta.uid, 53)


def test_a_slice_of_other_addresses_is_removed():
    (made,) = plan(endpoints(subset("192.0.2.1")))
    writes = plan(endpoints(subset("192.0.2.1")), [seen(made, address_type="IPv6")])
    assert [type(each) for each in writes] == [Create, Remove]


def test_slices_belong_to_the_endpoints_that_there_are():
    (made,) = plan(endpoints(subset("192.0.2.1")))
    (write,) = plan(endpoints(subset("192.0.2.1"), uid="anew"), [seen(made)])
    assert isinstance(write, Replace)
    assert [each.uid for each in write.meta.owner_references] == ["anew"]
