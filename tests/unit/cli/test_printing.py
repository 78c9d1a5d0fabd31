import pytest

from scheduler.cli.node import host_name
from scheduler.cli.resources import Resource, Resources
from scheduler.cli.rollout import expected_pods, pod_state
from scheduler.cli.table import TableWriter
from scheduler.errors import BadRequest, NotFound

PODS = Resource("", "v1", "pods", "pod", "Pod", True, ("po",), ("all",))
NODES = Resource("", "v1", "nodes", "node", "Node", False, ("no",))
HOSTS = Resource("ironfree.dev", "v1", "dockerhosts", "dockerhost", "DockerHost", False, ("dh",))
RESOURCES = Resources([PODS, NODES, HOSTS])

TABLE = {
    "columnDefinitions": [
        {"name": "Name", "priority": 0},
        {"name": "Ready", "priority": 0},
        {"name": "IP", "priority": 1},
    ],
    "rows": [
        {"cells": ["a", True, None], "object": {"metadata": {"namespace": "x"}}},
        {"cells": ["longer-name", 3, ""], "object": {"metadata": {"namespace": "y"}}},
    ],
}


def test_columns_are_aligned_and_wide_ones_left_out(capsys):
    assert TableWriter().write(TABLE) == 2
    assert capsys.readouterr().out.splitlines() == [
        "NAME          READY",
        "a             true",
        "longer-name   3",
    ]


def test_wide_output_names_the_namespace_and_what_is_absent(capsys):
    TableWriter(wide=True, namespace=True).write(TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "READY", "IP"]
    assert lines[1].split() == ["x", "a", "true", "<none>"]


def test_rows_that_follow_keep_the_columns_and_print_no_second_header(capsys):
    writer = TableWriter()
    writer.write(TABLE)
    capsys.readouterr()
    writer.write({"columnDefinitions": None, "rows": [{"cells": ["b", 1, "z"]}]}, event="DELETED")
    assert capsys.readouterr().out == "b             1  (deleted)\n"


def test_an_empty_table_prints_nothing(capsys):
    assert TableWriter().write({**TABLE, "rows": []}) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "targets"),
    [
        (["pods"], [(PODS, "")]),
        (["Pod", "a", "b"], [(PODS, "a"), (PODS, "b")]),
        (["po/a", "no/b"], [(PODS, "a"), (NODES, "b")]),
        (["po,no"], [(PODS, ""), (NODES, "")]),
        (["all"], [(PODS, "")]),
        (["dockerhosts.ironfree.dev"], [(HOSTS, "")]),
    ],
)
def test_people_name_resources_as_with_kubectl(words, targets):
    assert RESOURCES.targets(words) == targets


def test_an_unknown_resource_lists_the_known_ones():
    with pytest.raises(NotFound, match='no resource "pots"; it has dockerhosts, nodes, pods'):
        RESOURCES.targets(["pots"])


@pytest.mark.parametrize("words", [["pod/a", "b"], ["pod/"], ["/a"]])
def test_half_a_name_is_refused(words):
    with pytest.raises(BadRequest, match="KIND/NAME"):
        RESOURCES.targets(words)


def test_paths_are_quoted():
    assert PODS.path("a b", "../x", "log") == "/api/v1/namespaces/a%20b/pods/..%2Fx/log"
    assert HOSTS.path("ignored", "h") == "/apis/ironfree.dev/v1/dockerhosts/h"


@pytest.mark.parametrize(
    ("url", "name"),
    [("tcp://10.0.0.5:2376", "10.0.0.5"), ("tcp://Big_Host.lan:2376", "big-host.lan")],
)
def test_a_host_is_named_after_its_address(url, name):
    assert host_name(url) == name


def test_a_pod_waits_for_the_reason_its_container_gives():
    pod = {
        "metadata": {
            "name": "p",
            "namespace": "d",
            "uid": "u",
            "ownerReferences": [{"uid": "rc", "controller": True}, {"uid": "other"}],
        },
        "spec": {"nodeName": "n"},
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}],
        },
    }
    state = pod_state(pod)
    assert (state.state, state.owner, state.node, state.done) == (
        "ImagePullBackOff",
        "rc",
        "n",
        False,
    )
    pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert pod_state(pod).done
    assert expected_pods([{"kind": "Pod", **pod}]) == {"u": 1}
