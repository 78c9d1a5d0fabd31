"""ImageLocality as kube-scheduler has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ironfree_defaults.image_locality import ImageLocality, normalised

from scheduler.errors import ConfigurationError
from tests.placement_cases import a_class, cluster, everywhere, node, rated

MB = 2**20
RULE = ImageLocality()
A = {"gcr.io/40:latest": 40 * MB, "gcr.io/300:latest": 300 * MB, "gcr.io/2000:latest": 2000 * MB}
B = {"gcr.io/250:latest": 250 * MB, "gcr.io/10:v1": 10 * MB, "gcr.io/4000:latest": 4000 * MB}


def using(*images, init=(), volumes=()):
    """Return the class of pods with these images."""
    return a_class(
        json={
            "containers": [{"name": f"c{n}", "image": each} for n, each in enumerate(images)],
            "initContainers": [{"name": f"i{n}", "image": each} for n, each in enumerate(init)],
            "volumes": [
                {"name": f"v{n}", "image": {"reference": each}} for n, each in enumerate(volumes)
            ],
        }
    )


CASES = [
    # nodes with A, with B, with nothing; an image on one of three counts a third
    (using("gcr.io/40"), [0, 0, 0]),  # 13 MB
    (using("gcr.io/300"), [7, 0, 0]),  # 100·(100 - 23)//(1000 - 23)
    (using("gcr.io/250"), [0, 6, 0]),
    (using("gcr.io/2000"), [65, 0, 0]),  # 666 MB
    (using("gcr.io/4000"), [0, 100, 0]),
    (using("gcr.io/40", "gcr.io/250"), [0, 3, 0]),  # of at most 2000 MB
    (using("gcr.io/40", "gcr.io/300"), [4, 0, 0]),  # 13 + 100 MB
    (using("gcr.io/300", "gcr.io/250"), [3, 3, 0]),
    (using("gcr.io/300", init=["gcr.io/300"]), [8, 0, 0]),
    (using("unknown", init=["gcr.io/2000"]), [32, 0, 0]),
    (using("gcr.io/4000", "gcr.io/4000"), [0, 100, 0]),
    (using("gcr.io/2000", "x", "y"), [21, 0, 0]),
    # names
    (using("gcr.io/300:latest"), [7, 0, 0]),
    (using("gcr.io/300:v2"), [0, 0, 0]),
    (using("300"), [0, 0, 0]),
    (using("gcr.io/10"), [0, 0, 0]),
    (using("other.io/4000"), [0, 0, 0]),
    # image volumes
    (using("x", volumes=["gcr.io/4000"]), [0, 66, 0]),
    (using("gcr.io/4000", volumes=["gcr.io/4000"]), [0, 100, 0]),
    (using("gcr.io/2000", volumes=["x"]), [32, 0, 0]),
    (using("gcr.io/2000", volumes=["gcr.io/300"]), [37, 0, 0]),
]


@pytest.mark.parametrize(("wanted", "scores"), CASES)
def test_scores(wanted, scores):
    found = rated(RULE, wanted, node("a", images=A), node("b", images=B), node("c"))
    assert [score or 0 for score in found.values()] == scores


def test_an_image_counts_more_the_more_nodes_have_it():
    held = node("a", images=A), node("b", images={"gcr.io/300:latest": 300 * MB}), node("c")
    assert rated(RULE, using("gcr.io/300"), *held) == {"a": 18, "b": 18, "c": 0}
    assert rated(RULE, using("gcr.io/300"), node("a", images=A)) == {"a": 28}


def test_without_known_images_nobody_gains():
    assert rated(RULE, using("x"), node("a", images=A)) == {"a": 0}
    assert rated(RULE, using("x"), node("a")) == {"a": 0}
    assert rated(RULE, using(), node("a", images=A)) == {"a": 0}


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("root", "root:latest"),
        ("root:tag", "root:tag"),
        ("gcr.io:5000/root", "gcr.io:5000/root:latest"),
        ("gcr.io:5000/root:tag", "gcr.io:5000/root:tag"),
        ("root@sha256:abc", "root@sha256:abc"),
        ("", ":latest"),
    ],
)
def test_names_are_normalised(name, full):
    assert normalised(name) == full


def test_it_has_no_arguments():
    assert ImageLocality.from_args({}) == RULE
    with pytest.raises(ConfigurationError, match="no argument 'x'"):
        ImageLocality.from_args({"x": 1})


def test_what_it_keeps_follows_the_nodes():
    state = cluster(node("a", images=A))
    wanted = using("gcr.io/300")

    def scores():
        snapshot = state.freeze(1)
        found = RULE.score(wanted, snapshot, snapshot.all_rows, everywhere(snapshot.size))
        return None if found is None else found.tolist()

    assert scores() == [28]
    state.set_node(node("b"))  # no new image, but one more node
    assert scores() == [12, 0]
    state.set_node(node("b", images=A))
    assert scores() == [28, 28]
    state.set_node(node("a"))
    assert scores() == [0, 12]
    state.remove_nodes(["b"])
    assert scores() is None


SIZES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3000 * MB))
NAMES = st.lists(st.sampled_from("abcd"), max_size=3)


@given(st.lists(SIZES, min_size=1, max_size=4), NAMES, NAMES, NAMES)
def test_equals_a_node_by_node_reference(fleet, images, init, volumes):
    nodes = [
        node(f"n{n}", images={f"{name}:latest": size for name, size in each.items()})
        for n, each in enumerate(fleet)
    ]
    wanted = [*images, *init, *volumes]
    expected = []
    for each in fleet:
        total = 0
        for name in wanted:
            spread = sum(name in other for other in fleet) / len(fleet)
            total += int(float(each.get(name, 0)) * spread)
        most = 1000 * MB * len(wanted)
        total = min(max(total, 23 * MB), max(most, 23 * MB))
        expected.append(100 * (total - 23 * MB) // (most - 23 * MB) if wanted else 0)
    found = rated(RULE, using(*images, init=init, volumes=volumes), *nodes)
    assert [score or 0 for score in found.values()] == expected
