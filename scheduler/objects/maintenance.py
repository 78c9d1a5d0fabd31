"""Maintenance windows of DockerHosts: the typed view, and the marks by which they are known."""

from datetime import datetime

import msgspec

from .meta import ObjectMeta
from .pod import Condition, View
from .stored import StoredObject

DOCKER_HOSTS = "dockerhosts.ironfree.dev"
MAINTENANCE = "ironfree.dev/maintenance"
"""Annotation of a Node that was cordoned for maintenance: until when.
Of a pod that is to be replaced first for it: which node it is to leave."""
CONDITION = "Maintenance"
"""Condition of a DockerHost: "True" while its node is kept free of pods."""


class HostMaintenance(View, frozen=True):
    """ironfree.v1.HostMaintenance.

    Args:
        windows: when somebody may work on the host (objects.windows).
        lead_seconds: how long before that it is drained.
    """

    windows: tuple[str, ...] = ()
    lead_seconds: int = 1800


class MaintainedHost(msgspec.Struct, frozen=True):
    """A DockerHost as regards its maintenance.

    Args:
        time: when a window opens next, or has opened, as its status says.
    """

    meta: ObjectMeta
    maintenance: HostMaintenance
    conditions: tuple[Condition, ...]
    time: datetime | None
    stored: StoredObject

    @property
    def condition(self) -> Condition | None:
        """What its status says of maintenance."""
        return next((c for c in self.conditions if c.type == CONDITION), None)


class _Spec(msgspec.Struct):
    maintenance: HostMaintenance = HostMaintenance()


class _Body(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


class _Status(View, frozen=True):
    conditions: tuple[Condition, ...] = ()
    maintenance_time: datetime | None = None


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(_Status)


def maintained_host(stored: StoredObject) -> MaintainedHost:
    """Return the typed view of a stored DockerHost."""
    status = _status.decode(stored.status or b"{}")
    return MaintainedHost(
        meta=stored.meta,
        maintenance=_body.decode(stored.body.json).spec.maintenance,
        conditions=status.conditions,
        time=status.maintenance_time,
        stored=stored,
    )
