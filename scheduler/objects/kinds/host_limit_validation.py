"""What a DockerHost may say of processes, swap, ulimits, devices and eviction thresholds."""

import re
from collections.abc import Iterator

from ...errors import Cause
from ..eviction_signals import SIGNALS, threshold
from ..json import JsonObject
from ..quantity import parse
from ..resources import is_extended
from .causes import duplicate, forbidden, invalid, one_of, required
from .fields import child, indexed, number, text, texts

SWAP_BEHAVIORS = ("", "NoSwap", "LimitedSwap")
_ULIMITS = (
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
)
_ULIMIT = re.compile(r"(-1|\d{1,18})(:(-1|\d{1,18}))?\Z")
MOST_DEVICES = 1024
_DAY = 24 * 3600


def host_limit_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per bad field of a DockerHost's spec that limits or equips containers."""
    if number(spec, "podPidsLimit") < 0:
        why = "must be greater than or equal to 0"
        yield invalid(f"{path}.podPidsLimit", spec.get("podPidsLimit"), why)
    yield from one_of(f"{path}.swapBehavior", text(spec, "swapBehavior"), SWAP_BEHAVIORS)
    if spec.get("swap") is not None and parse(str(spec["swap"])) < 0:
        yield invalid(f"{path}.swap", str(spec["swap"]), "must be greater than or equal to 0")
    for name, value in child(spec, "ulimits").items():
        yield from _ulimit(f"{path}.ulimits[{name}]", name, str(value))
    yield from _devices(spec, path)
    yield from _evictions(spec, path)


def _evictions(spec: JsonObject, path: str) -> Iterator[Cause]:
    for field in ("evictionHard", "evictionMinimumReclaim"):
        for signal, said in child(spec, field).items():
            where = f"{path}.{field}[{signal}]"
            yield from one_of(where, signal, SIGNALS)
            if signal in SIGNALS and threshold(signal, str(said)) is None:
                why = "must be an amount above 0 or a percentage, like 100Mi or 5%"
                yield invalid(where, str(said), why)
    seconds = number(spec, "evictionPressureTransitionSeconds")
    if not 0 <= seconds <= _DAY:
        why = f"must be between 0 and {_DAY}"
        yield invalid(f"{path}.evictionPressureTransitionSeconds", seconds, why)


def _ulimit(path: str, name: str, value: str) -> Iterator[Cause]:
    yield from one_of(path, name, _ULIMITS)
    match = _ULIMIT.match(value)
    if match is None:
        yield invalid(path, value, "must be a number, or SOFT:HARD; -1 is no limit")
        return
    soft, hard = int(match[1]), int(match[3] or match[1])
    if hard != -1 and (soft == -1 or soft > hard):
        yield invalid(path, value, "the soft limit must not exceed the hard one")


def _devices(spec: JsonObject, path: str) -> Iterator[Cause]:
    names: set[str] = set()
    for where, device in indexed(spec, "devices", path):
        name, ids = text(device, "name"), texts(device, "ids")
        if not is_extended(name):
            why = "must be an extended resource, like vendor.com/gpu"
            yield invalid(f"{where}.name", name, why)
        if name in names:
            yield duplicate(f"{where}.name", name)
        if name in child(spec, "capacity"):
            yield forbidden(f"{path}.capacity[{name}]", "is the number of ids in spec.devices")
        names.add(name)
        if not ids:
            yield required(f"{where}.ids")
        elif len(ids) > MOST_DEVICES:
            yield invalid(f"{where}.ids", len(ids), f"must have at most {MOST_DEVICES} items")
        for index, each in enumerate(ids):
            if not each or len(each) > 256 or any(c.isspace() for c in each):
                yield invalid(
                    f"{where}.ids[{index}]", each, "must be a word of 1 to 256 characters"
                )
            elif each in ids[:index]:
                yield duplicate(f"{where}.ids[{index}]", each)
