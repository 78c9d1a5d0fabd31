"""Which pods a Placement is about: pending ones of the cluster, and copies of templates. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import msgspec

from ...errors import BadRequest
from ...objects.json import Json, JsonObject
from ...objects.kinds.priority import PriorityView
from ...objects.placement_job import MOST_PODS, PlacementJob
from ...objects.pod import LabelSelector
from ...objects.pod_class import PodClass, pod_class
from ...objects.selectors import EVERYTHING, Selector, from_label_selector
from ...objects.stored import ObjectKey
from ...store.operations import MOST_BOUND
from ..plan import PendingPod
from ..scenario import Scenario, ScenarioPod, pod_of, with_priority


def members_of(job: PlacementJob, cluster: Scenario) -> dict[PodClass, Sequence[PendingPod]]:
    """Return the pods that a Placement chooses, by class.

    Raises:
        BadRequest: there are none, or too many, or a template cannot be read.
    """
    found: dict[PodClass, list[PendingPod]] = {}
    for pod in _pending(job, cluster):
        found.setdefault(pod.wanted, []).append(PendingPod(pod.key, pod.pod.meta.uid))
    for number, template in enumerate(job.spec.pods.templates):
        where = f"spec.pods.templates[{number}]"
        namespace = job.meta.namespace
        try:
            wanted = class_of(template.template, template.name, namespace, cluster.priorities)
        except BadRequest as error:
            raise BadRequest(f"{where}: {error}") from error
        copies = found.setdefault(wanted, [])
        names = (f"{template.name}-{copy}" for copy in range(template.count))
        copies += [
            PendingPod(ObjectKey("pods", namespace, name), f"{number}/{name}") for name in names
        ]
    total = sum(map(len, found.values()))
    if not total:
        words = ("there is nothing to place", *notes_on(job, cluster))
        raise BadRequest(f"spec.pods: no pending pod is chosen; {'; '.join(words)}")
    if total > MOST_PODS:
        raise BadRequest(f"spec.pods: {total} pods are chosen; at most {MOST_PODS} can be")
    if job.spec.mode == "commit" and total > MOST_BOUND:
        raise BadRequest(
            f"spec.pods: {total} pods are chosen, and at most {MOST_BOUND} can be bound together; "
            "choose fewer by spec.pods.selector, or use mode plan"
        )
    return cast(dict[PodClass, Sequence[PendingPod]], found)


def class_of(
    template: msgspec.Raw, name: str, namespace: str, priorities: Mapping[str, PriorityView]
) -> PodClass:
    """Return the class of pods of a template (core/v1 PodTemplateSpec).

    Args:
        priorities: PriorityClasses by name, as creation knows them; a template that says a number
            itself keeps it.

    Raises:
        BadRequest: it cannot be read, or names a PriorityClass that there is not.
    """
    body = cast(JsonObject, msgspec.json.decode(template))
    metadata, spec = body.get("metadata"), body.get("spec")
    named = {**(metadata if isinstance(metadata, dict) else {}), "name": name}
    named["namespace"] = namespace
    pod = pod_of({"metadata": named, "spec": spec}, "template", 0)
    if isinstance(spec, dict) and spec.get("priority") is None:
        completed, unknown = with_priority(pod.spec, priorities)
        if unknown:
            raise BadRequest(f"{unknown}; create it, or name another in priorityClassName")
        pod = msgspec.structs.replace(pod, spec=completed)
    return pod_class(pod)


def notes_on(job: PlacementJob, cluster: Scenario) -> tuple[str, ...]:
    """Return what of the pods that a Placement names is not there, in words."""
    return tuple(_absent(job, cluster))


def _absent(job: PlacementJob, cluster: Scenario) -> Iterator[str]:
    if not job.spec.pods.groups:
        return
    known = {key.name for key in cluster.groups or {} if key.namespace == job.meta.namespace}
    waiting = {pod.wanted.group for pod in _pending(job, cluster)}
    for name in dict.fromkeys(job.spec.pods.groups):
        if name not in known:
            yield f"there is no PodGroup {name!r}, which spec.pods.groups names"
        elif name not in waiting:
            yield f"no pod of PodGroup {name!r} is pending"


def _pending(job: PlacementJob, cluster: Scenario) -> Iterable[ScenarioPod]:
    selector, groups = selector_of(job.spec.pods.selector), frozenset(job.spec.pods.groups)
    if selector is None and not groups:
        return
    for pod in cluster.pending:
        if pod.key.namespace != job.meta.namespace or pod.pod.spec.scheduling_gates:
            continue
        if pod.wanted.group in groups or (
            selector is not None and selector.matches(pod.wanted.labels)
        ):
            yield pod


def selector_of(given: LabelSelector | None) -> Selector | None:
    """Return what a label selector selects, None where it is absent."""
    if given is None:
        return None
    if not given.match_labels and not given.match_expressions:
        return EVERYTHING
    return from_label_selector(cast(Json, msgspec.to_builtins(given)))
