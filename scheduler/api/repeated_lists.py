"""Lists asked for again of which nothing has changed: their items are kept as they were written.

Dashboards and clients that poll ask for the same list every second or so. Kept is what was sent
last; whether it still holds the store says (kube-apiserver's watch cache answers lists, too).
"""

from collections import OrderedDict
from dataclasses import dataclass

_BYTES = 64 << 20
_LARGEST = 8 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """The items of a whole list.

    Args:
        items: as they stand between the brackets, in parts that are joined as they are.
        count: of items.
        revision: of the snapshot they are from.
    """

    items: tuple[bytes, ...]
    count: int
    revision: int

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.items))


class RepeatedLists:
    """Bounded memory of lists by what was asked for; the least recently used goes first.

    Args:
        size: bytes of all that is kept; largest: bytes of a list that is kept at all.
    """

    def __init__(self, size: int = _BYTES, largest: int = _LARGEST) -> None:
        self._kept: OrderedDict[str, Written] = OrderedDict()
        self._limit, self._largest = size, largest
        self._size = 0

    def takes(self, size: int) -> bool:
        """Tell whether a list of so many bytes is kept at all."""
        return size <= self._largest

    def find(self, scope: str) -> Written | None:
        """Return what was written last."""
        found = self._kept.get(scope)
        if found is not None:
            self._kept.move_to_end(scope)
        return found

    def keep(self, scope: str, written: Written) -> None:
        """Remember what was written, instead of what was before."""
        self.forget(scope)
        if not self.takes(written.size):
            return
        self._kept[scope] = written
        self._size += written.size + len(scope)
        while self._size > self._limit:
            self.forget(next(iter(self._kept)))

    def forget(self, scope: str) -> None:
        """Forget a list, if it is kept."""
        written = self._kept.pop(scope, None)
        if written is not None:
            self._size -= written.size + len(scope)
