"""Bad input of every sort: the right Status, and nothing changed."""

import asyncio
import json

import pytest
from yarl import URL

from scheduler.api import request

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}
YAML = {"Content-Type": "application/yaml"}
PROTOBUF = {"Content-Type": "application/vnd.kubernetes.protobuf"}
PODS = "/api/v1/namespaces/default/pods"

BODIES = [
    (JSON, b"", 400, "no body"),
    (JSON, b"{", 400, "JSON"),
    (JSON, b"nonsense", 400, "JSON"),
    (JSON, b"[]", 400, "one object"),
    (JSON, b'{"a":"\xff"}', 400, "JSON"),
    (JSON, b"[" * 100_000, 400, "JSON"),
    (JSON, b'{"kind":"Service","apiVersion":"v1"}', 400, "Service"),
    (JSON, b'{"kind":"Pod","apiVersion":"v2"}', 400, "v2"),
    (JSON, b'{"metadata":[]}', 400, "metadata"),
    (JSON, b'{"metadata":{"name":5}}', 400, "number 5"),
    (JSON, b'{"metadata":{"name":"p"},"spec":"x"}', 400, "cannot unmarshal string"),
    (YAML, b"a: [", 400, "line 2 column 1"),
    (YAML, b"a: &x [1]\nb: *x", 400, "aliases"),
    (YAML, b"? [a]\n: b", 400, "YAML"),
    (YAML, b"- 1", 400, "one object"),
    (YAML, b"[" * 100_000, 400, "nested deeper than 200"),
    (YAML, b'{"a":' * 100_000, 400, "nested deeper than 200"),
    (YAML, b"- " * 300, 400, "nested deeper than 200"),
    (YAML, b"a: !!python/object:os.system {}", 400, "YAML"),
    (PROTOBUF, b"", 400, ""),
    (PROTOBUF, b"k8s\x00\xff\xff\xff", 400, ""),
    (PROTOBUF, b"nonsense", 400, ""),
    ({"Content-Type": "text/plain"}, b"{}", 415, "accepted media types"),
]


@pytest.mark.parametrize(("headers", "data", "code", "part"), BODIES)
async def test_bodies_that_cannot_be_read(api, headers, data, code, part):
    before = (await api.get(PODS)).body["items"]
    answer = await api.call("POST", PODS, data=data, headers=headers)
    assert answer.code == code, answer.body
    assert answer.body["kind"] == "Status"
    assert answer.body["status"] == "Failure"
    assert part in answer.body["message"]
    assert (await api.get(PODS)).body["items"] == before


def container(**fields):
    return {"name": "c", "image": "x:1", **fields}


SPECS = [
    ({"containers": []}, "spec.containers"),
    ({"containers": [{"name": "c"}]}, "spec.containers[0].image"),
    ({"containers": [{"image": "x"}]}, "spec.containers[0].name"),
    ({"containers": [container(name="A_b")]}, "spec.containers[0].name"),
    ({"containers": [container(), container()]}, "spec.containers[1].name"),
    (
        {"containers": [container(ports=[{"containerPort": 70000}])]},
        "spec.containers[0].ports[0].containerPort",
    ),
    ({"containers": [container(env=[{"name": "a=b"}])]}, "spec.containers[0].env[0].name"),
    (
        {"containers": [container(volumeMounts=[{"name": "v", "mountPath": "/v"}])]},
        "spec.containers[0].volumeMounts[0].name",
    ),
    (
        {"containers": [container(resources={"requests": {"cpu": "-1"}})]},
        "spec.containers[0].resources.requests[cpu]",
    ),
    (
        {"containers": [container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})]},
        "spec.containers[0].resources.requests",
    ),
    ({"containers": [container()], "restartPolicy": "Sometimes"}, "spec.restartPolicy"),
    (
        {"containers": [container()], "tolerations": [{"operator": "Equal"}]},
        "spec.tolerations[0].operator",
    ),
    ({"containers": [container()], "nodeSelector": {"a b": "c"}}, "spec.nodeSelector"),
    (
        {"containers": [container()], "volumes": [{"name": "v", "nfs": {"server": "s"}}]},
        "spec.volumes[0].nfs.path",
    ),
    (
        {"containers": [container()], "initContainers": [container(name="c")]},
        "spec.containers[0].name",
    ),
    ({"containers": [container()], "activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds"),
    (
        {"containers": [container(securityContext={"procMount": "Bare"})]},
        "spec.containers[0].securityContext.procMount",
    ),
]


@pytest.mark.parametrize(("spec", "field"), SPECS)
async def test_specs_that_are_not_allowed_name_the_field(api, spec, field):
    body = {"metadata": {"name": "bad"}, "spec": spec}
    answer = await api.post(PODS, body)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid"), answer.body
    assert field in [cause["field"] for cause in answer.body["details"]["causes"]]
    assert answer.body["message"].startswith('Pod "bad" is invalid: ')
    assert (await api.get(f"{PODS}/bad")).code == 404


