"""Which host makes an image, found for many builds in one look."""

from collections import Counter
from types import SimpleNamespace

import pytest

from scheduler.images import ImageBuilder
from scheduler.nodes.build_places import BuildPlaces
from scheduler.objects.image_build import image_build
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, ObjectKey, StoredObject


def nothing():
    """Stand in for what is not called here."""


METHODS = [
    "find",
    "pull",
    "mark_pulled",
    "list",
    "remove",
    "filesystem",
    "save",
    "load",
    "build",
    "commit",
    "push",
]
Images = type("Images", (), dict.fromkeys(METHODS, nothing))


def stored(resource, name, body=b"{}", labels=None):
    meta = ObjectMeta(name=name, namespace="", uid=name, labels=labels or {})
    return StoredObject(resource, meta, 1, 1, Body(body), b"", None)


def build(spec=b""):
    return image_build(stored("imagebuilds", "b", b'{"spec":{"image":"i"%s}}' % spec))


class Cluster:
    """Hosts a, b, …; odd ones are of zone 1."""

    def __init__(self, count):
        names = [chr(ord("a") + number) for number in range(count)]
        nodes = [
            stored("nodes", name, labels={"zone": str(number % 2)})
            for number, name in enumerate(names)
        ]
        self.nodes = {ObjectKey("nodes", "", node.meta.name): node for node in nodes}
        self.down = set()
        self.asked = Counter()
        self.pods = {}
        self.builds = Counter()

    def host(self, name):
        self.asked[name] += 1
        return None if name in self.down else SimpleNamespace(images=Images())

    def cordon(self, name):
        node = stored("nodes", name, b'{"spec":{"unschedulable":true}}')
        self.nodes[ObjectKey("nodes", "", name)] = node

    def look(self):
        pod = lambda namespace, name: self.pods.get(name)  # noqa: E731
        return BuildPlaces(self.nodes, self.host, pod, self.builds, 2)


def test_the_images_of_these_tests_are_those_of_a_builder():
    assert isinstance(Images(), ImageBuilder)


def test_the_host_with_the_fewest_builds_is_taken_and_the_first_of_equals():
    cluster = Cluster(3)
    places = cluster.look()
    taken = []
    for _ in range(6):
        found = places.find(build())
        cluster.builds[found.node] += 1
        taken.append(found.node)
    assert taken == ["a", "b", "c", "a", "b", "c"]
    assert places.find(build()) == "of 3 hosts all have as many builds as they may"


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        (b',"nodeName":"z"', 'there is no host "z"'),
        (b',"nodeName":"a","nodeSelector":{"zone":"1"}', 'there is no host "a"'),
        (b',"nodeSelector":{"zone":"2"}', "no host matches spec.nodeSelector"),
        (b',"nodeSelector":{"zone":"1"}', "of 1 hosts none answers, or may be used"),
        (b',"commit":{"pod":"web"}', 'pod "web" is on no host'),
    ],
)
def test_why_there_is_no_host(spec, answer):
    cluster = Cluster(2)
    cluster.down = {"b"}
    assert cluster.look().find(build(spec)) == answer


def test_what_takes_nobody_by_itself_takes_who_asks_for_it_by_name():
    cluster = Cluster(2)
    cluster.cordon("a")
    places = cluster.look()
    assert places.find(build()).node == "b"
    assert places.find(build(b',"nodeName":"a"')).node == "a"
    cluster.pods["web"] = SimpleNamespace(node="a")
    assert places.find(build(b',"commit":{"pod":"web"}')).node == "a"


def test_those_who_wait_for_the_same_hosts_are_answered_by_one_look_at_them():
    cluster = Cluster(4)
    cluster.builds = Counter(dict.fromkeys("abcd", 2))
    places = cluster.look()
    answers = {places.find(build()) for _ in range(50)}
    assert answers == {"of 4 hosts all have as many builds as they may"}
    assert set(cluster.asked.values()) == {1}
    assert places.find(build(b',"nodeSelector":{"zone":"0"}')).startswith("of 2 hosts all")
    cluster.builds["c"] = 1
    assert cluster.look().find(build()).node == "c", "the next look asks again"
