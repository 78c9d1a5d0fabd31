"""Pod specs that come again and again, byte for byte: defaulted, validated and interned once.

Ten thousand pods of one template differ in their metadata only; for each further one the spec costs
a dictionary look-up.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from ..objects.stored import Body

_ENTRIES = 8192
_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a spec became.

    Args:
        status: the status a new object starts with.
        warnings: sentences about fields without effect.
        annotations: that admission gives an object of such a spec.
    """

    body: Body
    status: bytes
    warnings: tuple[str, ...]
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


_Key = tuple[str, bytes, Hashable]


class RepeatedSpecs:
    """Bounded memory of prepared specs by their raw bytes; the least recently used goes first.

    A version names the state of the cluster that specs depend on (classes, the namespace's
    LimitRanges): what was prepared under another one is not found.
    """

    def __init__(self, entries: int = _ENTRIES, size: int = _BYTES) -> None:
        self._kept: OrderedDict[_Key, Prepared] = OrderedDict()
        self._entries = entries
        self._limit = size
        self._size = 0

    def find(self, resource: str, raw: bytes, version: Hashable) -> Prepared | None:
        """Return what the spec became, or None when it is new or was made under another state."""
        key = (resource, raw, version)
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, resource: str, raw: bytes, version: Hashable, prepared: Prepared) -> None:
        """Remember what a spec became."""
        key = (resource, raw, version)
        if key not in self._kept:
            self._size += len(raw)
        self._kept[key] = prepared
        while self._kept and (len(self._kept) > self._entries or self._size > self._limit):
            (_resource, dropped, _version), _prepared = self._kept.popitem(last=False)
            self._size -= len(dropped)