METADATA = [
    ({}, "metadata.name"),
    ({"name": "UPPER"}, "metadata.name"),
    ({"name": "x" * 300}, "metadata.name"),
    ({"name": "a/b"}, "metadata.name"),
    ({"generateName": "_"}, "metadata.generateName"),
    ({"name": "ok", "labels": {"a b": "c"}}, "metadata.labels"),
    ({"name": "ok", "labels": {"a": "x" * 64}}, "metadata.labels"),
    ({"name": "ok", "annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
    ({"name": "ok", "finalizers": ["-"]}, "metadata.finalizers"),
    (
        {
            "name": "ok",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}],
        },
        "metadata.ownerReferences[0].uid",
    ),
]


@pytest.mark.parametrize(("metadata", "field"), METADATA)
@pytest.mark.parametrize("known", [False, True], ids=["first", "repeated"])
async def test_metadata_that_is_not_allowed(api, metadata, field, known):
    spec = {"containers": [container(image=f"known:{known}".lower())]}
    if known:
        await api.post(
            PODS,
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "ok-"}, "spec": spec},
        )
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    answer = await api.post(PODS, body)
    assert answer.code == 422, answer.body
    assert field in [cause["field"] for cause in answer.body["details"]["causes"]]


async def test_unknown_and_repeated_fields(api, ns):
    path = f"/api/v1/namespaces/{ns}/pods"
    spec = '{"containers":[{"name":"c","image":"x:1","colour":"red"}]}'
    body = f'{{"metadata":{{"name":"p","name":"p"}},"spec":{spec}}}'.encode()
    strict = await api.call("POST", path, data=body, headers=JSON, fieldValidation="Strict")
    assert (strict.code, strict.body["reason"]) == (400, "BadRequest")
    assert 'unknown field "spec.containers[0].colour"' in strict.body["message"]
    assert 'duplicate field "metadata.name"' in strict.body["message"]
    warned = await api.call("POST", path, data=body, headers=JSON, dryRun="All")
    assert len(warned.headers.getall("Warning")) == 2
    quiet = await api.call("POST", path, data=body, headers=JSON, fieldValidation="Ignore")
    assert quiet.code == 201
    assert "Warning" not in quiet.headers
    assert "colour" not in quiet.body["spec"]["containers"][0]


