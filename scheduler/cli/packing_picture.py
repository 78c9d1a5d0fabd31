"""Draws packed hosts, as SVG or PNG: a column a host, a bar a resource, a stripe a pod."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path

from ..errors import BadRequest
from ..objects.json import Json, JsonObject
from ..objects.quantity import parse
from .connection import child, entries

_BAR, _GAP, _HEIGHT, _TOP, _LEFT = 9, 5, 120, 34, 46
_ACROSS = 60  # hosts a line
_MOST = 3000  # hosts that are drawn
_RESOURCES = ("cpu", "memory")
_GREY, _OUTLINE = "#e6e8ec", "#9aa3af"
_SCALE = 2  # pixels of a PNG a unit


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels.

    Args:
        title: what it stands for.
        fill: a CSS colour, "" for an outline only.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn, later boxes over earlier ones."""

    width: int
    height: int
    words: str
    boxes: tuple[Box, ...]


def draw(
    assignments: Sequence[JsonObject],
    pods: Mapping[str, JsonObject],
    nodes: Sequence[JsonObject],
) -> Drawing:
    """Return the hosts that got pods, fullest first.

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
    boxes: list[Box] = []
    for number, node in enumerate(shown):
        x = _LEFT + number % _ACROSS * (len(resources) * _BAR + _GAP)
        y = _TOP + number // _ACROSS * (_HEIGHT + 40)
        for column, resource in enumerate(resources):
            boxes += _stack(by_node[node], offers.get(node, {}), resource, x + column * _BAR, y)
        boxes.append(Box(x, y, len(resources) * _BAR, _HEIGHT, title=node))
    words = f"{len(assignments)} pods on {len(by_node)} hosts; bars: {', '.join(resources)}"
    return Drawing(max(width, 420), _TOP + lines * (_HEIGHT + 40), words, tuple(boxes))


def can_write(path: Path) -> None:
    """Raise BadRequest if the file asks for what is not installed; says what to do."""
    if path.suffix.lower() == ".png" and find_spec("PIL") is None:
        raise BadRequest(
            "--picture: PNG needs Pillow: pip install 'ironfree[png]', or name the file .svg"
        )


def write_picture(drawing: Drawing, path: Path) -> None:
    """Write a drawing as PNG where the file's name ends so, else as SVG.

    Raises:
        BadRequest: PNG needs Pillow, which is not installed; or the file cannot be written.
    """
    can_write(path)
    try:
        wanted = png(drawing) if path.suffix.lower() == ".png" else svg(drawing).encode()
        path.write_bytes(wanted)
    except OSError as error:
        raise BadRequest(f"--picture: {path} cannot be written: {error.strerror}") from error


def svg(drawing: Drawing) -> str:
    """Return a drawing as an SVG document."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width}" '
        f'height="{drawing.height}" font-family="sans-serif" font-size="13">'
        '<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{_LEFT}" y="20">{escape(drawing.words)}</text>'
    ]
    for box in drawing.boxes:
        paint = f'fill="{box.fill}"' if box.fill else f'fill="none" stroke="{_OUTLINE}"'
        title = f"<title>{escape(box.title)}</title>" if box.title else ""
        parts.append(
            f'<rect x="{box.x:g}" y="{box.y:.1f}" width="{box.width:g}" '
            f'height="{box.height:.1f}" {paint}>{title}</rect>'
        )
    return "\n".join([*parts, "</svg>\n"])


def png(drawing: Drawing) -> bytes:
    """Return a drawing as a PNG image, two pixels a unit; needs Pillow."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - an extra, not needed for the rest

    image = Image.new("RGB", (drawing.width * _SCALE, drawing.height * _SCALE), "#fff")
    canvas = ImageDraw.Draw(image)
    canvas.text((_LEFT * _SCALE, 8 * _SCALE), drawing.words, fill="#000", font_size=13 * _SCALE)
    for box in drawing.boxes:
        corners = (
            round(box.x * _SCALE),
            round(box.y * _SCALE),
            max(round((box.x + box.width) * _SCALE) - 1, round(box.x * _SCALE)),
            max(round((box.y + box.height) * _SCALE) - 1, round(box.y * _SCALE)),
        )
        if box.fill:
            canvas.rectangle(corners, fill=box.fill)
        else:
            canvas.rectangle(corners, outline=_OUTLINE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def _stack(
    pods: Sequence[tuple[str, dict[str, float]]],
    offer: Mapping[str, float],
    resource: str,
    x: int,
    y: int,
) -> list[Box]:
    whole = offer.get(resource, 0.0)
    boxes = [Box(x, y, _BAR - 1, _HEIGHT, _GREY)]
    level = float(y + _HEIGHT)
    for name, requests in sorted(pods, key=lambda pod: _family(pod[0])):
        tall = _HEIGHT * requests.get(resource, 0.0) / whole if whole else 0.0
        level -= tall
        if tall > 0:
            boxes.append(Box(x, level, _BAR - 1, max(tall, 0.4), _colour(name), name))
    return boxes


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
