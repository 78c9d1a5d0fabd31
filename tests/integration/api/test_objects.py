"""Create, get, list, replace, delete over HTTP against a real store."""

import asyncio
import base64
import json
from datetime import timedelta

import pytest

from scheduler.api import reservations
from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Replace

pytestmark = pytest.mark.asyncio(loop_scope="module")


def pods(ns, name=""):
    return f"/api/v1/namespaces/{ns}/pods" + (f"/{name}" if name else "")


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_a_pod_comes_back_with_defaults(api, ns, pod):
    made = await api.post(pods(ns), pod())
    assert made.code == 201
    spec, meta = made.body["spec"], made.body["metadata"]
    assert spec["restartPolicy"] == "Always"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert spec["priority"] == 0
    assert {t["tolerationSeconds"] for t in spec["tolerations"]} == {300}
    assert made.body["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert meta["namespace"] == ns
    assert meta["generation"] == 1
    found = await api.get(pods(ns, "web"))
    assert found.body == made.body


async def test_the_second_pod_of_a_spec_equals_the_first(api, ns, pod):
    first = (await api.post(pods(ns), pod("a"))).body
    second = (await api.post(pods(ns), pod("b"))).body
    assert first["spec"] == second["spec"]
    assert first["status"] == second["status"]
    assert second["metadata"]["labels"] == {"app": "b"}


async def test_a_generated_name_has_the_prefix(api, ns, pod):
    body = pod()
    body["metadata"] = {"generateName": "job-"}
    names = {(await api.post(pods(ns), body)).body["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_dry_run_keeps_nothing(api, ns, pod):
    made = await api.post(pods(ns), pod(), dryRun="All")
    assert made.code == 201
    assert made.body["metadata"]["uid"]
    assert (await api.get(pods(ns, "web"))).code == 404
    await api.post(pods(ns), pod())
    assert (await api.post(pods(ns), pod(), dryRun="All")).body["reason"] == "AlreadyExists"
    assert (await api.call("DELETE", pods(ns, "web"), dryRun="All")).code == 200
    assert (await api.get(pods(ns, "web"))).code == 200


async def test_a_taken_name_is_refused(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    assert (await api.post(path, config("a"))).code == 201
    again = await api.post(path, config("a"))
    assert (again.code, again.body["reason"]) == (409, "AlreadyExists")
    assert again.body["message"] == 'configmaps "a" already exists'
    assert again.body["details"] == {"name": "a", "kind": "configmaps"}


async def test_the_namespace_must_exist(api, pod):
    answer = await api.post(pods("nowhere"), pod())
    assert (answer.code, answer.body["message"]) == (404, 'namespaces "nowhere" not found')


async def test_replace_checks_the_version(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    made = (await api.post(path, config("a", k="1"))).body
    made["data"]["k"] = "2"
    second = await api.call("PUT", f"{path}/a", made)
    assert second.code == 200
    stale = await api.call("PUT", f"{path}/a", {**made, "data": {"k": "3"}})
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in stale.body["message"]
    assert (await api.get(f"{path}/a")).body["data"] == {"k": "2"}
    unpinned = await api.call("PUT", f"{path}/a", config("a", k="4"))
    assert unpinned.body["data"] == {"k": "4"}
    assert unpinned.body["metadata"]["uid"] == made["metadata"]["uid"]


async def test_a_write_without_change_keeps_the_version(api, ns, pod):
    made = (await api.post(pods(ns), pod())).body
    same = await api.call("PUT", pods(ns, "web"), made)
    assert same.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_concurrent_unpinned_writes_all_succeed(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    await api.post(path, config("a"))
    patches = [
        api.call(
            "PATCH",
            f"{path}/a",
            {"data": {f"k{i}": "v"}},
            headers={"Content-Type": "application/merge-patch+json"},
        )
        for i in range(6)
    ]
    assert {answer.code for answer in await asyncio.gather(*patches)} == {200}
    assert len((await api.get(f"{path}/a")).body["data"]) == 6


async def test_status_is_written_apart_from_spec(api, ns, pod):
    made = (await api.post(pods(ns), pod())).body
    changed = {**made, "status": {"phase": "Running"}}
    main = await api.call("PUT", pods(ns, "web"), changed)
    assert main.body["status"]["phase"] == "Pending"
    status = await api.call("PUT", pods(ns, "web") + "/status", changed)
    assert status.body["status"]["phase"] == "Running"
    assert status.body["metadata"]["generation"] == 1


async def test_generation_counts_changes_of_spec(api, ns, pod):
    made = (await api.post(pods(ns), pod())).body
    made["spec"]["containers"][0]["image"] = "nginx:2"
    assert (await api.call("PUT", pods(ns, "web"), made)).body["metadata"]["generation"] == 2


async def test_a_pod_spec_may_not_change_otherwise(api, ns, pod):
    made = (await api.post(pods(ns), pod())).body
    made["spec"]["containers"][0]["command"] = ["sh"]
    answer = await api.call("PUT", pods(ns, "web"), made)
    assert answer.code == 422
    assert "pod updates may not change fields other than" in answer.body["message"]


async def test_an_unbound_pod_goes_at_once(api, ns, pod):
    uid = (await api.post(pods(ns), pod())).body["metadata"]["uid"]
    gone = await api.call("DELETE", pods(ns, "web"))
    assert gone.body["status"] == "Success"
    assert gone.body["details"] == {"name": "web", "kind": "pods", "uid": uid}
    assert (await api.get(pods(ns, "web"))).body["message"] == 'pods "web" not found'


async def test_a_bound_pod_gets_its_grace(api, ns, pod):
    await add_node(api, "graceful")
    await api.post(pods(ns), pod(terminationGracePeriodSeconds=7))
    assert (await bind(api, ns, "web", "graceful")).code == 201
    kept = await api.call("DELETE", pods(ns, "web"))
    assert kept.body["metadata"]["deletionGracePeriodSeconds"] == 7
    assert "deletionTimestamp" in kept.body["metadata"]
    now = await api.call("DELETE", pods(ns, "web"), gracePeriodSeconds="0")
    assert now.code == 200
    assert (await api.get(pods(ns, "web"))).code in {200, 404}


async def test_finalizers_hold_an_object_until_the_last_is_gone(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    body = config("a")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await api.post(path, body)
    held = await api.call("DELETE", f"{path}/a")
    assert held.body["metadata"]["deletionTimestamp"]
    added = {**held.body, "metadata": {**held.body["metadata"], "finalizers": ["example.com/x"]}}
    assert (await api.call("PUT", f"{path}/a", added)).code == 422
    free = {**held.body, "metadata": {**held.body["metadata"], "finalizers": []}}
    assert (await api.call("PUT", f"{path}/a", free)).code == 200
    assert (await api.get(f"{path}/a")).code == 404


async def test_foreground_and_orphan_leave_a_finalizer_for_the_collector(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        await api.post(path, config(policy.lower()))
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        answer = await api.call("DELETE", f"{path}/{policy.lower()}", options)
        assert answer.body["metadata"]["finalizers"] == [finalizer]


async def test_preconditions_protect_a_deletion(api, ns, pod):
    made = (await api.post(pods(ns), pod())).body
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        answer = await api.call("DELETE", pods(ns, "web"), {"preconditions": wrong})
        assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    right = {"uid": made["metadata"]["uid"]}
    assert (await api.call("DELETE", pods(ns, "web"), {"preconditions": right})).code == 200


async def test_deletecollection_takes_what_is_selected(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    for name in ("a", "b", "c"):
        body = config(name)
        body["metadata"]["labels"] = {"keep": str(name == "b").lower()}
        await api.post(path, body)
    gone = await api.call("DELETE", path, labelSelector="keep!=true")
    assert sorted(item["metadata"]["name"] for item in gone.body["items"]) == ["a", "c"]
    left = await api.get(path)
    assert [item["metadata"]["name"] for item in left.body["items"]] == ["b"]


async def test_deleting_a_namespace_marks_it_terminating(api, pod):
    await api.post(
        "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns1"}}
    )
    gone = await api.call("DELETE", "/api/v1/namespaces/ns1")
    assert gone.body["status"]["phase"] == "Terminating"
    refused = await api.post(pods("ns1"), pod())
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    kept = await api.call("DELETE", "/api/v1/namespaces/default")
    assert (kept.code, kept.body["reason"]) == (403, "Forbidden")


async def test_selectors_choose_by_labels_and_fields(api, ns, pod):
    for name in ("a", "b", "c"):
        await api.post(pods(ns), pod(name))

    async def names(**query):
        answer = await api.get(pods(ns), **query)
        assert answer.code == 200, answer.body
        return [item["metadata"]["name"] for item in answer.body["items"]]

    assert await names(labelSelector="app in (a,c)") == ["a", "c"]
    assert await names(labelSelector="app!=a,app") == ["b", "c"]
    assert await names(fieldSelector="metadata.name=b") == ["b"]
    assert await names(fieldSelector="metadata.name!=b,status.phase=Pending") == ["a", "c"]
    assert await names(fieldSelector="spec.nodeName=") == ["a", "b", "c"]
    assert await names(fieldSelector="spec.nodeName!=") == []


async def test_pages_are_of_one_snapshot(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    for name in "abcde":
        await api.post(path, config(name))
    first = (await api.get(path, limit=2)).body
    assert first["metadata"]["remainingItemCount"] == 3
    await api.call("DELETE", f"{path}/e")
    await api.post(path, config("f"))
    names, page = [], first
    while True:
        names += [item["metadata"]["name"] for item in page["items"]]
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        if "continue" not in page["metadata"]:
            break
        token = page["metadata"]["continue"]
        page = (await api.call("GET", path, **{"limit": "2", "continue": token})).body
    assert names == ["a", "b", "c", "d", "e"]
    other = await api.call("GET", pods(ns), **{"continue": first["metadata"]["continue"]})
    assert other.code == 400
    assert (await api.call("GET", path, **{"continue": "bm9uc2Vuc2U="})).code == 400


async def test_an_empty_list_has_items(api, ns):
    answer = (await api.get(pods(ns))).body
    assert (answer["kind"], answer["apiVersion"], answer["items"]) == ("PodList", "v1", [])


async def test_a_table_has_columns_and_partial_objects(api, ns, pod):
    await api.post(pods(ns), pod())
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = (await api.call("GET", pods(ns), headers=accept)).body
    assert table["kind"] == "Table"
    names = [column["name"] for column in table["columnDefinitions"]]
    assert names[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    row = table["rows"][0]
    assert row["cells"][:3] == ["web", "0/1", "Pending"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in row["object"]
    whole = (await api.call("GET", pods(ns), headers=accept, includeObject="Object")).body
    assert whole["rows"][0]["object"]["spec"]["containers"]
    none = (await api.call("GET", pods(ns), headers=accept, includeObject="None")).body
    assert "object" not in none["rows"][0]


async def test_metadata_only_lists(api, ns, pod):
    await api.post(pods(ns), pod())
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    found = (await api.call("GET", pods(ns), headers=accept)).body
    assert found["kind"] == "PartialObjectMetadataList"
    assert set(found["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_secret_text_is_folded_into_data(api, ns):
    path = f"/api/v1/namespaces/{ns}/secrets"
    body = {"metadata": {"name": "s"}, "stringData": {"a": "x"}, "data": {"b": "eQ=="}}
    made = (await api.post(path, body)).body
    assert made["data"] == {"a": base64.b64encode(b"x").decode(), "b": "eQ=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made


async def test_immutable_config_stays(api, ns):
    path = f"/api/v1/namespaces/{ns}/configmaps"
    made = (await api.post(path, {**config("a", k="1"), "immutable": True})).body
    answer = await api.call("PUT", f"{path}/a", {**made, "data": {"k": "2"}})
    assert answer.code == 422
    assert answer.body["details"]["causes"][0]["field"] == "data"


async def test_services_get_addresses_of_their_own(api, ns):
    path = f"/api/v1/namespaces/{ns}/services"

    def service(name, **spec):
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    made = await asyncio.gather(*[api.post(path, service(f"s{i}")) for i in range(20)])
    addresses = [answer.body["spec"]["clusterIP"] for answer in made]
    assert len(set(addresses)) == 20
    assert all(address.startswith("10.96.") for address in addresses)
    spec = made[0].body["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (spec["type"], spec["sessionAffinity"]) == ("ClusterIP", "None")
    taken = await api.post(path, service("t", clusterIP=addresses[0]))
    assert taken.code == 422
    assert "already allocated" in taken.body["message"]
    outside = await api.post(path, service("t", clusterIP="192.168.0.1"))
    assert "not in the valid range" in outside.body["message"]
    for own in ("10.96.0.0", "10.96.0.1", "10.96.0.10", "10.96.255.255"):
        kept = await api.post(path, service("t", clusterIP=own))
        assert "is kept for the cluster itself" in kept.body["message"]
    assert (await api.post(path, service("h", clusterIP="None"))).body["spec"][
        "clusterIP"
    ] == "None"
    await api.call("DELETE", f"{path}/s0")
    again = await api.post(path, service("t", clusterIP=addresses[0]))
    assert again.body["spec"]["clusterIP"] == addresses[0]
    kept = await api.call("PUT", f"{path}/s1", service("s1", selector={"a": "b"}))
    assert kept.body["spec"]["clusterIP"] == addresses[1]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, ""),
        ({"type": "NodePort"}, ""),
        ({"type": "LoadBalancer"}, "there is no load balancer"),
        ({"ports": [{"port": 80, "protocol": "SCTP"}]}, "SCTP is not carried"),
    ],
)
async def test_a_service_says_what_is_not_served(api, ns, spec, told):
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}
    answer = await api.post(f"/api/v1/namespaces/{ns}/services", body)
    assert answer.code == 201
    warnings = answer.headers.getall("Warning", [])
    assert [told in each for each in warnings] == ([True] if told else [])


def node_ports(answer):
    return [port.get("nodePort") for port in answer.body["spec"]["ports"]]


async def test_ports_of_nodes_are_given_once_and_kept_and_given_back(api, ns):
    path = f"/api/v1/namespaces/{ns}/services"

    def service(name, *ports, kind="NodePort", **spec):
        return {"metadata": {"name": name}, "spec": {"type": kind, "ports": [*ports], **spec}}

    web, tls = {"name": "web", "port": 80}, {"name": "tls", "port": 443}
    made = await asyncio.gather(
        *[api.post(path, service(f"s{n}", web, tls)) for n in range(10)],
        api.post(path, service("lb", web, kind="LoadBalancer")),
    )
    given = [port for answer in made for port in node_ports(answer)]
    assert len({*given}) == 21
    assert all(30000 <= port <= 32767 for port in given)
    without = service("own", web, kind="LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert node_ports(await api.post(path, without)) == [None]
    fixed = {"kind": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    explicit = await api.post(path, service("fix", {**web, "nodePort": given[2]}, **fixed))
    assert "already allocated" in explicit.body["message"]
    twice = [{**web, "nodePort": 30000}, {**tls, "nodePort": 30000}]
    assert (await api.post(path, service("twice", *twice))).code == 422
    taken = await api.post(path, service("t", {**web, "nodePort": given[0]}))
    assert (taken.code, "already allocated" in taken.body["message"]) == (422, True)
    outside = await api.post(path, service("t", {**web, "nodePort": 80}))
    assert "30000-32767" in outside.body["message"]
    inside = await api.post(path, service("t", {**web, "nodePort": 30001}, kind="ClusterIP"))
    assert "may not be used" in inside.body["message"]

    kept = await api.call("PUT", f"{path}/s0", service("s0", tls, selector={"a": "b"}))
    assert node_ports(kept) == [given[1]]
    again = await api.post(path, service("t", {**web, "nodePort": given[0]}))
    assert node_ports(again) == [given[0]], "s0 has it no more"
    closed = await api.call("PUT", f"{path}/s0", service("s0", tls, kind="ClusterIP"))
    assert node_ports(closed) == [None]
    opened = await api.call("PUT", f"{path}/s0", service("s0", {**tls, "nodePort": given[1]}))
    assert node_ports(opened) == [given[1]]
    await api.call("DELETE", f"{path}/s0")
    last = await api.post(path, service("u", {**web, "nodePort": given[1]}))
    assert node_ports(last) == [given[1]]


async def test_a_port_that_is_retaken_while_it_is_given_back_is_kept(api, ns, monkeypatch):
    monkeypatch.setattr(reservations, "_ABANDONED", timedelta(0))
    path, web = f"/api/v1/namespaces/{ns}/services", {"port": 80, "nodePort": 31999}

    def service(name, kind, *ports):
        return {"metadata": {"name": name}, "spec": {"type": kind, "ports": [*ports]}}

    assert (await api.post(path, service("s", "NodePort", web))).code == 201
    write, retaken = api.store.write, []

    async def written(operation):
        stored = await write(operation)
        if isinstance(operation, Replace) and operation.resource == "services" and not retaken:
            retaken.append(None)
            retaken[0] = await api.call("PUT", f"{path}/s", service("s", "NodePort", web))
        return stored

    monkeypatch.setattr(api.store, "write", written)
    closed = await api.call("PUT", f"{path}/s", service("s", "ClusterIP", {"port": 80}))
    assert (node_ports(closed), node_ports(retaken[0])) == ([None], [31999])
    assert (await api.post(path, service("t", "NodePort", web))).code == 422
    assert (await api.call("DELETE", f"{path}/s")).code == 200
    assert (await api.post(path, service("t", "NodePort", web))).code == 201


async def test_a_service_that_stops_being_a_name_elsewhere_gets_an_address(api, ns):
    path = f"/api/v1/namespaces/{ns}/services"
    spec = {"type": "ExternalName", "externalName": "example.org"}
    await api.post(path, {"metadata": {"name": "s"}, "spec": spec})
    own = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    changed = await api.call("PUT", f"{path}/s", own)
    assert changed.body["spec"]["clusterIP"].startswith("10.96.")
    spec["externalName"] = "x .\nkey"
    wrong = await api.call("PUT", f"{path}/s", {"metadata": {"name": "s"}, "spec": spec})
    assert (wrong.code, "spec.externalName" in wrong.body["message"]) == (422, True)


async def test_a_failed_service_gives_its_address_back(api, ns):
    path = f"/api/v1/namespaces/{ns}/services"
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.9.9"}}
    assert (await api.post(path, body)).code == 201
    other = {**body, "spec": {**body["spec"], "clusterIP": "10.96.9.10"}}
    assert (await api.post(path, other)).body["reason"] == "AlreadyExists"
    key = ObjectKey("ipaddresses.networking.k8s.io", "", "10.96.9.10")
    assert await api.store.get(key) is None


async def test_priority_comes_from_the_class(api, ns, pod):
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    made = await api.post(path, {"metadata": {"name": "high"}, "value": 1000})
    assert made.code == 201
    first = await api.post(pods(ns), pod("a", priorityClassName="high"))
    assert first.body["spec"]["priority"] == 1000
    missing = await api.post(pods(ns), pod("b", priorityClassName="none"))
    assert (missing.code, missing.body["reason"]) == (403, "Forbidden")
    plain = (await api.post(pods(ns), pod("c"))).body
    assert plain["spec"]["priority"] == 0
    default = await api.post(
        path, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True}
    )
    assert default.code == 201
    now = (await api.post(pods(ns), pod("d"))).body
    assert (now["spec"]["priority"], now["spec"]["priorityClassName"]) == (7, "usual")
    await api.call("DELETE", f"{path}/usual")


async def add_node(api, name, **allocatable):
    amounts = {"cpu": "1", "memory": "1Gi", "pods": "10", **allocatable}
    body = {"metadata": {"name": name}, "status": {"allocatable": amounts, "capacity": amounts}}
    made = await api.post("/api/v1/nodes", body)
    assert made.code == 201, made.body
    return made.body


async def bind(api, ns, name, node):
    target = {"kind": "Node", "name": node}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    return await api.post(f"{pods(ns, name)}/binding", body)


async def test_binding_gives_a_node_once(api, ns, pod):
    await add_node(api, "n1")
    await add_node(api, "n2")
    await api.post(pods(ns), pod())
    assert (await bind(api, ns, "web", "n1")).code == 201
    bound = (await api.get(pods(ns, "web"))).body
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    again = await bind(api, ns, "web", "n2")
    assert (again.code, again.body["reason"]) == (409, "Conflict")
    assert 'already assigned to node "n1"' in again.body["message"]
    listed = (await api.get(pods(ns), fieldSelector="spec.nodeName=n1")).body
    assert len(listed["items"]) == 1


async def test_binding_never_overcommits(api, ns, pod):
    await add_node(api, "small", cpu="1")
    requests = {"requests": {"cpu": "400m"}}
    containers = [{"name": "c", "image": "nginx:1", "resources": requests}]
    for i in range(4):
        await api.post(pods(ns), pod(f"p{i}", containers=containers))
    answers = await asyncio.gather(*[bind(api, ns, f"p{i}", "small") for i in range(4)])
    assert sorted(answer.code for answer in answers).count(201) <= 2
    late = [i for i, answer in enumerate(answers) if answer.code != 201]
    for i in late:
        await bind(api, ns, f"p{i}", "small")
    placed = (await api.get(pods(ns), fieldSelector="spec.nodeName=small")).body["items"]
    assert len(placed) == 2
    left = next(i for i in range(4) if f"p{i}" not in {p["metadata"]["name"] for p in placed})
    refused = await bind(api, ns, f"p{left}", "small")
    assert "insufficient cpu" in refused.body["message"]


async def test_binding_wants_a_node_that_exists(api, ns, pod):
    await api.post(pods(ns), pod())
    assert (await bind(api, ns, "web", "absent")).code == 404
    wrong = await api.post(f"{pods(ns, 'web')}/binding", {"target": {"kind": "Pod", "name": "x"}})
    assert wrong.code == 422


async def test_scale_reads_and_writes_replicas(api, ns, pod):
    path = f"/api/v1/namespaces/{ns}/replicationcontrollers"
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod()["spec"]}
    made = await api.post(path, {"metadata": {"name": "rc"}, "spec": {"template": template}})
    assert made.body["spec"]["replicas"] == 1
    assert made.body["spec"]["selector"] == {"app": "x"}
    scale = (await api.get(f"{path}/rc/scale")).body
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 0, "selector": "app=x"}
    scale["spec"]["replicas"] = 5
    assert (await api.call("PUT", f"{path}/rc/scale", scale)).body["spec"] == {"replicas": 5}
    scale["spec"]["replicas"] = 6
    stale = await api.call("PUT", f"{path}/rc/scale", scale)
    assert stale.code == 409
    merge = {"Content-Type": "application/merge-patch+json"}
    patch = {"spec": {"replicas": 2}}
    answer = await api.call("PATCH", f"{path}/rc/scale", patch, headers=merge)
    assert answer.body["spec"] == {"replicas": 2}
    negative = {"spec": {"replicas": -1}}
    assert (await api.call("PATCH", f"{path}/rc/scale", negative, headers=merge)).code == 422
    assert (await api.get(f"{path}/rc")).body["spec"]["replicas"] == 2


async def test_unsupported_fields_are_rejected_or_warned_about(api, ns, pod):
    rejected = await api.post(pods(ns), pod(resourceClaims=[{"name": "x"}], hostnameOverride="y"))
    fields = {cause["field"] for cause in rejected.body["details"]["causes"]}
    assert fields == {"spec.resourceClaims", "spec.hostnameOverride"}
    volume = [{"name": "v", "fc": {"targetWWNs": ["5000"], "lun": 0}}]
    refused = await api.post(pods(ns), pod(volumes=volume))
    assert refused.code == 422
    assert "volumes of this type cannot be mounted" in refused.body["message"]
    security = {"securityContext": {"seLinuxOptions": {"level": "s0"}}}
    containers = [{"name": "c", "image": "x:1", **security}]
    for name in ("w1", "w2"):  # the second comes from memory and must warn as well
        warned = await api.post(pods(ns), pod(name, containers=containers))
        assert warned.code == 201
        assert "seLinuxOptions: has no effect" in warned.headers["Warning"]


async def test_a_node_keeps_the_status_it_registers_with(api):
    made = await add_node(api, "registered", cpu="2000m")
    assert made["status"]["allocatable"]["cpu"] == "2"


async def test_events_are_selected_by_their_object(api, ns):
    path = f"/api/v1/namespaces/{ns}/events"
    for i, name in enumerate(("a", "b")):
        involved = {"kind": "Pod", "name": name, "namespace": ns}
        body = {"metadata": {"name": f"e{i}"}, "involvedObject": involved, "reason": "Made"}
        assert (await api.post(path, body)).code == 201
    found = (await api.get(path, fieldSelector="involvedObject.name=b,reason=Made")).body
    assert [item["metadata"]["name"] for item in found["items"]] == ["e1"]


async def test_a_node_offers_no_negative_amounts(api):
    wrong = {"cpu": "1", "memory": "-1Gi", "pods": "10"}
    for status in ({"capacity": wrong}, {"allocatable": wrong}):
        refused = await api.post("/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})
        assert (refused.code, refused.body["reason"]) == (422, "Invalid")
        assert refused.body["details"]["causes"][0]["field"].endswith(".memory")
    await add_node(api, "debt")
    path = "/api/v1/nodes/debt"
    merge = {"Content-Type": "application/merge-patch+json"}
    patch = {"status": {"allocatable": {"cpu": "-2"}}}
    refused = await api.call("PATCH", f"{path}/status", patch, headers=merge)
    assert refused.code == 422
    assert refused.body["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": 'Invalid value: "-2": must be greater than or equal to 0',
            "field": "status.allocatable.cpu",
        }
    ]
    assert (await api.get(path)).body["status"]["allocatable"]["cpu"] == "1"
    assert (await api.call("PATCH", path, patch, headers=merge)).code == 200  # status is ignored


async def test_labels_of_a_docker_host_are_labels(api):
    spec = {"address": "tcp://h:2376", "labels": {"rack": "not a label"}}
    path = "/apis/ironfree.dev/v1/dockerhosts"
    refused = await api.post(path, {"metadata": {"name": "h"}, "spec": spec})
    assert refused.code == 422
    assert [cause["field"] for cause in refused.body["details"]["causes"]] == ["spec.labels"]


async def test_a_pod_takes_over_what_its_runtime_class_says(api, ns, pod):
    path, classes = f"/api/v1/namespaces/{ns}/pods", "/apis/node.k8s.io/v1/runtimeclasses"
    refused = await api.post(path, pod("early", runtimeClassName="sandboxed"))
    assert refused.code == 403
    why = 'pods "early" is forbidden: pod rejected: RuntimeClass "sandboxed" not found'
    assert refused.body["message"] == why
    given = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "sandboxed"},
        "handler": "runsc",
        "overhead": {"podFixed": {"cpu": "250m"}},
    }
    await api.kubectl("apply", "-f", "-", stdin=json.dumps(given))
    assert "runsc" in await api.kubectl("get", "runtimeclass", "sandboxed")
    made = await api.post(path, pod("web", runtimeClassName="sandboxed"))
    assert made.body["spec"]["overhead"] == {"cpu": "250m"}
    await api.call("DELETE", f"{classes}/sandboxed")
    late = await api.post(path, pod("late", runtimeClassName="sandboxed"))
    assert late.code == 403, "what was made of a spec before does not count"
