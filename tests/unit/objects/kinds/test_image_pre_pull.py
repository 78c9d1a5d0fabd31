"""What an ImagePrePull and an ImageManifest may say."""

import pytest

from scheduler.objects.image_manifest import manifest_name
from scheduler.objects.kinds import REGISTRY

KIND = REGISTRY.by_resource("imageprepulls.ironfree.dev")
MANIFEST = REGISTRY.by_resource("imagemanifests.ironfree.dev")


def causes(**spec):
    obj = {"metadata": {"name": "w"}, "spec": {"images": ["a:v1"], **spec}}
    KIND.default(obj)
    return [cause.field for cause in KIND.validate(obj)]


def test_what_is_right_is_taken():
    assert causes() == []
    assert causes(selector={}, imagePullPolicy="Always", imagePullSecrets=[{"name": "s"}]) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"images": []}, "spec.images"),
        ({"images": [f"a:v{n}" for n in range(65)]}, "spec.images"),
        ({"images": ["No Image"]}, "spec.images[0]"),
        ({"images": ["a", "b", "a"]}, "spec.images[2]"),
        ({"imagePullPolicy": "Never"}, "spec.imagePullPolicy"),
        ({"namespace": "A_b"}, "spec.namespace"),
        ({"imagePullSecrets": [{"name": "/"}]}, "spec.imagePullSecrets[0].name"),
        ({"selector": {"matchLabels": {"a b": "c"}}}, "spec.selector.matchLabels"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(spec, field):
    assert causes(**spec) == [field]


def test_a_manifest_has_the_name_that_follows_from_its_image():
    image = "r.io/app:v1"

    def complaints(name, image):
        obj = {"metadata": {"name": name}, "spec": {"image": image}}
        return [cause.field for cause in MANIFEST.validate(obj)]

    assert complaints(manifest_name(image), image) == []
    assert complaints("other", image) == ["metadata.name"]
    assert complaints(manifest_name("app"), "app") == ["spec.image"]
