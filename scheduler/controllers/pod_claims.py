"""Which pods are an owner's: adopted by its selector, released when they match no longer. Pure.

Kubernetes' PodControllerRefManager.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..objects.pod import Pod
from ..objects.pod_owner import PodOwner


@dataclass(frozen=True, slots=True)
class PodClaims:
    """The pods that are an owner's, ended ones included; to be taken over; to be let go."""

    owned: tuple[Pod, ...]
    adopt: tuple[Pod, ...]
    release: tuple[Pod, ...]


def pod_claims(
    owner: PodOwner, pods: Iterable[Pod], suits: Callable[[Pod], bool] = lambda _pod: True
) -> PodClaims:
    """Sort out the pods of an owner.

    Args:
        pods: at least those it owns and the orphans that its selector finds.
        suits: whether a pod can be its own, beside the selector.
    """
    owned: list[Pod] = []
    adopt: list[Pod] = []
    release: list[Pod] = []
    deleting = owner.meta.deletion_timestamp is not None
    for pod in pods:
        controller = pod.meta.controller_owner()
        matches = owner.selector.matches(pod.meta.labels) and suits(pod)
        if controller is None:
            if matches and not deleting and pod.active:
                adopt.append(pod)
        elif controller.uid == owner.meta.uid:
            if matches or deleting or not pod.active:
                owned.append(pod)
            else:
                release.append(pod)
    return PodClaims((*owned, *adopt), tuple(adopt), tuple(release))
