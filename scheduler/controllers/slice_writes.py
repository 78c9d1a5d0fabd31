"""EndpointSlices as those who keep them write them. Pure."""

from datetime import datetime

from msgspec.structs import replace

from ..objects import names
from ..objects.endpoints import SLICES, Endpoint, EndpointPort, slice_body
from ..objects.meta import ObjectMeta, OwnerReference, new_uid
from ..objects.stored import Body
from ..store.operations import Create, Remove, Replace

Ports = tuple[EndpointPort, ...]
SliceWrite = Create | Replace | Remove


def new_slice(
    like: ObjectMeta, ports: Ports, endpoints: tuple[Endpoint, ...], now: datetime
) -> Create:
    """Return the write of a new slice, named after its owner.

    Args:
        like: what it has besides a name, a uid and an age.
    """
    prefix = f"{like.owner_references[0].name}-"
    meta = replace(
        like,
        name=names.generate(prefix),
        generate_name=prefix,
        uid=new_uid(),
        creation_timestamp=now,
    )
    return Create(SLICES, meta, Body(slice_body(endpoints, ports)), b"")


def owned(kind: str, owner: ObjectMeta) -> tuple[OwnerReference]:
    """Return what says that a slice is a Service's, or an Endpoints object's."""
    reference = OwnerReference(
        "v1", kind, owner.name, owner.uid, controller=True, block_owner_deletion=True
    )
    return (reference,)
