"""Pods go where their images can run, as far as that is known."""

import pytest
from ironfree_defaults.image_architecture import ImageArchitecture

from scheduler.hookspecs import Change
from tests.placement_cases import a_class, cluster, decide, node

ARCH = "kubernetes.io/arch"
AMD, ARM = frozenset({"amd64"}), frozenset({"arm64"})
NODES = (
    node("amd", labels={ARCH: "amd64"}),
    node("arm", labels={ARCH: "arm64"}),
    node("other", labels={ARCH: "riscv64"}),
    node("silent"),
    node("has", labels={ARCH: "riscv64"}, images={"app:v1": 7}),
)


def using(*images, init=()):
    return a_class(
        json={
            "containers": [{"name": f"c{n}", "image": each} for n, each in enumerate(images)],
            "initContainers": [{"name": f"i{n}", "image": each} for n, each in enumerate(init)],
        }
    )


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (using("app:v1"), {"amd", "silent", "has"}),
        (using("docker.io/library/app:v1"), {"amd", "silent"}),
        (using("both"), {"amd", "arm", "silent"}),
        (using("both", init=["app:v1"]), {"amd", "silent"}),
        (using("app:v2"), {"amd", "arm", "other", "silent", "has"}),
        (using("Not An Image"), {"amd", "arm", "other", "silent", "has"}),
    ],
)
def test_nodes_that_no_variant_is_for_are_rejected(wanted, names):
    state = cluster(*NODES)
    state.set_architectures("docker.io/library/app:v1", AMD)
    state.set_architectures("docker.io/library/both:latest", AMD | ARM)
    snapshot = state.freeze(1)
    verdict = ImageArchitecture().filter(wanted, snapshot)
    room = snapshot.every() if verdict is None else verdict.room
    assert {n.name for n, fits in zip(snapshot.nodes, room, strict=True) if fits} == names


def test_what_is_not_known_costs_nothing():
    assert ImageArchitecture().filter(using("app:v1"), cluster(*NODES).freeze(1)) is None


def test_a_pod_that_fits_nowhere_says_why_and_wakes_when_more_is_known():
    state = cluster(*NODES[:2])
    state.set_architectures("docker.io/library/app:v1", frozenset({"s390x"}))
    chosen, decision = decide(state, using("app:v1"))
    assert chosen == []
    assert "2 node(s) had an architecture that an image is not made for" in str(
        decision.diagnosis.message
    )
    assert decision.diagnosis.wakes_on & Change.IMAGES
    assert state.set_architectures("docker.io/library/app:v1", frozenset())
    assert decide(state, using("app:v1"))[0]


def test_only_news_is_news_and_snapshots_keep_what_they_knew():
    state = cluster(*NODES)
    assert state.set_architectures("docker.io/library/app:v1", AMD)
    before = state.freeze(1)
    assert not state.set_architectures("docker.io/library/app:v1", AMD)
    assert state.set_architectures("docker.io/library/app:v1", ARM)
    assert before.architectures == {"docker.io/library/app:v1": AMD}
    assert not state.set_architectures("docker.io/library/none:v1", frozenset())
