import base64
import contextlib
import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.api.protobuf import MAGIC, decode, message_name
from scheduler.errors import BadRequest
from scheduler.objects.checking import check
from scheduler.objects.schema import Field, Type, load


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def record(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def encode_item(field, value):
    match field.type:
        case Type.INT | Type.BOOL:
            return int(value)
        case Type.STRING:
            return value.encode()
        case Type.BYTES:
            return base64.b64decode(value)
        case Type.QUANTITY:
            return record(1, value.encode())
        case Type.INT_OR_STRING if isinstance(value, int):
            return record(1, 0) + record(2, value) + record(3, b"")
        case Type.INT_OR_STRING:
            return record(1, 1) + record(2, 0) + record(3, value.encode())
        case Type.TIME | Type.MICRO_TIME:
            moment = datetime.fromisoformat(value)
            whole = int(moment.replace(microsecond=0).timestamp())
            return record(1, whole) + record(2, moment.microsecond * 1000)
        case Type.STRINGS:
            return b"".join(record(1, item.encode()) for item in value)
        case Type.ANY:
            return record(1, json.dumps(value).encode())
        case _:
            return encode_message(field.message, value)


def encode_message(name, obj):
    out = b""
    for key, value in obj.items():
        field = load().message(name).fields[key]
        if field.map:
            entries = [(k.encode(), encode_item(field, v)) for k, v in value.items()]
            items = [record(1, k) + record(2, v) for k, v in entries]
        else:
            items = [encode_item(field, v) for v in (value if field.repeated else [value])]
        for item in items:
            whole = record(field.number, item)
            for number in reversed(field.inside):
                whole = record(number, whole)
            out += whole
    return out


def encode(obj):
    body = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind")}
    name = message_name(obj["apiVersion"], obj["kind"])
    meta = record(1, obj["apiVersion"].encode()) + record(2, obj["kind"].encode())
    return MAGIC + record(1, meta) + record(2, encode_message(name, body)) + record(4, b"")


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web",
        "labels": {"app": "web", "empty": ""},
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    },
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "hostNetwork": False,
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "command": ["sh", ""],
                "resources": {"requests": {"cpu": "100m"}},
                "livenessProbe": {"httpGet": {"port": 80, "path": "/"}, "periodSeconds": 3},
                "readinessProbe": {"tcpSocket": {"port": "http"}},
                "env": [
                    {
                        "name": "K",
                        "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}},
                    }
                ],
            }
        ],
        "ephemeralContainers": [{"name": "debug", "targetContainerName": "c"}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/x"}}],
        "tolerations": [{"tolerationSeconds": -1}],
    },
    "status": {},
}


@pytest.mark.parametrize(
    "obj",
    [
        POD,
        {"apiVersion": "v1", "kind": "Secret", "data": {"a": "AAE="}, "type": "Opaque"},
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "spec": {"renewTime": "2026-01-02T03:04:05.000007Z", "leaseTransitions": 0},
        },
        {"apiVersion": "ironfree.dev/v1", "kind": "DockerHost", "spec": {"address": "unix:///x"}},
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"extra": {"a": ["b", "c"]}},
        },
    ],
    ids=lambda obj: obj["kind"],
)
def test_an_encoded_object_decodes_to_itself(obj):
    assert decode(encode(obj)) == obj
    assert check(message_name(obj["apiVersion"], obj["kind"]), decode(encode(obj))) == []


def test_delete_options_come_under_any_api_version():
    body = MAGIC + record(1, record(1, b"apps/v1") + record(2, b"DeleteOptions"))
    assert decode(body + record(2, record(1, 0) + record(4, b"Foreground"))) == {
        "apiVersion": "apps/v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Foreground",
    }


def envelope(raw, kind=b"Pod"):
    return MAGIC + record(1, record(1, b"v1") + record(2, kind)) + record(2, raw)


def test_empty_strings_and_zero_times_are_left_out_but_zeros_stay():
    meta = record(1, b"a") + record(2, b"") + record(7, 0) + record(8, b"")
    assert decode(envelope(record(1, meta)))["metadata"] == {"name": "a", "generation": 0}


def test_unknown_fields_are_skipped():
    fixed = varint(1000 << 3 | 1) + b"12345678" + varint(1001 << 3 | 5) + b"1234"
    assert decode(envelope(fixed + record(999, b"x") + record(998, 7))) == {
        "apiVersion": "v1",
        "kind": "Pod",
    }


