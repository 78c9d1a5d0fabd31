"""Follows the pods of applied objects until they run, for `apply --wait` and the tour."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import StatusError
from ..objects.json import JsonObject
from .connection import Connection, child, entries, metadata
from .resources import Resources


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod as a person wants to see it.

    Args:
        owner: uid of the controlling object, or the pod's own.
        state: phase, or the reason why a container waits. done: ready, or succeeded.
    """

    uid: str
    namespace: str
    name: str
    owner: str
    node: str
    state: str
    done: bool


def pod_state(pod: JsonObject) -> PodState:
    """Read what matters of a pod."""
    meta, status = metadata(pod), child(pod, "status")
    owners = entries(child(pod, "metadata").get("ownerReferences"))
    owner = next((str(o.get("uid")) for o in owners if o.get("controller")), meta.get("uid", ""))
    phase = str(status.get("phase") or "Pending")
    ready = any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in entries(status.get("conditions"))
    )
    waiting = [
        str(child(child(c, "state"), "waiting").get("reason") or "")
        for c in entries(status.get("containerStatuses"))
    ]
    return PodState(
        uid=meta.get("uid", ""),
        namespace=meta.get("namespace", ""),
        name=meta.get("name", ""),
        owner=owner,
        node=str(child(pod, "spec").get("nodeName") or ""),
        state=next(filter(None, waiting), phase),
        done=ready or phase == "Succeeded",
    )


def expected_pods(applied: Sequence[JsonObject]) -> dict[str, int]:
    """Return owner uid → number of pods, for pods and whatever has spec.replicas and a template."""
    expected: dict[str, int] = {}
    for obj in applied:
        spec = child(obj, "spec")
        if obj.get("kind") == "Pod":
            expected[metadata(obj)["uid"]] = 1
        elif "template" in spec and isinstance(replicas := spec.get("replicas", 1), int):
            expected[metadata(obj)["uid"]] = replicas
    return expected


def follow(
    connection: Connection,
    resources: Resources,
    applied: Sequence[JsonObject],
    seconds: float,
    show: Callable[[PodState], None],
) -> list[PodState]:
    """Watch until every expected pod is ready; calls `show` at each change of node or state.

    Args:
        seconds: patience.

    Returns:
        the pods, by name.

    Raises:
        StatusError: they were not all ready in time; says which and why.
    """
    expected = expected_pods(applied)
    pods: dict[str, PodState] = {}
    deadline = time.monotonic() + seconds
    while expected and not _complete(expected, pods) and time.monotonic() < deadline:
        left = max(1, int(deadline - time.monotonic()))
        query = {"resourceVersion": "0", "timeoutSeconds": str(left)}
        for event, obj in connection.watch(resources.named("pods").path(), query):
            pod = pod_state(obj)
            if pod.owner not in expected:
                continue
            if event == "DELETED":
                pods.pop(pod.uid, None)
            elif pods.get(pod.uid) != pod:
                pods[pod.uid] = pod
                show(pod)
            if _complete(expected, pods):
                break
    waiting = [pod for pod in pods.values() if not pod.done]
    if expected and not _complete(expected, pods):
        states = ", ".join(f"{pod.name} is {pod.state}" for pod in waiting[:5])
        ready, wanted = len(pods) - len(waiting), sum(expected.values())
        raise StatusError(
            f"{ready} of {wanted} pods are ready after {seconds:g} s; {states or 'no pods yet'}; "
            "`ironfree describe pod NAME` says why"
        )
    return sorted(pods.values(), key=lambda pod: (pod.namespace, pod.name))


def _complete(expected: dict[str, int], pods: dict[str, PodState]) -> bool:
    ready = dict.fromkeys(expected, 0)
    for pod in pods.values():
        ready[pod.owner] += pod.done
    return all(ready[owner] >= count for owner, count in expected.items())
