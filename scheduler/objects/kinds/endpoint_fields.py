"""What the two kinds of endpoints have in common: addresses, ports, and how they print."""

import ipaddress
from collections.abc import Iterable, Sequence

from ...errors import Cause
from ..json import JsonObject
from .causes import invalid, one_of
from .fields import indexed, number, text
from .pod_validation import port_causes
from .printing import NONE

_MOST_SHOWN = 3


def address_causes(path: str, address: str) -> Iterable[Cause]:
    """Complain of what is no IP address, or one that every host has for itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        yield invalid(
            path, address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        )
        return
    if found.is_loopback or found.is_unspecified or found.is_link_local or found.is_multicast:
        yield invalid(path, address, "may not be unspecified, loopback, link-local or multicast")


def port_causes_of(obj: JsonObject, where: str) -> Iterable[Cause]:
    """Complain of bad ports."""
    for place, port in indexed(obj, "ports", where):
        if "port" in port:
            yield from port_causes(f"{place}.port", number(port, "port"))
        protocol = text(port, "protocol") or "TCP"
        yield from one_of(f"{place}.protocol", protocol, ("SCTP", "TCP", "UDP"))


def shown(found: Sequence[str]) -> str:
    """Return a list as kubectl's tables have it: three, and how many more."""
    if not found:
        return NONE
    more = f" + {len(found) - _MOST_SHOWN} more..." if len(found) > _MOST_SHOWN else ""
    return ",".join(found[:_MOST_SHOWN]) + more
