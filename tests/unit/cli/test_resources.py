"""Which resource a word means."""

from scheduler.cli.resources import Resource, Resources


def autoscalers(version):
    return Resource(
        group="autoscaling",
        version=version,
        plural="horizontalpodautoscalers",
        singular="horizontalpodautoscaler",
        kind="HorizontalPodAutoscaler",
        namespaced=True,
        short_names=("hpa",),
        categories=("all",),
    )


def test_of_several_versions_the_first_is_meant_unless_an_object_says():
    new, old = autoscalers("v2"), autoscalers("v1")
    known = Resources((new, old))
    assert known.named("hpa") is new
    assert known.category("all") == [new]
    manifest = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"}
    assert known.of_object(manifest) is old
