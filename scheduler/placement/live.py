"""The live cluster as a scenario, as it is or without some of it.

Pure: typed views of what the store holds come in. Pods of a node that is taken away wait for
another one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from ..errors import BadRequest
from ..objects.disruption import disruption_budget
from ..objects.image_manifest import RESOURCE as MANIFESTS
from ..objects.image_manifest import image_manifest
from ..objects.json import JsonObject, get_object
from ..objects.kinds.priority import priority_view
from ..objects.node import node_view
from ..objects.pod import Pod, pod_view
from ..objects.pod_class import pod_class
from ..objects.pod_group import RESOURCE as GROUPS
from ..objects.pod_group import pod_group
from ..objects.stored import ObjectKey, StoredObject
from .admission import RESOURCES as ADMISSION
from .scenario import Scenario, ScenarioPod
from .storage_table import RESOURCES as STORAGE
from .surroundings import SELECTING, selector_of
from .tenancy import Budget

NODES, PODS, NAMESPACES = "nodes", "pods", "namespaces"
BUDGETS = "poddisruptionbudgets.policy"
PRIORITIES = "priorityclasses.scheduling.k8s.io"
RESOURCES = (
    *(NODES, PODS, NAMESPACES, *SELECTING, BUDGETS, PRIORITIES, GROUPS, MANIFESTS),
    *STORAGE,
    *ADMISSION,
)


@dataclass(frozen=True, slots=True)
class Absence:
    """What of the live cluster is thought away.

    Args:
        nodes: names; what ran there is pending.
        pods: namespace/name.
    """

    nodes: frozenset[str] = frozenset()
    pods: frozenset[str] = frozenset()


def read_absence(spec: JsonObject) -> Absence | None:
    """Return what is thought away, None where the live cluster is not asked for.

    Args:
        spec: `cluster: live`, and `without: {nodes: [name…], pods: [namespace/name…]}`.

    Raises:
        BadRequest: names the field that cannot be.
    """
    cluster = spec.get("cluster")
    if cluster is None:
        if spec.get("without") is not None:
            raise BadRequest("spec.without needs spec.cluster: live")
        return None
    if cluster != "live":
        raise BadRequest(f'spec.cluster is {cluster!r}; it must be "live", or absent')
    without = get_object(spec, "without", "spec")
    return Absence(_names(without, "nodes"), _names(without, "pods"))


class LiveCluster:
    """A scenario being filled from listings, in the order of RESOURCES."""

    def __init__(self, absence: Absence) -> None:
        self.scenario = Scenario(live=True)
        self.scenario.state.storage.begin()
        self._groups = self.scenario.groups = {}
        self.scenario.admission.runtimes = {}
        self._absence = absence
        self._displaced: list[ScenarioPod] = []

    def add(self, resource: str, objects: Iterable[StoredObject]) -> None:
        """Take over the objects of one resource."""
        for stored in objects:
            self._add(resource, stored)
        if resource == PODS:
            for pod in self._displaced:
                self.scenario.wait(pod)

    def _add(self, resource: str, stored: StoredObject) -> None:
        state, meta = self.scenario.state, stored.meta
        match resource:
            case "nodes":
                if meta.name not in self._absence.nodes:
                    state.set_node(node_view(stored))
            case "pods":
                self._add_pod(pod_view(stored))
            case "namespaces":
                state.set_namespace(meta.name, meta.labels)
            case "poddisruptionbudgets.policy":
                budget = Budget.of(disruption_budget(stored))
                self.scenario.budgets[meta.namespace, meta.name] = budget
            case "podgroups.ironfree.dev":
                self._groups[stored.key] = pod_group(stored)
            case "priorityclasses.scheduling.k8s.io":
                self.scenario.priorities[meta.name] = priority_view(stored)
            case _ if resource == MANIFESTS:
                manifest = image_manifest(stored)
                state.set_architectures(manifest.spec.image, manifest.architectures)
            case _ if resource in ADMISSION:
                self.scenario.admission.add(stored)
            case _ if resource in STORAGE:
                state.storage.set(stored.key, stored)
            case _:
                selector = selector_of(resource, stored)
                state.set_workload(meta.namespace, resource, meta.name, selector)

    def _add_pod(self, pod: Pod) -> None:
        key = ObjectKey(PODS, pod.meta.namespace, pod.meta.name)
        try:
            member = ScenarioPod(key, pod, pod_class(pod))
        except BadRequest:
            return  # stored without validation; placement leaves it out, too
        if pod.terminal or member.name in self._absence.pods:
            return
        if not pod.node:
            if pod.meta.deletion_timestamp is None:
                self.scenario.wait(member)
        elif pod.node in self._absence.nodes:
            unbound = msgspec.structs.replace(pod, node="")
            self._displaced.append(ScenarioPod(key, unbound, member.wanted))
        else:
            self.scenario.run(member, pod.node)


def _names(without: JsonObject, what: str) -> frozenset[str]:
    given = without.get(what) or []
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise BadRequest(f"spec.without.{what} must be a list of names")
    return frozenset(name for name in given if isinstance(name, str))
