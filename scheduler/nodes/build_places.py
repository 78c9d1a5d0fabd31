"""Which host makes an image: the one with the fewest builds of those that may."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..drivers import Host
from ..images import ImageBuilder
from ..objects.image_build import ImageBuild
from ..objects.node import node_view
from ..objects.pod import Pod
from ..objects.stored import ObjectKey, StoredObject

_Selector = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class BuildPlace:
    """Where a build is made: the node, and its open connection."""

    node: str
    host: Host
    images: ImageBuilder


@dataclass(frozen=True, slots=True)
class BuildPlaces:
    """The hosts as one look at all waiting builds finds them.

    Many builds wait for the same hosts, so what holds for one selector is found once a look; and
    who was told that all are busy need not be told anew for each of them.

    Args:
        nodes: the Nodes there are.
        host: finds the open connection of a node.
        pod: finds a pod by namespace and name.
        builds: under way, by node; changes while the look goes on.
        per_host: most builds of one host.
    """

    nodes: Mapping[ObjectKey, StoredObject]
    host: Callable[[str], Host | None]
    pod: Callable[[str, str], Pod | None]
    builds: Counter[str]
    per_host: int
    _refused: dict[_Selector, str] = field(default_factory=dict[_Selector, str])
    _matching: dict[_Selector, tuple[int, list[str]]] = field(
        default_factory=dict[_Selector, tuple[int, list[str]]]
    )

    def find(self, build: ImageBuild) -> BuildPlace | str:
        """Return the host with the fewest builds that may have this one, or why there is none."""
        wanted = build.spec.node_name
        if build.spec.commit is not None:
            pod = self.pod(build.meta.namespace, build.spec.commit.pod)
            if pod is None or not pod.node:
                return f'pod "{build.spec.commit.pod}" is on no host'
            wanted = pod.node
        selector = frozenset(build.spec.node_selector.items())
        return self._named(wanted, selector) if wanted else self._any(selector)

    def _named(self, name: str, selector: _Selector) -> BuildPlace | str:
        node = self.nodes.get(ObjectKey("nodes", "", name))
        if node is None or not _matches(node, selector):
            return f'there is no host "{name}"'
        return self._least_busy(1, [name])

    def _any(self, selector: _Selector) -> BuildPlace | str:
        if selector not in self._refused:
            if selector not in self._matching:
                named = [node for node in self.nodes.values() if _matches(node, selector)]
                able = [node.meta.name for node in named if _is_open(node)]
                self._matching[selector] = (len(named), able)
            count, able = self._matching[selector]
            found = self._least_busy(count, able) if count else "no host matches spec.nodeSelector"
            if not isinstance(found, str):
                return found
            self._refused[selector] = found
        return self._refused[selector]

    def _least_busy(self, count: int, names: list[str]) -> BuildPlace | str:
        able = [found for name in names if (found := self._builder(name)) is not None]
        free = [each for each in able if self.builds[each.node] < self.per_host]
        if not free:
            busy = "all have as many builds as they may" if able else "none answers, or may be used"
            return f"of {count} hosts {busy}"
        return min(free, key=lambda each: (self.builds[each.node], each.node))

    def _builder(self, node: str) -> BuildPlace | None:
        host = self.host(node)
        if host is None or not isinstance(host.images, ImageBuilder):
            return None
        return BuildPlace(node, host, host.images)


def _matches(node: StoredObject, selector: _Selector) -> bool:
    return all(node.meta.labels.get(key) == value for key, value in selector)


def _is_open(stored: StoredObject) -> bool:
    """Whether a node takes what does not ask for it by name."""
    spec = node_view(stored).spec
    return not spec.unschedulable and all(t.effect == "PreferNoSchedule" for t in spec.taints)
