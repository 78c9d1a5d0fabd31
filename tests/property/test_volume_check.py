"""The checker judges where claims can be mounted as the rules do, and by other means."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.checker_agreement import assert_agreed
from tests.placement_cases import a_class, cluster, default_framework, node, pod
from tests.storage_cases import CLASSES_THERE, claim, mounting, volume

FRAMEWORK = default_framework()
ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
CLAIMED = ("x", "y", "z", "w")
sizes = st.sampled_from(["1Gi", "1Gi", "1Gi", "2Gi"])
kinds = st.sampled_from(["wait"] * 12 + ["make", "other", "now", ""])
hosts = st.sampled_from(["n0", "n1", "n2"])
claimed = st.lists(st.sampled_from(CLAIMED), min_size=1, max_size=2, unique=True)


@st.composite
def volumes(draw, number):
    reserved = draw(st.sampled_from([None] * 12 + list(CLAIMED)))
    more = {"claimRef": {"name": reserved, "namespace": "default"}} if reserved else {}
    labels = {draw(st.sampled_from(ZONES)): draw(st.sampled_from(["a", "a", "b", "a__b"]))}
    return volume(
        f"v{number}",
        *draw(st.lists(hosts, max_size=2, unique=True)),
        size=draw(sizes),
        labels=labels if draw(st.booleans()) else None,
        kind=draw(kinds),
        **more,
    )


@st.composite
def claims(draw, name):
    given_ = draw(st.sampled_from(["", "", "", "", "", "v0", "v0", "gone"]))
    made = claim(
        name,
        given_,
        draw(st.sampled_from([None] * 11 + ["Lost"])),
        kind=draw(kinds),
        size=draw(sizes),
        modes=draw(st.sampled_from([*[("ReadWriteOnce",)] * 7, ("ReadWriteOncePod",)])),
    )
    if draw(st.integers(0, 15)) == 0:
        then = datetime(2026, 1, 1, tzinfo=UTC)
        made = replace(made, meta=replace(made.meta, deletion_timestamp=then))
    return made


@st.composite
def clusters(draw):
    nodes = [
        node(
            f"n{number}",
            labels={
                "kubernetes.io/hostname": f"n{number}",
                **(
                    {draw(st.sampled_from(ZONES)): draw(st.sampled_from(["a", "b"]))}
                    if draw(st.booleans())
                    else {}
                ),
            },
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    bound = [
        pod(node=draw(st.sampled_from(nodes)).meta.name, **mounting(*draw(claimed)))
        for _ in range(draw(st.integers(0, 3)))
    ]
    state = cluster(*nodes, pods=bound)
    state.storage.begin()
    there = CLAIMED[draw(st.sampled_from([0, 0, 0, 1])) :]
    made = [draw(volumes(number)) for number in range(draw(st.integers(0, 4)))]
    for each in (*CLASSES_THERE, *made, *(draw(claims(name)) for name in there)):
        state.storage.set(each.key, each)
    return state


groups = st.lists(st.tuples(claimed, st.integers(1, 3)), min_size=1, max_size=3)


@settings(max_examples=500, deadline=None)
@given(clusters(), groups)
def test_a_node_is_open_to_the_next_pod_just_where_the_checker_accepts_it(state, wanted):
    assert_agreed(
        FRAMEWORK, state, [(a_class(**mounting(*names)), count) for names, count in wanted]
    )
