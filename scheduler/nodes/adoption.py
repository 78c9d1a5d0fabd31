"""Pods made of containers that ran already: which container a pod is, and whether it may be. Pure.

The engine cannot mark a container that runs, so the pod says which it is, by an annotation. Its
schedulerName keeps placement away: where it runs is a fact, and it is bound there by whoever has
looked that the fact holds (see adopter).
"""

import re
from collections.abc import Iterator

from ..drivers import PodIdentity
from ..foreign import Adopted, ForeignDescription
from ..objects.adoption import CONTAINER, SCHEDULER
from ..objects.pod import Pod
from .pod_case import spec_hash
from .security import effective, root_problem, runs_as_non_root

_ID = re.compile(r"[0-9a-f]{64}\Z")


def adopts(pod: Pod) -> str:
    """Return the id of the container that a pod is to be, "" for an ordinary pod."""
    if pod.spec.scheduler_name != SCHEDULER:
        return ""
    wanted = pod.meta.annotations.get(CONTAINER, "")
    plain = len(pod.spec.containers) == 1 and not pod.spec.init_containers
    return wanted if plain and _ID.match(wanted) else ""


def adopted(pod: Pod, epoch: int) -> Adopted:
    """Return what the driver is told of a pod that is adopted."""
    meta, container = pod.meta, pod.spec.containers[0]
    identity = PodIdentity(meta.uid, meta.namespace, meta.name, epoch)
    return Adopted(identity, container.name, spec_hash(container, 0))


def why_not(found: ForeignDescription | None) -> str:
    """Return why a container cannot be adopted, "" if it can."""
    if found is None:
        return "the host has no such container"
    if found.manager:
        return f"{found.manager} manages it"
    return "" if found.running else "it does not run"


def refusal(pod: Pod, found: ForeignDescription | None) -> str:
    """Return why a container cannot become this pod, "" if it can."""
    why = why_not(found)
    if why or found is None:
        return why
    image = pod.spec.containers[0].image
    if found.holds.image != image:
        return f"it was made of image {found.holds.image[:256]}, and the pod names {image[:256]}"
    unsaid = ", ".join(_unsaid(pod, found))
    return f"its namespace was asked about less than it has: {unsaid}" if unsaid else ""


def _unsaid(pod: Pod, found: ForeignDescription) -> Iterator[str]:
    """Yield what a container has that its namespace's Pod Security level has not been asked for."""
    spec, container = pod.spec, pod.spec.containers[0]
    own = effective(spec, container)
    if found.privileged and not own.privileged:
        yield "securityContext.privileged"
    for field, has, says in (
        ("hostNetwork", found.host_network, spec.host_network),
        ("hostPID", found.host_pid, spec.host_pid),
        ("hostIPC", found.host_ipc, spec.host_ipc),
    ):
        if has and not says:
            yield field
    more = set(found.capabilities_added) - set(own.capabilities.add)
    if more and "ALL" not in own.capabilities.add:
        yield f"capabilities {', '.join(sorted(more))}"
    paths = {v.host_path.path for v in spec.volumes if v.host_path}
    for path in sorted({m.source for m in found.mounts if m.kind == "bind"} - paths):
        yield f"hostPath {path[:256]}"
    if runs_as_non_root(spec, container) and root_problem(found.user):
        yield "a user that may be root"
