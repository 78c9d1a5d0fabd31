"""How controllers pace themselves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Kubernetes' defaults, in seconds unless said.

    Args:
        node_grace: without a heartbeat until a node is Unknown.
        node_startup_grace: without a first heartbeat until a new node is Unknown.
        toleration_seconds: how long pods stay bound to lost nodes unless they say.
        orphan_quarantine: from a Node's disappearance until its pods are removed.
        terminated_pods: ended pods kept; the oldest beyond them are removed.
        burst: most pods of one owner that are created or deleted at a time.
        autoscaling_period: between two looks at a HorizontalPodAutoscaler.
        workers: keys that one controller looks at at a time.
    """

    node_grace: float = 40.0
    node_startup_grace: float = 60.0
    toleration_seconds: int = 300
    orphan_quarantine: float = 40.0
    terminated_pods: int = 12500
    burst: int = 5000
    autoscaling_period: float = 15.0
    workers: int = 8
