"""Packed hosts are drawn the same as SVG and as PNG."""

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from scheduler.cli.packing_picture import draw, write_picture
from scheduler.errors import BadRequest

NODES = [
    {"metadata": {"name": name}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi"}}}
    for name in ("a", "b<")
]
PODS = {
    f"default/web-{n}": {"containers": [{"resources": {"requests": {"cpu": "2"}}}]}
    for n in range(3)
}
DRAWING = draw(
    [
        {"pod": "default/web-0", "node": "a"},
        {"pod": "default/web-1", "node": "a"},
        {"pod": "default/web-2", "node": "b<"},
    ],
    PODS,
    NODES,
)


def test_a_stripe_is_as_tall_as_its_pod_s_share():
    stripes = [box for box in DRAWING.boxes if box.title in PODS]
    assert [box.height for box in stripes] == [60.0] * 3
    assert len({box.x for box in stripes}) == 2
    assert [box.title for box in DRAWING.boxes if not box.fill] == ["a", "b<"], "fullest first"


def test_as_svg(tmp_path):
    write_picture(DRAWING, tmp_path / "x.svg")
    root = ElementTree.fromstring((tmp_path / "x.svg").read_text())
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert {*PODS, "a", "b<"} == set(titles)


def test_as_png(tmp_path):
    write_picture(DRAWING, tmp_path / "x.PNG")
    image = Image.open(io.BytesIO((tmp_path / "x.PNG").read_bytes()))
    assert (image.format, image.size) == ("PNG", (2 * DRAWING.width, 2 * DRAWING.height))
    box = next(box for box in DRAWING.boxes if box.title == "default/web-0")
    middle = (round(2 * (box.x + box.width / 2)), round(2 * (box.y + box.height / 2)))
    assert image.getpixel(middle) not in {(255, 255, 255), (230, 232, 236)}


def test_png_without_pillow_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("scheduler.cli.packing_picture.find_spec", lambda _: None)
    with pytest.raises(BadRequest, match=r"ironfree\[png\]"):
        write_picture(DRAWING, tmp_path / "x.png")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(BadRequest, match="cannot be written"):
        write_picture(DRAWING, tmp_path / "absent" / "x.svg")
