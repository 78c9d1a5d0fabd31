"""What recurring windows of time may say."""

from collections.abc import Iterator

from ...errors import Cause
from ..json import JsonObject
from ..windows import SPELLING, window
from .causes import invalid
from .fields import texts

_MOST = 100


def window_causes(spec: JsonObject, path: str) -> Iterator[Cause]:
    """Yield a cause per window that says nothing."""
    found = texts(spec, "windows")
    if len(found) > _MOST:
        yield invalid(f"{path}.windows", len(found), f"must not be more than {_MOST}")
    for index, each in enumerate(found[:_MOST]):
        if window(each) is None:
            yield invalid(f"{path}.windows[{index}]", each, SPELLING)
