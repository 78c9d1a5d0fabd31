from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import BadRequest, Invalid
from scheduler.objects.patching import json_patch, merge_patch
from scheduler.objects.strategic import strategic_merge


@pytest.mark.parametrize(
    ("doc", "operations", "expected"),
    [
        ({}, [{"op": "add", "path": "/a", "value": 1}], {"a": 1}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": None}], {"a": None}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
        ({"a/b": {"~": 1}}, [{"op": "test", "path": "/a~1b/~0", "value": 1}], {"a/b": {"~": 1}}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"z": 1}}], {"z": 1}),
    ],
)
def test_json_patch_operations(doc, operations, expected):
    before = deepcopy(doc)
    assert json_patch(doc, operations) == expected
    assert doc == before


@pytest.mark.parametrize(
    ("error", "operation"),
    [
        (Invalid, {"op": "test", "path": "/a", "value": 2}),
        (Invalid, {"op": "test", "path": "/t", "value": 1}),
        (Invalid, {"op": "remove", "path": "/x"}),
        (Invalid, {"op": "replace", "path": "/x", "value": 1}),
        (Invalid, {"op": "add", "path": "/l/7", "value": 1}),
        (Invalid, {"op": "add", "path": "/l/01", "value": 1}),
        (Invalid, {"op": "add", "path": "/a/b", "value": 1}),
        (Invalid, {"op": "move", "from": "/l", "path": "/l/0"}),
        (BadRequest, {"op": "add", "path": "/x"}),
        (BadRequest, {"op": "nonsense", "path": "/x"}),
        (BadRequest, {"op": "add", "path": "x", "value": 1}),
        (BadRequest, "x"),
    ],
)
def test_json_patch_refusals(error, operation):
    doc = {"a": 1, "t": True, "l": [1]}
    with pytest.raises(error):
        json_patch(doc, [{"op": "add", "path": "/new", "value": 1}, operation])
    assert doc == {"a": 1, "t": True, "l": [1]}


def test_json_patch_copies_are_bounded():
    double = [{"op": "copy", "from": "", "path": f"/x{i}"} for i in range(40)]
    with pytest.raises(BadRequest, match="copies too much"):
        json_patch({"a": 1}, double)


def test_merge_patch_of_rfc_7386():
    doc = {"a": "b", "c": {"d": "e", "f": "g"}}
    assert merge_patch(doc, {"a": "z", "c": {"f": None}}) == {"a": "z", "c": {"d": "e"}}
    assert merge_patch({"a": [1]}, {"a": {"b": None, "c": {"d": None}}}) == {"a": {"c": {}}}
    assert doc == {"a": "b", "c": {"d": "e", "f": "g"}}


OBJECT = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(OBJECT, OBJECT)
def test_a_merge_patch_is_idempotent(doc, patch):
    once = merge_patch(doc, patch)
    assert merge_patch(once, patch) == once


def pod(spec):
    return {"spec": spec}


A, B = {"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}, {"name": "b"}


@pytest.mark.parametrize(
    ("spec", "patch", "expected"),
    [
        (
            {"containers": [A, B]},
            {"containers": [{"name": "b", "image": "y"}]},
            {"containers": [A, {"name": "b", "image": "y"}]},
        ),
        (
            {"containers": [A]},
            {"containers": [{"name": "a", "env": [{"name": "E", "$patch": "delete"}]}]},
            {"containers": [{"name": "a", "image": "x", "env": []}]},
        ),
        (
            {"containers": [A, B]},
            {"containers": [{"name": "a", "$patch": "delete"}]},
            {"containers": [B]},
        ),
        (
            {"containers": [A, B]},
            {"containers": [{"$patch": "replace"}, {"name": "c"}]},
            {"containers": [{"name": "c"}]},
        ),
        (
            {"containers": [A, B]},
            {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
            {"containers": [B, A]},
        ),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "b"}]},
        ),
        ({"nodeName": "n", "hostname": "h"}, {"nodeName": None}, {"hostname": "h"}),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {
                "volumes": [
                    {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}
                ]
            },
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
        ),
        (
            {"securityContext": {"runAsUser": 1}},
            {"securityContext": {"$patch": "replace", "fsGroup": 2}},
            {"securityContext": {"fsGroup": 2}},
        ),
        (
            {"nodeSelector": {"a": "1", "b": "2"}},
            {"nodeSelector": {"a": None, "c": "3"}},
            {"nodeSelector": {"b": "2", "c": "3"}},
        ),
    ],
)
def test_strategic_merge_of_a_pod(spec, patch, expected):
    doc, sent = pod(deepcopy(spec)), pod(deepcopy(patch))
    assert strategic_merge(doc, sent, "core.v1.Pod") == pod(expected)
    assert (doc, sent) == (pod(spec), pod(patch))


def test_strategic_merge_of_primitive_sets_and_service_ports():
    doc = {"metadata": {"finalizers": ["a", "b"]}, "spec": {"ports": [{"port": 80, "name": "w"}]}}
    patch = {
        "metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]},
        "spec": {"ports": [{"port": 80, "nodePort": 30000}]},
    }
    assert strategic_merge(doc, patch, "core.v1.Service") == {
        "metadata": {"finalizers": ["b", "c"]},
        "spec": {"ports": [{"port": 80, "name": "w", "nodePort": 30000}]},
    }


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"containers": [{"image": "x"}]}, "does not contain declared merge key: name"),
        ({"containers": ["x"]}, "must be objects"),
        ({"$patch": "explode"}, "unknown directive"),
        ({"$retainKeys": 1}, "must be a list"),
        (
            {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]},
            "doesn't match",
        ),
    ],
)
def test_malformed_strategic_patches_are_bad_requests(patch, says):
    with pytest.raises(BadRequest, match=says):
        strategic_merge(pod({"containers": [A]}), pod(patch), "core.v1.Pod")


def test_a_bottomless_patch_is_a_bad_request():
    patch = {}
    for _ in range(5000):
        patch = {"a": patch}
    with pytest.raises(BadRequest, match="too deeply"):
        merge_patch({}, patch)
    with pytest.raises(BadRequest, match="too deeply"):
        strategic_merge({}, patch, "core.v1.Pod")