async def test_a_repeated_key_is_noticed_in_a_known_spec_too(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods"
    text = json.dumps(pod())
    await api.call("POST", path, data=text.encode(), headers=JSON)
    again = text.replace('"name": "web"', '"name": "x", "name": "web2"').encode()
    answer = await api.call("POST", path, data=again, headers=JSON, fieldValidation="Strict")
    assert answer.code == 400
    assert 'duplicate field "metadata.name"' in answer.body["message"]


QUERIES = [
    ("labelSelector", "a in (b"),
    ("labelSelector", "a=b=c"),
    ("fieldSelector", "spec.colour=red"),
    ("fieldSelector", "nonsense"),
    ("limit", "many"),
    ("limit", "-1"),
    ("continue", "nonsense"),
    ("resourceVersion", "x"),
    ("resourceVersionMatch", "Exact"),
]


@pytest.mark.parametrize(("name", "value"), QUERIES)
async def test_queries_that_cannot_be_read(api, name, value):
    answer = await api.get(PODS, **{name: value})
    assert (answer.code, answer.body["reason"]) == (400, "BadRequest"), answer.body


PATHS = [
    "/nothing",
    "/api/v2",
    "/api/v1/gadgets",
    "/apis/apps/v1beta2/deployments",
    "/api/v1/namespaces/default/nodes",
    "/api/v1/pods/web",
    "/api/v1/namespaces/default/pods/web/unknown",
    "/api/v1/namespaces/default/pods/web/log/x",
    "/apis/none",
    "/openapi/v3/apis/none/v1",
    "/" + "x" * 5000,
]


@pytest.mark.parametrize("path", PATHS)
async def test_unknown_paths(api, path):
    answer = await api.get(path)
    assert (answer.code, answer.body["reason"]) == (404, "NotFound")


async def test_methods_that_are_not_known(api):
    for method, path in (
        ("PUT", PODS),
        ("POST", f"{PODS}/x"),
        ("PATCH", PODS),
        ("DELETE", "/api/v1/pods"),
        ("POST", "/version"),
        ("TRACE", PODS),
    ):
        answer = await api.call(method, path, {})
        assert (answer.code, answer.body["reason"]) == (405, "MethodNotAllowed"), (method, path)


async def test_huge_bodies_are_refused(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    body = {"metadata": {"name": "big"}, "data": {"k": "x" * (4 << 20)}}
    answer = await api.post(path, body)
    assert (answer.code, answer.body["reason"]) == (413, "RequestEntityTooLarge")
    body["data"]["k"] = "x" * (2 << 20)
    assert (await api.post(path, body)).code == 422
    assert (await api.get(path)).body["items"] == []


async def test_options_with_values_nobody_knows(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/pods"
    assert (await api.post(path, pod(), dryRun="Some")).code == 400
    assert (await api.post(path, pod(), fieldValidation="Maybe")).code == 400
    await api.post(path, pod())
    wrong = await api.call("DELETE", f"{path}/web", propagationPolicy="Sideways")
    assert wrong.code == 400
    assert (await api.call("DELETE", f"{path}/web", data=b"{", headers=JSON)).code == 400
    assert (await api.get(f"{path}/web")).code == 200


async def test_nothing_that_can_be_answered(api):
    answer = await api.get(PODS, headers={"Accept": "image/png"})
    assert (answer.code, answer.body["reason"]) == (406, "NotAcceptable")
    assert (await api.get("/openapi/v2")).code == 406


async def test_the_wrong_name_or_namespace_in_a_body(api, ns, pod):
    body = pod()
    body["metadata"]["namespace"] = "other"
    answer = await api.post(f"/api/v1/namespaces/{ns}/pods", body)
    assert answer.code == 400
    assert "does not match the namespace" in answer.body["message"]
    await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    answer = await api.call("PUT", f"/api/v1/namespaces/{ns}/pods/web", pod("other"))
    assert answer.code == 400
    assert "does not match the name on the URL" in answer.body["message"]


ODD = [
    b'{"metadata":{"name":"odd"},"data":{"k":"a\\u0000b"}}',
    b'{"metadata":{"name":"odd","annotations":{"k":"a\\u0000b"}}}',
    b'{"metadata":{"name":"odd"},"data":{"k":"\\ud800"}}',
    b'{"metadata":{"name":"odd","annotations":{"k":"\\ud800"}}}',
    b'{"metadata":{"name":"odd","uid":"\\u0000"}}',
    b'{"metadata":{"name":"odd","ownerReferences":[null]}}',
    b'{"metadata":{"name":"odd","finalizers":[null]}}',
    b'{"metadata":{"name":"odd","labels":{"a":null}}}',
    b'{"metadata":{"name":"odd","generation":99999999999999999999}}',
    b'{"metadata":{"name":"odd","creationTimestamp":"0000-00-00T00:00:00Z"}}',
    b'{"metadata":{"name":"odd","managedFields":[{"fieldsV1":5}]}}',
    b'{"metadata":null,"data":null}',
    b'{"metadata":{"name":"odd"},"data":' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
]


@pytest.mark.parametrize("data", ODD)
async def test_odd_documents_never_break_the_server(api, ns, data):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    answer = await api.call("POST", path, data=data, headers=JSON)
    assert answer.code in {201, 400, 422}, answer.body
    if answer.code == 201:
        assert (await api.get(f"{path}/odd")).body == answer.body
        assert (await api.get(path)).code == 200
    assert (await api.call("PUT", f"{path}/odd", data=data, headers=JSON)).code in {
        200,
        400,
        404,
        409,
        422,
    }


ODD_SPECS = [
    '{"containers":[null]}',
    '{"containers":[{"name":"c","image":"x","ports":[null]}]}',
    '{"containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":null}}}]}',
    '{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":1.5}}}]}',
    '{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"1e999"}}}]}',
    '{"containers":[{"name":"c","image":"x","env":[{"name":"a","valueFrom":{}}]}]}',
    '{"containers":[{"name":"c","image":"x"}],"affinity":{"nodeAffinity":{}}}',
    '{"containers":[{"name":"c","image":"x"}],"volumes":[null],"tolerations":[null]}',
    '{"containers":[{"name":"c","image":"x","command":["\\u0000"]}]}',
    "null",
    "{}",
]


@pytest.mark.parametrize("spec", ODD_SPECS)
async def test_odd_specs_never_break_the_server(api, ns, spec):
    path = f"/api/v1/namespaces/{ns}/pods"
    for name in ("a", "b"):
        data = f'{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{spec}}}'
        answer = await api.call("POST", path, data=data.encode(), headers=JSON)
        assert answer.code in {201, 400, 422}, answer.body
    assert (await api.get(path)).code == 200


@pytest.mark.parametrize("name", ["%00", "%ff", "a%2Fb", "%F0%9F%98%80", "..", "a%20b"])
async def test_odd_names_in_paths_are_not_found(api, name):
    url = URL(f"{api.url}{PODS}/{name}", encoded=True)
    for method in ("GET", "DELETE", "PUT"):
        async with api.session.request(method, url, data=b"{}", headers=JSON) as answer:
            assert answer.status in {400, 404, 405}, await answer.text()


async def test_a_body_that_breaks_off_is_a_bad_request(api):
    headers = {**JSON, "Content-Encoding": "gzip"}
    answer = await api.call("POST", PODS, data=b"not gzip", headers=headers)
    assert (answer.code, answer.body["kind"]) == (400, "Status")


async def test_a_body_that_does_not_come_is_given_up_on(api, monkeypatch):
    monkeypatch.setattr(request, "PATIENCE", 0.05)
    host = URL(api.url)
    reader, writer = await asyncio.open_connection(host.host, host.port)
    writer.write(
        f"POST {PODS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{{".encode()
    )
    async with asyncio.timeout(10):
        assert b" 504 " in await reader.readline()
    writer.close()
