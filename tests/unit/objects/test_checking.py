import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import BadRequest
from scheduler.objects.checking import check, decode_strict, fits
from scheduler.objects.schema import load


def pod(**spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}


def test_a_good_object_takes_the_fast_path():
    good = pod(
        containers=[{"name": "c", "resources": {"limits": {"cpu": "1", "nvidia.com/gpu": 1}}}],
        terminationGracePeriodSeconds=2**40,
        volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
        nodeName=None,
    )
    assert fits("core.v1.Pod", good)
    assert check("core.v1.Pod", good) == []


def test_every_message_compiles_and_accepts_nothing_set():
    for name in load().names:
        assert fits(name, {}), name


@pytest.mark.parametrize(
    ("spec", "path", "says"),
    [
        (
            {"containers": [{"name": "c", "foo": 1}]},
            "spec.containers[0].foo",
            'unknown field "spec.containers[0].foo"',
        ),
        (
            {"containers": {}},
            "spec.containers",
            "object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            {"containers": [{"image": 3}]},
            "spec.containers[0].image",
            "number 3 into Go struct field Container.spec.containers.image of type string",
        ),
        ({"priority": "1"}, "spec.priority", "of type int32"),
        ({"priority": 2**31}, "spec.priority", "cannot unmarshal number 2147483648"),
        ({"priority": 1.5}, "spec.priority", "cannot unmarshal number 1.5"),
        ({"hostNetwork": 1}, "spec.hostNetwork", "of type bool"),
        ({"nodeSelector": {"a": 1}}, "spec.nodeSelector[a]", "of type string"),
        ({"overhead": {"cpu": "x"}}, "spec.overhead[cpu]", "quantities must match"),
        ({"volumes": [{"emptyDir": 1}]}, "spec.volumes[0].emptyDir", "v1.EmptyDirVolumeSource"),
    ],
)
def test_faults_are_named_by_path(spec, path, says):
    (problem,) = check("core.v1.Pod", pod(**spec))
    assert problem.path == path
    assert says in problem.message
    assert problem.unknown == says.startswith("unknown")


def test_wrong_metadata_and_times():
    obj = {"metadata": {"creationTimestamp": "yesterday", "labels": [], "x": 1}, "data": {"k": "%"}}
    assert [p.path for p in check("core.v1.Secret", obj)] == [
        "metadata.creationTimestamp",
        "metadata.labels",
        "metadata.x",
        "data[k]",
    ]


TIMES = st.sampled_from(
    [
        "2026-01-31T00:00:00Z",
        "2026-02-31T00:00:00Z",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00+01:00",
        "2026-01-01T00:00:00Z\n",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00",
    ]
)


@given(TIMES)
def test_only_rfc_3339_times_pass(text):
    good = text in ("2026-01-31T00:00:00Z", "2026-01-01T00:00:00+01:00")
    assert (check("core.v1.Pod", {"metadata": {"creationTimestamp": text}}) == []) is good


def test_a_newline_after_a_quantity_is_refused():
    assert check("core.v1.Pod", pod(overhead={"cpu": "1\n"})) != []


def test_own_kinds_are_checked_too():
    host = {"apiVersion": "ironfree.dev/v1", "kind": "DockerHost", "spec": {"adress": "x"}}
    assert [p.message for p in check("ironfree.v1.DockerHost", host)] == [
        'unknown field "spec.adress"'
    ]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "name", "containers", "x"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(["metadata", "spec", "status", "kind", "y"]), JSON, max_size=3)
)
def test_the_fast_path_accepts_only_what_the_slow_path_accepts(obj):
    problems = check("core.v1.Pod", obj)
    assert not (fits("core.v1.Pod", obj) and problems)


@pytest.mark.parametrize(
    ("data", "duplicates"),
    [
        (b'{"a": {"b": 1}, "c": [1, 2]}', []),
        (b'{"a": {"b": 1, "b": 2}, "c": [{"d": 1, "d": 3}]}', ["a.b", "c[0].d"]),
        (rb'{"a": "\"\u0022\"", "\u0061": 1}', ["a"]),
    ],
)
def test_duplicate_keys_are_reported_and_the_last_wins(data, duplicates):
    value, said = decode_strict(data)
    assert said == [f'duplicate field "{path}"' for path in duplicates]
    assert value == json.loads(data)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":NaN}', b"[" * 100_000])
def test_what_is_not_json_is_a_bad_request(data):
    with pytest.raises(BadRequest, match="not valid JSON"):
        decode_strict(data)
