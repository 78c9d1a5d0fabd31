"""What a simulated host is like, read from its address and options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from scheduler.errors import BadRequest, EngineRejected
from scheduler.objects import quantity

_GPU = "nvidia.com/gpu"
_LONGEST_DELAY = 3600.0


@dataclass(frozen=True, slots=True)
class Shape:
    """A host's size and pace.

    Args:
        memory, disk: bytes.
        resources: extended resources by name.
        latency: seconds every call takes.
        pull, start: further seconds an image pull and a container start take.
    """

    cpu: int = 8
    memory: int = 32 << 30
    disk: int = 0
    arch: str = "amd64"
    resources: Mapping[str, int] = field(default_factory=dict[str, int])
    latency: float = 0.0
    pull: float = 0.0
    start: float = 0.0


def read_shape(url: str, options: Mapping[str, str]) -> tuple[str, Shape]:
    """Return the machine's name and shape.

    Args:
        url: simulated://name?cpu=8&memory=32Gi&disk=100Gi&arch=arm64&gpu=4&latency=0.01&start=0.5;
            a key with a slash is an extended resource, gpu is short for nvidia.com/gpu.
        options: the same keys; they win over the address.

    Raises:
        EngineRejected: an unknown key or a value that cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme != "simulated" or not parts.netloc:
        raise EngineRejected(f"address {url!r} is not of the form simulated://name?cpu=8")
    settings = dict(parse_qsl(parts.query, keep_blank_values=True)) | dict(options)
    try:
        return parts.netloc, _shape(settings)
    except (ValueError, BadRequest) as error:
        raise EngineRejected(f"simulated host {parts.netloc}: {error}") from error


def _shape(settings: Mapping[str, str]) -> Shape:
    resources: dict[str, int] = {}
    given: dict[str, str] = {}
    for key, text in settings.items():
        if key == "gpu" or "/" in key:
            resources[_GPU if key == "gpu" else key] = _whole(key, text)
        elif key in {"cpu", "memory", "disk", "arch", "latency", "pull", "start"}:
            given[key] = text
        else:
            raise ValueError(
                f"unknown option {key!r}; known are cpu, memory, disk, arch, gpu, latency, pull, "
                "start and names of extended resources such as example.com/device"
            )
    default = Shape()
    return Shape(
        cpu=_whole("cpu", given.get("cpu", str(default.cpu))),
        memory=_whole("memory", given.get("memory", str(default.memory))),
        disk=_whole("disk", given.get("disk", "0")),
        arch=given.get("arch", default.arch),
        resources=resources,
        latency=_seconds("latency", given),
        pull=_seconds("pull", given),
        start=_seconds("start", given),
    )


def _whole(key: str, text: str) -> int:
    amount = quantity.value(text)
    if amount < 0:
        raise ValueError(f"{key}={text} is negative")
    return amount


def _seconds(key: str, given: Mapping[str, str]) -> float:
    delay = float(given.get(key, "0"))
    if not 0 <= delay <= _LONGEST_DELAY:
        raise ValueError(f"{key}={given[key]} is not between 0 and {_LONGEST_DELAY:.0f} seconds")
    return delay