def test_packed_numbers_are_read_too():
    packed = record(4, varint(1) + varint(300))  # PodSecurityContext.supplementalGroups
    pod = decode(envelope(record(2, record(14, packed))))
    assert pod["spec"] == {"securityContext": {"supplementalGroups": [1, 300]}}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{}", "does not begin with"),
        (MAGIC, "no kind"),
        (envelope(b"", b"Nonsense"), 'no kind "Nonsense" is registered for version "v1"'),
        (envelope(b"\x0a\xff"), "cut short"),
        (envelope(b"\x00\x00"), "illegal field number"),
        (envelope(b"\x0b"), "illegal wire type 3"),
        (envelope(b"\xff" * 11), "longer than 64 bits"),
        (envelope(record(1, 5)), "wrong wire type of field metadata"),
        (envelope(record(1, record(1, b"\xff"))), "not UTF-8"),
        (envelope(record(1, record(8, record(1, 2**62)))), "outside the years"),
        (envelope(record(1, record(17, record(7, record(1, b"{"))))), "does not hold JSON"),
        (envelope(record(2, record(2, b"") * 500_001)), "more than 500000 values"),
        (envelope(b"") + record(3, b"gzip"), "contentEncoding"),
    ],
)
def test_a_damaged_body_is_a_bad_request_that_says_why(data, says):
    with pytest.raises(BadRequest, match=says):
        decode(data)


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_else(garbage):
    for data in (garbage, MAGIC + garbage, envelope(garbage)):
        with contextlib.suppress(BadRequest):
            decode(data)


@given(st.integers(0, 500), st.binary(min_size=1, max_size=4))
def test_a_damaged_pod_never_raises_anything_else(position, garbage):
    good = encode(POD)
    position %= len(good)
    with contextlib.suppress(BadRequest):
        json.dumps(decode(good[:position] + garbage + good[position + len(garbage) :]))


TEXT = st.text(max_size=8)
SCALARS = {
    Type.STRING: TEXT.filter(bool),
    Type.BOOL: st.booleans(),
    Type.INT: st.integers(-(2**31), 2**31 - 1),
    Type.BYTES: st.binary(min_size=1, max_size=5).map(lambda b: base64.b64encode(b).decode()),
    Type.QUANTITY: st.sampled_from(["1", "100m", "2Gi"]),
    Type.TIME: st.datetimes().map(lambda t: f"{t.replace(microsecond=0).isoformat()}Z"),
    Type.MICRO_TIME: st.datetimes().map(lambda t: f"{t.isoformat(timespec='microseconds')}Z"),
    Type.INT_OR_STRING: st.integers(-(2**31), 2**31 - 1) | TEXT.filter(bool),
    Type.STRINGS: st.lists(TEXT, min_size=1, max_size=1),
    Type.ANY: st.dictionaries(TEXT, st.integers(0, 9), max_size=2),
}


@st.composite
def messages(draw, name, depth=3):
    known = load().message(name).fields
    obj = {}
    for key in draw(st.lists(st.sampled_from([*known]), max_size=2, unique=True)):
        field = known[key]
        if depth and not (field.type is Type.ANY and field.message.startswith("scheduling.")):
            obj[field.name] = draw(values(field, depth - 1))
    return obj


def values(field: Field, depth):
    item = messages(field.message, depth) if field.type is Type.MESSAGE else SCALARS[field.type]
    if field.map:
        return st.dictionaries(TEXT, item, min_size=1, max_size=1)
    return st.lists(item, min_size=1, max_size=1) if field.repeated else item


TOP = ["core.v1.Pod", "core.v1.Node", "core.v1.Service", "batch.v1.Job", "core.v1.Event"]


@given(st.sampled_from(TOP).flatmap(lambda name: st.tuples(st.just(name), messages(name))))
def test_any_object_of_the_schema_survives_the_wire(case):
    name, obj = case
    zero = "0001-01-01T00:00:00"
    if zero in json.dumps(obj):
        return
    api_version = "batch/v1" if name.startswith("batch") else "v1"
    whole = {"apiVersion": api_version, "kind": name.rpartition(".")[2], **obj}
    assert decode(encode(whole)) == whole
