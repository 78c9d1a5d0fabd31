"""How far a pull is, from the lines that the engine writes about it."""

from scheduler.images import PullProgress

from . import wire

_KNOWN = frozenset({"Pulling fs layer", "Waiting", "Verifying Checksum", "Retrying"})
_FETCHED = frozenset({"Download complete", "Extracting", "Pull complete"})
_DONE = frozenset({"Pull complete", "Already exists"})
_MOST = 1024  # layers; an image has at most 127


class Layers:
    """The layers of one pull."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}  # bytes there and in all
        self._done: set[str] = set()

    def take(self, line: wire.Progress) -> PullProgress | None:
        """Take in a line; returns how far the pull is if that line has moved it."""
        layer, status = line.id, line.status
        there, size = self._sizes.get(layer, (0, 0))
        if status == "Downloading" and line.progress_detail is not None:
            there = line.progress_detail.current or there
            size = max(size, line.progress_detail.total or 0)
        elif status in _FETCHED:
            there = size
        elif status not in _KNOWN | _DONE:
            return None
        if layer not in self._sizes and len(self._sizes) >= _MOST:
            return None
        before = self._sizes.get(layer)
        self._sizes[layer] = (there, size)
        if status in _DONE and layer not in self._done:
            self._done.add(layer)
        elif before == (there, size):
            return None
        return self._progress()

    def _progress(self) -> PullProgress:
        return PullProgress(
            layers=len(self._sizes),
            layers_done=len(self._done),
            bytes=sum(size for _, size in self._sizes.values()),
            bytes_done=sum(there for there, _ in self._sizes.values()),
        )
