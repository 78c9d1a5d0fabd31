"""The Kubernetes filters and scorers of Ironfree, one rule a file.

Each has its kube-scheduler name, rejects the same nodes with the same words and gives the same
0-100 scores for the same inputs; weights are kube-scheduler's. The one difference is the default
strategy of NodeResourcesFit, which packs (MostAllocated).
"""

from collections.abc import Mapping, Sequence

from scheduler import hookimpl
from scheduler.hookspecs import Filter, Scorer

from .node_affinity import NodeAffinity
from .node_name import NodeName
from .node_ports import NodePorts
from .node_resources_fit import NodeResourcesFit
from .node_unschedulable import NodeUnschedulable
from .taint_toleration import TaintToleration


@hookimpl
def ironfree_filters() -> Sequence[Filter]:
    """Return the filters in kube-scheduler's order."""
    return (
        NodeUnschedulable(),
        NodeName(),
        TaintToleration(),
        NodeAffinity(),
        NodePorts(),
        NodeResourcesFit(),
    )


@hookimpl
def ironfree_scorers(options: Mapping[str, str]) -> Sequence[Scorer]:
    """Return the scorers; option NodeResourcesFit.strategy is MostAllocated or LeastAllocated."""
    strategy = options.get("NodeResourcesFit.strategy", "MostAllocated")
    return (TaintToleration(), NodeAffinity(), NodeResourcesFit(strategy))
