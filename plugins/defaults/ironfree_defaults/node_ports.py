"""NodePorts: two pods cannot have the same host port of one node."""

from dataclasses import dataclass

import numpy as np

from scheduler.hookspecs import Change, PodClass, Snapshot, Verdict


@dataclass(frozen=True)
class NodePorts:
    """Kubernetes NodePorts: protocol, port and host address; 0.0.0.0 overlaps every address."""

    name: str = "NodePorts"
    wakes_on: Change = Change.NODE_ADDED | Change.POD_REMOVED

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Reject nodes where a wanted port is taken; elsewhere one copy fits."""
        if not pod.host_ports:
            return None
        free = ~snapshot.port_conflicts(pod.host_ports)
        reason = "node(s) didn't have free ports for the requested pod ports"
        return Verdict(free.astype(np.int64), reason)
