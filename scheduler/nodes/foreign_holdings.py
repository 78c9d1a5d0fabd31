"""What containers that Ironfree does not manage take from a Node, and what the Node says. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from ..foreign import ForeignContainer
from ..objects import quantity
from ..objects.resources import CPU, MEMORY

_LEAST_STEP = 1 << 20
_MOST_NAMED = 16
_LONGEST_NAME = 64


def steadied(
    fresh: Sequence[ForeignContainer], before: Sequence[ForeignContainer]
) -> tuple[ForeignContainer, ...]:
    """Return containers with measured memory in steps, so that a Node is not written all the time.

    It is rounded up, to a step between an eighth and a quarter of it and of at least 1 MiB, and
    falls only when it has fallen by more than a step.
    """
    known = {each.id: each.memory for each in before if each.measured}
    return tuple(
        replace(each, memory=_steadied(each.memory, known.get(each.id, 0)))
        if each.measured
        else each
        for each in fresh
    )


def _steadied(measured: int, before: int) -> int:
    fresh = rounded(measured)
    return before if fresh <= before <= fresh + _step(measured) else fresh


def _step(measured: int) -> int:
    return max(_LEAST_STEP, 1 << max(0, measured.bit_length() - 3))


def rounded(measured: int) -> int:
    """Return measured memory rounded up by its step, in bytes."""
    step = _step(measured)
    return -(-measured // step) * step


def held(containers: Sequence[ForeignContainer]) -> dict[str, int]:
    """Return the amounts that they hold: cpu in thousandths, bytes, and pieces."""
    found = Counter(resource for resource, _ in _devices(containers))
    cpu, memory = (sum(c.cpu for c in containers), sum(c.memory for c in containers))
    amounts = {CPU: cpu, MEMORY: memory, **found}
    return {name: amount for name, amount in amounts.items() if amount}


def less_foreign(amount: int, engine: int, foreign: int) -> int:
    """Return what is left of a Node's capacity.

    A capacity that a DockerHost sets below what its engine has leaves the rest to others, so they
    take from pods only what exceeds that rest.

    Args:
        engine: what the engine says of the host.
    """
    return max(0, amount - max(0, foreign - max(0, engine - amount)))


def words(containers: Sequence[ForeignContainer]) -> tuple[str, str, str, str]:
    """Return type, status, reason and message of the Node's condition."""
    kind = "ForeignContainers"
    if not containers:
        return kind, "False", "NoForeignContainers", "Ironfree manages every container that runs"
    amounts = ", ".join(_amounts(held(containers))) or "nothing that is counted"
    named = ", ".join(_name(each) for each in containers[:_MOST_NAMED])
    more = len(containers) - _MOST_NAMED
    named += f" and {more} more" if more > 0 else ""
    text = f"{len(containers)} running containers that Ironfree does not manage hold {amounts}"
    return kind, "True", "NotManaged", f"{text}: {named}"


def _amounts(amounts: Mapping[str, int]) -> list[str]:
    shown = {CPU: quantity.format_cpu, MEMORY: quantity.format_binary}
    return [f"{name} {shown.get(name, str)(amount)}" for name, amount in amounts.items()]


def _name(container: ForeignContainer) -> str:
    memory = quantity.format_binary(container.memory) + (" measured" if container.measured else "")
    name, image = container.name[:_LONGEST_NAME], container.image[:_LONGEST_NAME]
    return f"{name} ({image}, cpu {quantity.format_cpu(container.cpu)}, memory {memory})"


def _devices(containers: Sequence[ForeignContainer]) -> set[tuple[str, str]]:
    return {pair for each in containers for pair in each.devices}
