"""The records of what Services hold: each named after a thing that is one Service's at most."""

from collections.abc import Iterable, Iterator

import msgspec

from .pod_class import SERVICES
from .service import HEADLESS, ServiceSpec
from .stored import Body, ObjectKey, StoredObject

ADDRESSES = "ipaddresses.networking.k8s.io"
NODE_PORTS = "nodeports.ironfree.dev"


class Holder(msgspec.Struct, frozen=True):
    """The Service that a record is for."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> ObjectKey:
        """The Service's."""
        return ObjectKey(SERVICES, self.namespace, self.name)

    def body(self) -> Body:
        """Return the body of its records."""
        return Body(msgspec.json.encode(self))


_holder = msgspec.json.Decoder(Holder)


def holder_of(record: StoredObject) -> Holder:
    """Return whose a record is."""
    return _holder.decode(record.body.json)


def records_of(spec: ServiceSpec) -> Iterator[ObjectKey]:
    """Yield the keys of a Service's records."""
    return record_keys(spec.cluster_ip, (port.node_port for port in spec.ports))


def record_keys(address: str, ports: Iterable[int]) -> Iterator[ObjectKey]:
    """Yield the keys of the records of a Service.

    Args:
        address: its clusterIP.
        ports: its ports of nodes.
    """
    if address not in {"", HEADLESS}:
        yield ObjectKey(ADDRESSES, "", address)
    for port in ports:
        if port:
            yield ObjectKey(NODE_PORTS, "", str(port))
