"""What may come in where no token is asked for: requests of programs on this machine alone.

A web page anywhere may have its reader's browser send requests to this machine. Those carry the
page's origin or, where the page had its own name lead here (DNS rebinding), that name as Host.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from aiohttp.hdrs import HOST, ORIGIN
from multidict import CIMultiDictProxy

from ..errors import Forbidden

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]]+))(?::\d*)?\Z")
_SHOWN = 100


def names_this_machine(host: str) -> bool:
    """Return whether a name or an address, without port or brackets, is of the loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_local(headers: CIMultiDictProxy[str]) -> None:
    """Let requests pass that this machine's programs send to it by a name of the loopback.

    Raises:
        Forbidden: a web page from elsewhere may have sent it.
    """
    for header, value in _foreign(headers):
        raise Forbidden(
            f"{header} {value[:_SHOWN]!r} is not of this machine's loopback, and this service has "
            "no token that would tell its clients from web pages: ask it as localhost or "
            "127.0.0.1, or set IRONFREE_TOKEN for the service and its clients"
        )


def _foreign(headers: CIMultiDictProxy[str]) -> Iterator[tuple[str, str]]:
    """Yield the headers that name other hosts; no Host names none."""
    for host in headers.getall(HOST, [""]):
        if not _is_loopback(host):
            yield "Host", host
    for origin in headers.getall(ORIGIN, ()):
        if not _is_loopback(origin.partition("://")[2]):
            yield "Origin", origin


def _is_loopback(authority: str) -> bool:
    found = _AUTHORITY.match(authority)
    return found is not None and names_this_machine(found[1] or found[2])
