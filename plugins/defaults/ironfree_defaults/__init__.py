"""The Kubernetes filters and scorers of Ironfree, one rule a file.

Each has its kube-scheduler name, takes its arguments, rejects the same nodes with the same words
and gives the same 0-100 scores for the same inputs; weights are kube-scheduler's.
"""

from collections.abc import Sequence

from scheduler import hookimpl
from scheduler.hookspecs import Args, Filter, Scorer

from .balanced_allocation import NodeResourcesBalancedAllocation
from .image_architecture import ImageArchitecture
from .image_locality import ImageLocality
from .inter_pod_affinity import InterPodAffinity
from .node_affinity import NodeAffinity
from .node_name import NodeName
from .node_ports import NodePorts
from .node_resources_fit import NodeResourcesFit
from .node_unschedulable import NodeUnschedulable
from .pod_topology_spread import PodTopologySpread
from .taint_toleration import TaintToleration
from .volume_binding import VolumeBinding
from .volume_restrictions import VolumeRestrictions
from .volume_zone import VolumeZone


@hookimpl
def ironfree_filters(args: Args) -> Sequence[Filter]:
    """Return the filters in kube-scheduler's order."""
    return (
        NodeUnschedulable(),
        NodeName(),
        TaintToleration(),
        NodeAffinity.from_args(args.of("NodeAffinity")),
        ImageArchitecture(),
        NodePorts(),
        NodeResourcesFit.from_args(args.of("NodeResourcesFit")),
        VolumeRestrictions(),
        VolumeBinding(),
        VolumeZone(),
        PodTopologySpread.from_args(args.of("PodTopologySpread")),
        InterPodAffinity.from_args(args.of("InterPodAffinity")),
    )


@hookimpl
def ironfree_scorers(args: Args) -> Sequence[Scorer]:
    """Return the scorers with kube-scheduler's weights."""
    return (
        TaintToleration(),
        NodeAffinity.from_args(args.of("NodeAffinity")),
        PodTopologySpread.from_args(args.of("PodTopologySpread")),
        InterPodAffinity.from_args(args.of("InterPodAffinity")),
        NodeResourcesFit.from_args(args.of("NodeResourcesFit")),
        NodeResourcesBalancedAllocation.from_args(args.of("NodeResourcesBalancedAllocation")),
        ImageLocality.from_args(args.of("ImageLocality")),
    )
