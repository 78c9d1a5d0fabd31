"""Host ports that containers outside Ironfree have taken on a Node, as an annotation says them.

A word a port or range of ports: "TCP/80", "UDP/10000-10100", "TCP/5432@127.0.0.1".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from .pod_class import ANY_ADDRESS, HostPort

FOREIGN_PORTS = "ironfree.dev/foreign-ports"
_MOST_WORDS = 1024
_WORD = re.compile(r"(TCP|UDP|SCTP)/([0-9]{1,5})(?:-([0-9]{1,5}))?(?:@([0-9a-fA-F.:]{2,45}))?\Z")
_LAST = 65535


def written(ports: Iterable[HostPort]) -> str:
    """Return the annotation's value, "" for no ports; what exceeds 1024 words is left out."""
    runs: list[list[HostPort]] = []
    for port in sorted(set(ports), key=lambda p: (p.protocol, p.host_ip, p.port)):
        last = runs[-1][-1] if runs else None
        if last is not None and port == HostPort(last.protocol, last.port + 1, last.host_ip):
            runs[-1].append(port)
        else:
            runs.append([port])
    return " ".join(_word(run) for run in runs[:_MOST_WORDS])


def _word(run: list[HostPort]) -> str:
    first, last = run[0], run[-1]
    numbers = str(first.port) if first == last else f"{first.port}-{last.port}"
    where = "" if first.host_ip == ANY_ADDRESS else f"@{first.host_ip}"
    return f"{first.protocol}/{numbers}{where}"


def foreign_ports(annotations: Mapping[str, str]) -> frozenset[HostPort]:
    """Return the ports that a Node's annotation names; what is none is passed over."""
    text = annotations.get(FOREIGN_PORTS, "")
    return _read(text) if text else frozenset()


@lru_cache(maxsize=1024)
def _read(text: str) -> frozenset[HostPort]:
    return frozenset(port for word in text.split()[:_MOST_WORDS] for port in _ports(word))


def _ports(word: str) -> Iterator[HostPort]:
    match = _WORD.match(word)
    if match is None:
        return
    first, last = int(match[2]), int(match[3] or match[2])
    for number in range(first, min(last, _LAST) + 1):
        yield HostPort(match[1], number, match[4] or ANY_ADDRESS)
