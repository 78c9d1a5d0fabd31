"""Draws packed hosts as SVG: a column a host, a bar a resource, a stripe a pod."""

import hashlib
from collections.abc import Mapping, Sequence
from html import escape

from ..errors import BadRequest
from ..objects.json import Json, JsonObject
from ..objects.quantity import parse
from .connection import child, entries

_BAR, _GAP, _HEIGHT, _TOP, _LEFT = 9, 5, 120, 34, 46
_ACROSS = 60  # hosts a line
_MOST = 3000  # hosts that are drawn
_RESOURCES = ("cpu", "memory")
_GREY = "#e6e8ec"


def picture(
    assignments: Sequence[JsonObject],
    pods: Mapping[str, JsonObject],
    nodes: Sequence[JsonObject],
) -> str:
    """Return an SVG of the hosts that got pods, fullest first.

    Args:
        assignments: {"pod", "node"} each.
        pods: specs by the names that assignments have.
        nodes: Node objects.
    """
    offers = {str(child(n, "metadata").get("name")): _offer(n) for n in nodes}
    by_node: dict[str, list[tuple[str, dict[str, float]]]] = {}
    for each in assignments:
        pod, node = str(each.get("pod")), str(each.get("node"))
        by_node.setdefault(node, []).append((pod, _requests(pods.get(pod, {}))))
    resources = [*_RESOURCES, *_others(offers)][:4]
    shown = sorted(by_node, key=lambda n: (-_share(by_node[n], offers.get(n, {}), "cpu"), n))[
        :_MOST
    ]
    width = _LEFT + min(len(shown), _ACROSS) * (len(resources) * _BAR + _GAP)
    lines = -(-len(shown) // _ACROSS)
    parts = [_head(width, _TOP + lines * (_HEIGHT + 40), len(by_node), len(assignments), resources)]
    for number, node in enumerate(shown):
        x = _LEFT + number % _ACROSS * (len(resources) * _BAR + _GAP)
        y = _TOP + number // _ACROSS * (_HEIGHT + 40)
        for column, resource in enumerate(resources):
            parts += _stack(by_node[node], offers.get(node, {}), resource, x + column * _BAR, y)
        title = f"<title>{escape(node)}</title>"
        size = len(resources) * _BAR
        parts.append(
            f'<rect x="{x}" y="{y}" width="{size}" height="{_HEIGHT}" fill="none" '
            f'stroke="#9aa3af">{title}</rect>'
        )
    return "\n".join([*parts, "</svg>\n"])


def _head(width: int, height: int, hosts: int, pods: int, resources: Sequence[str]) -> str:
    words = f"{pods} pods on {hosts} hosts; bars: {', '.join(resources)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(width, 420)}" height="{height}" '
        'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_LEFT}" y="20">{escape(words)}</text>'
    )


def _stack(
    pods: Sequence[tuple[str, dict[str, float]]],
    offer: Mapping[str, float],
    resource: str,
    x: int,
    y: int,
) -> list[str]:
    whole = offer.get(resource, 0.0)
    parts = [f'<rect x="{x}" y="{y}" width="{_BAR - 1}" height="{_HEIGHT}" fill="{_GREY}"/>']
    level = float(y + _HEIGHT)
    for name, requests in sorted(pods, key=lambda pod: _family(pod[0])):
        tall = _HEIGHT * requests.get(resource, 0.0) / whole if whole else 0.0
        level -= tall
        if tall > 0:
            parts.append(
                f'<rect x="{x}" y="{level:.1f}" width="{_BAR - 1}" height="{max(tall, 0.4):.1f}" '
                f'fill="{_colour(name)}"><title>{escape(name)}</title></rect>'
            )
    return parts


def _family(pod: str) -> str:
    return pod.rpartition("-")[0] or pod


def _colour(pod: str) -> str:
    hue = int.from_bytes(hashlib.blake2b(_family(pod).encode(), digest_size=2).digest()) % 360
    return f"hsl({hue},62%,{48 + hue % 3 * 7}%)"


def _share(
    pods: Sequence[tuple[str, dict[str, float]]], offer: Mapping[str, float], resource: str
) -> float:
    whole = offer.get(resource, 0.0)
    return sum(requests.get(resource, 0.0) for _, requests in pods) / whole if whole else 0.0


def _others(offers: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = {name for offer in offers.values() for name, amount in offer.items() if amount}
    return sorted(names - {*_RESOURCES, "pods", "ephemeral-storage"})


def _offer(node: JsonObject) -> dict[str, float]:
    status = child(node, "status")
    return _read(child(status, "allocatable") or child(status, "capacity"))


def _requests(spec: JsonObject) -> dict[str, float]:
    total: dict[str, float] = {}
    for container in entries(spec.get("containers")):
        resources = child(container, "resources")
        asked = {**child(resources, "limits"), **child(resources, "requests")}
        for name, amount in _read(asked).items():
            total[name] = total.get(name, 0.0) + amount
    return total


def _read(amounts: Mapping[str, Json]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, amount in amounts.items():
        try:
            found[name] = float(parse(str(amount)))
        except BadRequest:
            continue  # the server said what is wrong with it
    return found
