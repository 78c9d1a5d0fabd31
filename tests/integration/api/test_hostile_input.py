"""Input made to break things: refused with a Status, quickly, and the store stays as it was."""

import asyncio
import copy
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}
PROTOBUF = {"Content-Type": "application/vnd.kubernetes.protobuf"}
LINES = {"Content-Type": "application/x-ndjson"}
PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PODS = "/api/v1/namespaces/default/pods"
CONFIG = "/api/v1/namespaces/default/configmaps"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "hostile", "labels": {"app": "hostile"}},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "x:1",
                "command": ["run"],
                "env": [{"name": "A", "value": "b"}],
                "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}},
                "ports": [{"containerPort": 80}],
            }
        ],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "effect": "NoExecute", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 5,
    },
}


async def refused(api, method, path, codes, **call):
    """Send it; assert a failure Status of one of `codes` and an untouched store. Returns it."""
    before = await api.store.revision()
    answer = await api.call(method, path, **call)
    assert answer.code in codes, (answer.code, answer.body)
    assert (answer.body["kind"], answer.body["status"]) == ("Status", "Failure")
    assert answer.body["message"]
    assert answer.body["code"] == answer.code
    assert await api.store.revision() == before
    return answer.body["message"]


def framed(number, payload):
    """A length-delimited protobuf field."""
    size, length = b"", len(payload)
    while True:
        size += bytes([(length & 127) | (128 if length > 127 else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + payload


def protobuf(payload):
    kind = framed(1, framed(1, b"v1") + framed(2, b"Pod"))
    return b"k8s\x00" + kind + framed(2, payload)


def nested(depth):
    payload = b""
    for _ in range(depth):
        payload = framed(2, payload)
    return payload


WHOLE = json.dumps(POD).encode()
BODIES = {
    "cut at 10": (JSON, WHOLE[:10]),
    "cut at the end": (JSON, WHOLE[:-1]),
    "not a number": (JSON, WHOLE.replace(b'Seconds": 5', b'Seconds": NaN')),
    "beyond any number": (JSON, WHOLE.replace(b'Seconds": 5', b'Seconds": 1e999')),
    "beyond int64": (JSON, WHOLE.replace(b'Seconds": 5', b'Seconds": 9223372036854775808')),
    "5000 digits": (JSON, WHOLE.replace(b'Seconds": 5', b'Seconds": ' + b"9" * 5000)),
    "deep lists": (JSON, b"[" * 10_000),
    "deep objects": (JSON, b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "deep in the spec": (JSON, WHOLE.replace(b'"ssd"', b'{"a":' * 10_000 + b"1" + b"}" * 10_000)),
    "half a surrogate pair": (JSON, WHOLE.replace(b"ssd", b"\\ud800")),
    "raw surrogate": (JSON, WHOLE.replace(b"ssd", b"\xed\xa0\x80")),
    "NUL in an image": (JSON, WHOLE.replace(b"x:1", b"x\\u0000")),
    "NUL in a command": (JSON, WHOLE.replace(b'"run"', b'"r\\u0000"')),
    "NUL in a variable": (JSON, WHOLE.replace(b'"value": "b"', b'"value": "\\u0000"')),
    "NUL in a name": (JSON, WHOLE.replace(b"hostile", b"h\\u0000")),
    "deep YAML lists": (YAML, b"[" * 10_000),
    "deep closed YAML lists": (YAML, b"[" * 10_000 + b"]" * 10_000),
    "deep YAML maps": (YAML, b"{a: " * 10_000),
    "deep YAML blocks": (YAML, b"- " * 10_000),
    "YAML that laughs": (YAML, b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]"),
    "YAML that eats itself": (YAML, b"a: &a [*a]"),
    "YAML number to base 60": (YAML, b"spec: !!int " + b"1:" * 500_000 + b"1"),
    "YAML number without end": (YAML, b"spec: " + b"1" * 500_000),
    "YAML tag that lies: bool": (YAML, b"spec: !!bool x"),
    "YAML tag that lies: int": (YAML, b"spec: !!int x"),
    "YAML tag that lies: float": (YAML, b"spec: !!float x"),
    "YAML tag that lies: time": (YAML, b"spec: !!timestamp x"),
    "YAML tag that lies: bytes": (YAML, b"spec: !!binary '!'"),
    "YAML tag of Python": (YAML, b"!!python/object/apply:os.system [x]"),
    "YAML set": (YAML, b"!!set {a, b}"),
    "two YAML documents": (YAML, b"a: 1\n---\nb: 2"),
    "YAML with control characters": (YAML, b"a: \x01"),
    "deep protobuf": (PROTOBUF, protobuf(nested(3000))),
    "protobuf that overruns": (PROTOBUF, protobuf(b"\x0a\xff\xff\xff\xff\x0f")),
    "protobuf of nothing": (PROTOBUF, b"k8s\x00"),
    "protobuf cut": (PROTOBUF, protobuf(b"hello")[:-3]),
}


@pytest.mark.parametrize(("headers", "data"), BODIES.values(), ids=BODIES)
async def test_a_body_made_to_break_things_is_refused(api, headers, data):
    begun = time.monotonic()
    await refused(api, "POST", PODS, {400, 413, 422}, data=data, headers=headers)
    assert time.monotonic() - begun < 10, "nothing may cost time out of proportion"


async def test_the_pod_that_is_spoilt_here_is_a_good_one(api):
    assert (await api.post(PODS, POD, dryRun="All")).code == 201


async def test_others_are_served_while_a_long_yaml_body_is_read(api):
    data = b"spec: [" + b"a," * 150_000 + b"]"
    slow = asyncio.create_task(refused(api, "POST", PODS, {400}, data=data, headers=YAML))
    served = 0
    while not slow.done():
        assert (await api.get("/livez")).code == 200
        served += 1
    await slow
    assert served > 3


async def test_yaml_keys_given_twice_are_told(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: x\n  k: y\n"
    told = await refused(
        api, "POST", path, {400}, data=body, headers=YAML, fieldValidation="Strict"
    )
    assert 'line 6: key "k" already set in map' in told
    made = await api.call("POST", path, data=body, headers=YAML)
    assert made.code == 201
    assert 'key \\"k\\" already set' in made.headers["Warning"]
    assert made.body["data"] == {"k": "y"}


async def test_yaml_ports_are_text(api, ns):
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {port: 80:80, at: 1:30.5}"
    made = await api.call("POST", f"/api/v1/namespaces/{ns}/configmaps", data=body, headers=YAML)
    assert made.body["data"] == {"port": "80:80", "at": "1:30.5"}


@pytest.mark.parametrize("part", ["%00", "a%00b", "%ff", "%ed%a0%80", "..%2f..", "%20", "x" * 3000])
async def test_names_in_paths_that_nothing_can_have(api, part):
    for path in (f"{PODS}/{part}", f"/api/v1/namespaces/{part}/pods/x", f"/api/v1/nodes/{part}"):
        for method in ("GET", "DELETE"):
            before = await api.store.revision()
            async with api.session.request(method, URL(api.url + path, encoded=True)) as response:
                assert response.status == 404
            assert await api.store.revision() == before
    async with api.session.get(
        URL(f"{api.url}/api/v1/namespaces/{part}/pods", encoded=True)
    ) as response:
        assert response.status == 200
        assert (await response.json())["items"] == []


PATCH_BODIES = {
    "nothing": b"",
    "cut": b"{",
    "null": b"null",
    "text": b'"x"',
    "deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "no text": b"\xff",
    "wrong type": b'{"data":{"a":5}}',
    "another name": b'{"metadata":{"name":"other"}}',
    "another kind": b'{"kind":"Pod"}',
    "NUL": b'{"data":{"a":"\\u0000"}}',
    "metadata is a number": b'{"metadata":5}',
    "version that is none": b'{"metadata":{"resourceVersion":"x"}}',
    "operation that is none": b'[{"op":"jump","path":"/data"}]',
    "path that is none": b'[{"op":"remove","path":"/data/absent"}]',
    "root replaced": b'[{"op":"replace","path":"","value":5}]',
    "into itself": b'[{"op":"move","from":"/metadata","path":"/metadata/labels"}]',
    "doubling": b"[" + b'{"op":"copy","from":"/data","path":"/data/a"},' * 39
    + b'{"op":"copy","from":"/data","path":"/data/a"}]',
}  # fmt: skip


@pytest.mark.parametrize("form", PATCHES)
@pytest.mark.parametrize("data", PATCH_BODIES.values(), ids=PATCH_BODIES)
async def test_a_bad_patch_changes_nothing(api, form, data):
    await api.post(CONFIG, {"metadata": {"name": "patched"}, "data": {"k": "v"}})
    headers = {"Content-Type": PATCHES[form]}
    await refused(
        api,
        "PATCH",
        f"{CONFIG}/patched",
        {400, 409, 413, 422},
        data=data,
        headers=headers,
        fieldManager="m",
    )


async def test_a_strategic_patch_with_an_unknown_directive(api):
    await api.post(CONFIG, {"metadata": {"name": "patched"}, "data": {"k": "v"}})
    headers = {"Content-Type": PATCHES["strategic"]}
    data = b'{"metadata":{"$patch":"explode"}}'
    await refused(api, "PATCH", f"{CONFIG}/patched", {400}, data=data, headers=headers)


QUERIES = [
    *(("labelSelector", v) for v in ("a in (", "=", "!", "a b", "a,,b", "a\0=b", "a=" + "x" * 64)),
    *(("fieldSelector", v) for v in ("spec.foo=1", "=", "metadata.name>1", "a\0=b")),
    *(("continue", v) for v in ("\0", "ä", "e30=", "A" * 3000, "eyJpZCI6NX0=")),
    *(("resourceVersion", v) for v in ("1.5", "9" * 30, "\0", "0x1", " 1", "-1")),
    *(("limit", v) for v in ("1.5", "9" * 30, "\0")),
    ("resourceVersionMatch", "Bogus"),
]


@pytest.mark.parametrize(("name", "value"), QUERIES)
async def test_a_bad_query_is_refused(api, name, value):
    await refused(api, "GET", PODS, {400}, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeoutSeconds", "soon"),
        ("timeoutSeconds", "9" * 30),
        ("resourceVersion", "x"),
        ("resourceVersion", "-1"),
        ("resourceVersion", "\0"),
        ("fieldSelector", "spec.foo=1"),
    ],
)
async def test_a_bad_watch_is_refused_before_it_begins(api, name, value):
    await refused(api, "GET", PODS, {400}, watch="1", **{name: value})


async def test_writers_options_nobody_knows(api):
    for name, value in (("fieldManager", "a\0b"), ("fieldManager", "m" * 129), ("dryRun", "\0")):
        await refused(api, "POST", CONFIG, {400}, body={"metadata": {"name": "a"}}, **{name: value})
    for prefix in ("-", "A", "a_", "a\0"):
        metadata = {"metadata": {"generateName": prefix}}
        await refused(api, "POST", CONFIG, {422}, body=metadata)
    for grace in ("x", 1.5, 2**70, True):
        await refused(
            api, "DELETE", f"{CONFIG}/kube", {400, 404}, body={"gracePeriodSeconds": grace}
        )
    binding = {"target": {"name": "a\0"}}
    await api.post(PODS, copy.deepcopy(POD) | {"metadata": {"name": "unbound"}})
    await refused(api, "POST", f"{PODS}/unbound/binding", {400, 404, 422}, body=binding)


async def test_bad_lines_leave_good_ones_alone(api, ns):
    good = json.dumps(POD).encode()
    lines = [b"[" * 5000, good[:30], b"\xff", b"null", good, b'{"a":"\\u0000"}', b"9" * 5000]
    answer = await api.call(
        "POST", f"/api/v1/namespaces/{ns}/pods", data=b"\n".join(lines), headers=LINES
    )
    outcomes = [json.loads(line) for line in answer.body.splitlines()]
    assert [o["kind"] for o in outcomes[:-1]] == ["Status"] * 4 + ["Pod"] + ["Status"] * 2
    assert {o["code"] for o in outcomes[:-1] if o["kind"] == "Status"} <= {400, 422}
    assert len((await api.get(f"/api/v1/namespaces/{ns}/pods")).body["items"]) == 1


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "\0", "-1", "1e999", "9" * 40, "ä", "Always", "1Ki", "a=b", "/", "..",
                       "2026-01-01T00:00:00Z", "None", "0.5m", "\ud800"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "key", "", "$patch", "\0", "cpu"]), inner,
                      max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value, path=()):
    """Every path in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))
        else:
            yield (*path, key)


@st.composite
def spoilt(draw):
    """The pod with one to three of its values replaced, removed or moved."""
    pod = copy.deepcopy(POD)
    for _ in range(draw(st.integers(1, 3))):
        found = [path for path in places(pod) if path]
        path = draw(st.sampled_from(found))
        target = pod
        for key in path[:-1]:
            target = target[key]
        match draw(st.sampled_from(["replace", "remove", "rename"])):
            case "replace":
                target[path[-1]] = draw(ANYTHING)
            case "remove":
                target.pop(path[-1])
            case "rename" if isinstance(target, dict):
                target[draw(st.sampled_from(["x", "\0", "uid", "status", "hostPID"]))] = target.pop(
                    path[-1]
                )
            case _:
                target.append(draw(ANYTHING))
        if not pod:
            break
    return pod


@given(pod=spoilt(), strict=st.booleans())
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_no_spoilt_pod_breaks_the_server(api, pod, strict):
    """Never 5xx; a refusal leaves no trace; what is accepted can be read and deleted."""
    before = await api.store.revision()
    data = json.dumps(pod).encode()
    answer = await api.call(
        "POST",
        PODS,
        data=data,
        headers=JSON,
        fieldValidation="Strict" if strict else "Warn",
    )
    assert answer.code < 500, answer.body
    if answer.code >= 400:
        assert answer.body["kind"] == "Status"
        assert answer.body["message"]
        assert await api.store.revision() == before
        return
    name = answer.body["metadata"]["name"]
    assert (await api.get(f"{PODS}/{name}")).body == answer.body
    assert (await api.call("DELETE", f"{PODS}/{name}", gracePeriodSeconds="0")).code == 200
