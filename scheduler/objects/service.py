"""Typed view of Services."""

from functools import cached_property

import msgspec

from .meta import ObjectMeta
from .pod import View
from .pod_class import SERVICES
from .selectors import NOTHING, Selector, from_map
from .stored import ObjectKey, StoredObject

HEADLESS = "None"
EXTERNAL_NAME = "ExternalName"


class ServicePort(View, frozen=True):
    """core/v1 ServicePort; a target of 0 is the port itself."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str = 0
    node_port: int = 0
    app_protocol: str | None = None


class ServiceSpec(View, frozen=True):
    """core/v1 ServiceSpec, the fields Ironfree acts on."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    publish_not_ready_addresses: bool = False
    external_name: str = ""
    session_affinity: str = "None"


class Service(msgspec.Struct, frozen=True, dict=True):
    """A Service as those see it that look for the pods behind it."""

    meta: ObjectMeta
    spec: ServiceSpec

    @property
    def key(self) -> ObjectKey:
        """Its key."""
        return ObjectKey(SERVICES, self.meta.namespace, self.meta.name)

    @cached_property
    def selector(self) -> Selector:
        """Which pods are behind it; nobody where others say who is."""
        if not self.spec.selector or self.spec.type == EXTERNAL_NAME:
            return NOTHING
        return from_map(self.spec.selector)


class _Body(msgspec.Struct):
    spec: ServiceSpec = ServiceSpec()


_body = msgspec.json.Decoder(_Body)


def service_view(stored: StoredObject) -> Service:
    """Return the typed view of a stored Service."""
    return Service(stored.meta, _body.decode(stored.body.json).spec)
