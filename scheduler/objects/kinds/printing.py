"""Cells that several kinds print the same way (kubectl's Table conventions)."""

from datetime import UTC, datetime

from ..json import Json, JsonObject
from ..kind import Column
from .fields import child, children, text, text_map

NAME = Column("Name", format="name", description="Name of the object, unique in its scope.")
AGE = Column("Age", description="Time since the object was created.")
NONE = "<none>"
UNKNOWN = "<unknown>"


def name(obj: JsonObject) -> str:
    """Return metadata.name."""
    return text(child(obj, "metadata"), "name")


def parse_time(value: Json) -> datetime | None:
    """Return an RFC 3339 time, or None where there is none."""
    if not isinstance(value, str) or not value:
        return None
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except ValueError:
        return None


def since(value: Json, now: datetime) -> str:
    """Return how long ago a time was, in kubectl's words ("<unknown>" when absent)."""
    moment = parse_time(value)
    return UNKNOWN if moment is None else duration((now - moment).total_seconds())


def age(obj: JsonObject, now: datetime) -> str:
    """Return the object's age in kubectl's words."""
    return since(child(obj, "metadata").get("creationTimestamp"), now)


def duration(seconds: float) -> str:
    """Return seconds as kubectl prints them: 95s, 3m10s, 12m, 5h, 5h3m, 2d, 2y (HumanDuration)."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 120:
        return f"{max(total, 0)}s"
    minutes = total // 60
    if minutes < 10:
        return _pair(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = total // 3600
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    years = days // 365
    return _pair(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def or_none(value: str) -> str:
    """Return the text, or <none> when it is empty."""
    return value or NONE


def selector(obj: JsonObject, key: str) -> str:
    """Return a label map as a=b,c=d, or <none>."""
    return or_none(",".join(f"{k}={v}" for k, v in sorted(text_map(obj, key).items())))


def container_names(pod_spec: JsonObject) -> str:
    """Return the names of the spec's containers, comma-separated."""
    return ",".join(text(each, "name") for each in children(pod_spec, "containers"))


def container_images(pod_spec: JsonObject) -> str:
    """Return the images of the spec's containers, comma-separated."""
    return ",".join(text(each, "image") for each in children(pod_spec, "containers"))
