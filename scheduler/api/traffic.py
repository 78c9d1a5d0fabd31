"""What the API counts of its requests, as values, by kube-apiserver's labels."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter

from ..measures import Histograms, Labels
from .routes import Place

_BOUNDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30,
    45, 60,
)  # fmt: skip
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_READING = frozenset({"GET", "LIST", "WATCH", "HEAD"})
_NO_RESOURCE = ("", "", "", "", "")
_STREAMS = frozenset({"exec", "attach", "portforward"})
GONE = 499  # the client went away before it had an answer

Exposition = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Accept header → metrics as text, and its content type."""


class Traffic:
    """Totals since the process started.

    Labels are (verb, group, version, resource, subresource, scope), as kube-apiserver's; paths that
    are no resource's have but a verb.

    Args:
        requests: how many ended, by labels and code.
        seconds: how long those took that do not last by intention (watches, streams).
        lasting: how many of the latter are open, by labels.
        in_flight: how many of the former are, by "readOnly" or "mutating".
    """

    def __init__(self) -> None:
        self.requests: Counter[Labels] = Counter()
        self.seconds = Histograms(_BOUNDS)
        self.lasting: Counter[Labels] = Counter()
        self.in_flight: Counter[str] = Counter()


class Visit:
    """One request, from its arrival to its end."""

    __slots__ = ("_kind", "_labels", "_lasts", "_started", "_traffic")

    def __init__(self, traffic: Traffic, method: str) -> None:
        self._traffic = traffic
        self._started = perf_counter()
        self._labels: Labels = (method if method in _METHODS else "OTHER", *_NO_RESOURCE)
        self._lasts = False
        self._kind = "readOnly" if method in _READING else "mutating"
        traffic.in_flight[self._kind] += 1

    def goes_to(self, place: Place, *, watches: bool, follows: bool) -> None:
        """The request has turned out to be one for a resource."""
        verb = _verb(self._labels[0], place, watches)
        kind = place.kind
        scope = "resource" if place.name else "namespace" if place.namespace else "cluster"
        self._labels = (verb, kind.group, kind.version, kind.plural, place.subresource, scope)
        streams = place.subresource in _STREAMS or (place.subresource == "log" and follows)
        if verb == "WATCH" or streams:
            self._lasts = True
            self._traffic.in_flight[self._kind] -= 1
            self._traffic.lasting[self._labels] += 1

    def end(self, code: int) -> None:
        """The request has been answered with this code, or left by the client."""
        traffic, labels = self._traffic, self._labels
        if self._lasts:
            traffic.lasting[labels] -= 1
        else:
            traffic.in_flight[self._kind] -= 1
            traffic.seconds[labels].since(self._started)
        traffic.requests[(*labels, str(code))] += 1


@dataclass(frozen=True)
class Telemetry:
    """How the API tells of itself and of the rest.

    Args:
        exposition: what /metrics answers; None serves none.
    """

    traffic: Traffic = field(default_factory=Traffic)
    exposition: Exposition | None = None


def _verb(method: str, place: Place, watches: bool) -> str:
    if method in {"GET", "HEAD"} and not place.subresource:
        return "WATCH" if watches else "GET" if place.name else "LIST"
    if method == "HEAD":
        return "GET"
    return "DELETECOLLECTION" if method == "DELETE" and not place.name else method
