"""What pods say of where they run, over HTTP: accepted, merged, refused, gated."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

HARD = "requiredDuringSchedulingIgnoredDuringExecution"


def pods(ns, name=""):
    return f"/api/v1/namespaces/{ns}/pods" + (f"/{name}" if name else "")


def apart(**fields):
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, **fields}
    return {"podAntiAffinity": {HARD: [term]}}


def expressions(pod):
    (term,) = pod["spec"]["affinity"]["podAntiAffinity"][HARD]
    return term["labelSelector"].get("matchExpressions")


async def test_equal_specs_take_their_own_labels_values(api, ns, pod):
    """The memory of repeated specs must not give one pod another's labels."""
    affinity = apart(matchLabelKeys=["app"])
    for name in ("a", "b", "a2"):
        made = await api.post(pods(ns), pod(name, affinity=affinity))
        assert made.code == 201, made.body
        assert expressions(made.body) == [{"key": "app", "operator": "In", "values": [name]}]
        found = (await api.get(pods(ns, name))).body
        assert found["spec"] == made.body["spec"]
        found["metadata"]["labels"]["app"] = "later"
        replaced = await api.call("PUT", pods(ns, name), found)
        assert replaced.code == 200, replaced.body
        assert expressions(replaced.body) == expressions(made.body)


async def test_faults_are_named_by_their_fields(api, ns, pod):
    refused = await api.post(
        pods(ns),
        pod(
            affinity=apart(topologyKey=""),
            topologySpreadConstraints=[{"topologyKey": "zone", "whenUnsatisfiable": "Perhaps"}],
        ),
    )
    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    fields = {cause["field"] for cause in refused.body["details"]["causes"]}
    assert fields == {
        f"spec.affinity.podAntiAffinity.{HARD}[0].topologyKey",
        "spec.topologySpreadConstraints[0].maxSkew",
        "spec.topologySpreadConstraints[0].whenUnsatisfiable",
    }


async def test_a_template_is_held_to_the_same_rules(api, ns, pod):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    template["spec"]["topologySpreadConstraints"] = [{"maxSkew": 1, "topologyKey": "zone"}]
    refused = await api.post(
        f"/api/v1/namespaces/{ns}/replicationcontrollers",
        {"metadata": {"name": "rc"}, "spec": {"selector": {"a": "b"}, "template": template}},
    )
    (cause,) = refused.body["details"]["causes"]
    assert cause["field"] == "spec.template.spec.topologySpreadConstraints[0].whenUnsatisfiable"


async def test_a_gated_pod_waits_as_such_and_can_be_narrowed(api, ns, pod):
    gates = [{"name": "example.com/a"}, {"name": "example.com/b"}]
    for name in ("web", "web2"):
        made = (await api.post(pods(ns), pod(name, schedulingGates=gates))).body
        (condition,) = made["status"]["conditions"]
        assert made["status"]["phase"] == "Pending"
        assert (condition["type"], condition["reason"]) == ("PodScheduled", "SchedulingGated")
        assert condition["lastTransitionTime"] == made["metadata"]["creationTimestamp"]
    made["spec"]["nodeSelector"] = {"disk": "ssd"}
    made["spec"]["schedulingGates"] = gates[1:]
    narrowed = await api.call("PUT", pods(ns, "web2"), made)
    assert narrowed.code == 200, narrowed.body
    body = narrowed.body
    body["spec"]["schedulingGates"] = []
    opened = await api.call("PUT", pods(ns, "web2"), body)
    assert opened.code == 200
    assert (
        "schedulingGates" not in opened.body["spec"] or not opened.body["spec"]["schedulingGates"]
    )
    body = opened.body
    body["spec"]["schedulingGates"] = gates
    refused = await api.call("PUT", pods(ns, "web2"), body)
    assert refused.body["details"]["causes"][0]["field"] == "spec.schedulingGates"
    body["spec"].pop("schedulingGates")
    body["spec"]["nodeSelector"] = {"disk": "ssd", "more": "x"}
    assert (await api.call("PUT", pods(ns, "web2"), body)).code == 422
