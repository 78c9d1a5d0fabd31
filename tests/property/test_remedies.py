"""Whatever why-not names works: carried out in a random cluster, the pod fits on that node."""

import copy
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.placement.inspection import inspect
from scheduler.placement.remedies import MOST_REMEDIES, Place, remedies
from scheduler.placement.scenario import read_scenario
from tests.placement_cases import default_framework

FILTERS = default_framework().filters
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
CORDON = "node.kubernetes.io/unschedulable"
ZONES, APPS = ("1", "2"), ("web", "db")
DROPPED = {"node affinity": "nodeAffinity", "pod affinity": "podAffinity"}
DROPPED["pod anti affinity"] = "podAntiAffinity"

taints = st.builds(
    lambda key, effect: {"key": key, "value": "v", "effect": effect},
    st.sampled_from(("k", "l")),
    st.sampled_from(("NoSchedule", "NoExecute", "PreferNoSchedule")),
)
tolerations = st.builds(
    lambda key, how: {"key": key, **how},
    st.sampled_from(("k", "l", CORDON)),
    st.sampled_from(({"operator": "Exists"}, {"operator": "Equal", "value": "v"})),
)


def term(app, key):
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


terms = st.builds(term, st.sampled_from(APPS), st.sampled_from(("zone", "host")))
constraints = st.builds(
    lambda one, skew, policy: (
        one | {"maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule", "nodeAffinityPolicy": policy}
    ),
    terms,
    st.integers(1, 2),
    st.sampled_from(("Honor", "Ignore")),
)


@st.composite
def specs(draw, most_cpu):
    requests = {"cpu": str(draw(st.integers(0, most_cpu)))}
    spec = {"containers": [{"name": "c", "resources": {"requests": requests}}]}
    affinity = {}
    for kind in ("podAffinity", "podAntiAffinity"):
        if draw(st.integers(0, 4)) == 0:
            affinity[kind] = {REQUIRED: [draw(terms)]}
    if affinity:
        spec["affinity"] = affinity
    return spec


@st.composite
def waiting(draw):
    spec = draw(specs(6))
    if draw(st.booleans()):
        spec["nodeSelector"] = {"zone": draw(st.sampled_from(ZONES))}
    if draw(st.integers(0, 3)) == 0:
        match = {"key": "zone", "operator": "In", "values": [draw(st.sampled_from(ZONES))]}
        chosen = {"nodeSelectorTerms": [{"matchExpressions": [match]}]}
        spec.setdefault("affinity", {})["nodeAffinity"] = {REQUIRED: chosen}
    spec["topologySpreadConstraints"] = draw(
        st.lists(constraints, max_size=2, unique_by=lambda each: each["topologyKey"])
    )
    spec["tolerations"] = draw(st.lists(tolerations, max_size=2))
    labels = {"app": draw(st.sampled_from(APPS))}
    return {"metadata": {"name": "new", "labels": labels}, "spec": spec}


@st.composite
def clusters(draw):
    nodes, pods = [], []
    for name in "abc"[: draw(st.integers(1, 3))]:
        labels = {"host": name}
        if draw(st.integers(0, 4)):
            labels["zone"] = draw(st.sampled_from(ZONES))
        offer = {"cpu": str(draw(st.integers(1, 4))), "pods": str(draw(st.integers(1, 4)))}
        shut = draw(st.integers(0, 3)) == 0
        spec = {"unschedulable": shut, "taints": draw(st.lists(taints, max_size=2))}
        node = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        nodes.append(node | {"status": {"allocatable": offer}})
        for number in range(draw(st.integers(0, 4))):
            labels = {"app": draw(st.sampled_from(APPS))}
            meta = {"name": f"{name}{number}", "labels": labels}
            pods.append({"metadata": meta, "spec": draw(specs(2)) | {"nodeName": name}})
    return {"nodes": nodes, "pods": [*pods, draw(waiting())]}


def carried_out(cluster, change, steps):
    """Return the cluster after steps of a change to its first node and its last pod."""
    cluster = copy.deepcopy(cluster)
    node, spec = cluster["nodes"][0], cluster["pods"][-1]["spec"]
    for step in steps:
        rest = step.removeprefix("drop the pod's ")
        if step.startswith("lower the pod's requests by "):
            requests = spec["containers"][0]["resources"]["requests"]
            (left,) = change["short"].values()
            requests["cpu"] = f"{int(requests['cpu']) * 1000 - left}m"
        elif found := re.findall(r"(\d+) to (\d+) by (\w+)", step):
            for old, new, key in found:
                (one,) = [s for s in spec["topologySpreadConstraints"] if s["topologyKey"] == key]
                assert one["maxSkew"] == int(old)
                one["maxSkew"] = int(new)
        elif step.startswith("let the pod tolerate "):
            for key, value, effect in re.findall(r"([\w./]+)=(\w*):(\w+)", step):
                more = {"key": key, "value": value, "effect": effect}
                spec["tolerations"].append(more)
        elif step == "uncordon the node":
            node["spec"]["unschedulable"] = False
        elif step.startswith("label the node "):
            node["metadata"]["labels"] |= dict(re.findall(r"(\w+)=(\w+)", step))
        elif step.endswith(" from the pod's node selector"):
            for key, _ in re.findall(r"(\w+)=(\w+)", step):
                del spec["nodeSelector"][key]
        elif step.startswith("move away "):
            gone = change["pods"]
            assert step == f"move away {', '.join(gone)}"
            pods = cluster["pods"]
            cluster["pods"] = [p for p in pods if f"default/{p['metadata']['name']}" not in gone]
        elif rest == "topology spread constraints":
            del spec["topologySpreadConstraints"]
        else:
            del spec["affinity"][DROPPED[rest]]
    return cluster


def fits(cluster):
    scenario = read_scenario(copy.deepcopy(cluster))
    snapshot = scenario.state.freeze(0)
    return 0 in inspect(scenario.pending[0].wanted, snapshot, FILTERS, ()).rows


@settings(max_examples=100, deadline=None)
@given(clusters())
def test_what_is_named_makes_the_pod_fit_and_needs_all_its_steps(cluster):
    scenario = read_scenario(copy.deepcopy(cluster))
    before = scenario.state.freeze(0)
    found = remedies(scenario, scenario.pending[0], FILTERS, Place(before, 0))
    after = scenario.state.freeze(0)
    assert (before.nodes, before.placed, before.ports) == (after.nodes, after.placed, after.ports)
    assert (before.requested == after.requested).all()
    if fits(cluster):
        return
    assert 0 < len(found) <= MOST_REMEDIES
    for change in found:
        steps = change.get("steps", [change["change"]])
        assert change["change"] == ", and ".join(steps)
        assert fits(carried_out(cluster, change, steps)), change
        for step in steps if len(steps) > 1 else ():
            fewer = [each for each in steps if each != step]
            assert not fits(carried_out(cluster, change, fewer)), (change, step)
