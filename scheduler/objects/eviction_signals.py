"""What a host may run short of, and below which amount it is short of it.

Source: kubelet's eviction signals and thresholds (KubeletConfiguration.evictionHard,
evictionMinimumReclaim).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import BadRequest
from .quantity import format_binary, value

MEMORY_AVAILABLE = "memory.available"
PID_AVAILABLE = "pid.available"
DISK_AVAILABLE = "nodefs.available"
INODES_FREE = "nodefs.inodesFree"
SIGNALS = (MEMORY_AVAILABLE, PID_AVAILABLE, DISK_AVAILABLE, INODES_FREE)
"""In the order in which they are seen to."""

HARD_DEFAULTS: Mapping[str, str] = MappingProxyType(
    {MEMORY_AVAILABLE: "100Mi", PID_AVAILABLE: "1%", DISK_AVAILABLE: "10%", INODES_FREE: "5%"}
)
"""kubelet's for memory, disk and inodes; for process ids kubelet has none."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Less than this available is pressure.

    Args:
        amount: bytes, processes or inodes; where `percent` is None.
        percent: of the capacity; 0 and 100 are never met (kubelet).
    """

    signal: str
    amount: int = 0
    percent: float | None = None

    def of(self, capacity: int) -> int:
        """Return the amount that is too little on a host with that capacity."""
        if self.percent is None:
            return self.amount
        return max(1, round(capacity * self.percent / 100)) if 0 < self.percent < 100 else 0

    def __str__(self) -> str:
        if self.percent is not None:
            return f"{self.percent:g}%"
        return format_binary(self.amount)


def threshold(signal: str, text: str) -> Threshold | None:
    """Return what a text says, "100Mi" or "5%"; None where it says no such thing."""
    try:
        if text.endswith("%"):
            percent = float(text[:-1])
            return Threshold(signal, percent=percent) if 0 <= percent <= 100 else None
        amount = value(text)
    except (ValueError, BadRequest):
        return None
    return Threshold(signal, amount) if amount > 0 else None


def thresholds(hard: Mapping[str, str]) -> tuple[Threshold, ...]:
    """Return the thresholds of a host; what it does not name has the default."""
    return _read({**HARD_DEFAULTS, **hard})


def minimum_reclaims(said: Mapping[str, str]) -> tuple[Threshold, ...]:
    """Return how much more than its thresholds a host is to have again once they were met."""
    return _read(said)


def _read(said: Mapping[str, str]) -> tuple[Threshold, ...]:
    found = (threshold(signal, said[signal]) for signal in SIGNALS if signal in said)
    return tuple(each for each in found if each is not None)
