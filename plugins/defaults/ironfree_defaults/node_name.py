"""NodeName: a pod that names its node runs there or nowhere."""

from dataclasses import dataclass

from scheduler.hookspecs import Change, PodClass, Snapshot, Verdict


@dataclass(frozen=True)
class NodeName:
    """Kubernetes NodeName: spec.nodeName, if set, must be the node's name."""

    name: str = "NodeName"
    wakes_on: Change = Change.NODE_ADDED

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Leave only the named node."""
        wanted = pod.spec.node_name
        if not wanted:
            return None
        room = snapshot.none()
        row = snapshot.row_of.get(wanted)
        if row is not None:
            room[row] = True
        return Verdict(room, "node(s) didn't match the requested node name", resolvable=False)
