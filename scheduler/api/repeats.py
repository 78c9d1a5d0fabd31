"""Pod specs that come again and again, byte for byte: defaulted, validated and interned once.

Ten thousand pods of one template differ in their metadata only; for each further one the spec costs
a dictionary look-up.
"""

from collections import OrderedDict
from dataclasses import dataclass

from ..objects.stored import Body

_ENTRIES = 8192
_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a spec became.

    Args:
        status: the status a new object starts with.
        warnings: sentences about fields without effect.
        version: of the cluster state (priority classes) it was made under.
    """

    body: Body
    status: bytes
    warnings: tuple[str, ...]
    version: int


class RepeatedSpecs:
    """Bounded memory of prepared specs by their raw bytes; the least recently used goes first."""

    def __init__(self, entries: int = _ENTRIES, size: int = _BYTES) -> None:
        self._kept: OrderedDict[tuple[str, bytes], Prepared] = OrderedDict()
        self._entries = entries
        self._limit = size
        self._size = 0

    def find(self, resource: str, raw: bytes, version: int) -> Prepared | None:
        """Return what the spec became, or None when it is new or was made under another state."""
        key = (resource, raw)
        found = self._kept.get(key)
        if found is None or found.version != version:
            return None
        self._kept.move_to_end(key)
        return found

    def keep(self, resource: str, raw: bytes, prepared: Prepared) -> None:
        """Remember what a spec became."""
        key = (resource, raw)
        if key not in self._kept:
            self._size += len(raw)
        self._kept[key] = prepared
        while self._kept and (len(self._kept) > self._entries or self._size > self._limit):
            (_resource, dropped), _prepared = self._kept.popitem(last=False)
            self._size -= len(dropped)
