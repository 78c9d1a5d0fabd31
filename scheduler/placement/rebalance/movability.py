"""Which running pods may be moved, and why the others may not. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...objects.pod import Pod
from ...objects.pod_owner import REPLACING
from ...objects.rebalance_job import MOVABLE
from ...objects.replication import REPLACE_FIRST, REPLACES
from ...objects.selectors import EVERYTHING, Selector
from ..scenario import ScenarioPod
from ..tenancy import Budget, RunningPod

DAEMON = "DaemonSet"  # its pods go with their host, and come back with it
_SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a Rebalance is about.

    Args:
        hosts, pods: by their labels.
        namespaces: of the pods that may move; none are all.
        rested: a replacement that was made later than this has just been moved.
        profile: whose rules the plan is made by; pods of others stay.
    """

    hosts: Selector = EVERYTHING
    pods: Selector = EVERYTHING
    namespaces: frozenset[str] = frozenset()
    rested: datetime | None = None
    profile: str = "default-scheduler"


def is_daemon(pod: Pod) -> bool:
    """Tell whether a pod belongs to its host, so that a host with no others is empty."""
    owner = pod.meta.controller_owner()
    return owner is not None and owner.kind == DAEMON


def why_fixed(pod: ScenarioPod, scope: Scope, budgets: Sequence[Budget]) -> str:
    """Return why a running pod may not be moved, "" if it may.

    Budgets that allow no disruption now keep their pods, although a pod that is replaced first
    would leave as many as there were.
    """
    reason = _declared(pod, scope) or _present(pod.pod, scope)
    if reason:
        return reason
    resident = RunningPod.of(pod.pod, pod.wanted)
    if any(budget.allowed <= 0 and budget.covers(resident) for budget in budgets):
        return "its PodDisruptionBudget allows no disruption now"
    return ""


def _declared(each: ScenarioPod, scope: Scope) -> str:
    """Return what of a pod's own words keeps it."""
    pod, said = each.pod, each.pod.meta.annotations
    owner = pod.meta.controller_owner()
    if owner is None or owner.kind not in REPLACING:
        return "no ReplicationController or ReplicaSet replaces it"
    if scope.namespaces and pod.meta.namespace not in scope.namespaces:
        return "its namespace is not chosen"
    if not scope.pods.matches(pod.meta.labels):
        return "it is not chosen"
    if pod.spec.scheduler_name != scope.profile:
        return f"it is placed by {pod.spec.scheduler_name}"
    if "false" in (said.get(MOVABLE), said.get(_SAFE)):
        return "it is annotated as not to be moved"
    if pod.at_most_once:
        return "it may run once at most, so it cannot be replaced first"
    if said.get(REPLACE_FIRST) == "false":
        return "it is annotated as not to be replaced first"
    if each.wanted.group:
        return f"it is a member of PodGroup {each.wanted.group}"
    local = any(v.empty_dir is not None or v.host_path is not None for v in pod.spec.volumes)
    if local and "true" not in (said.get(MOVABLE), said.get(_SAFE)):
        return "it has local data"
    return ""


def _present(pod: Pod, scope: Scope) -> str:
    """Return what of a pod's present state keeps it."""
    said = pod.meta.annotations
    if pod.meta.deletion_timestamp is not None or said.get(REPLACE_FIRST) == "true":
        return "it is leaving"
    ready = pod.status.condition("Ready")
    if ready is None or ready.status != "True":
        return "it is not ready"
    made = pod.meta.creation_timestamp
    if REPLACES in said and scope.rested is not None and (made is None or made > scope.rested):
        return "it has just been moved"
    return ""


def resting_since(now: datetime, seconds: int) -> datetime:
    """Return when a replacement must have been made to be movable again."""
    return now - timedelta(seconds=seconds)
