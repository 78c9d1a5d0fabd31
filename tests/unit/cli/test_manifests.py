import pytest

from scheduler.cli.manifests import read_manifests
from scheduler.errors import BadRequest

TWO = """\
# a comment
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
---
kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Pod, metadata: {name: b, annotations: {at: 2026-01-02}}}
- {apiVersion: v1, kind: Pod, metadata: {name: c}}
"""


def names(objects):
    return [obj["metadata"]["name"] for obj in objects]


def test_documents_lists_and_empty_documents_are_read_in_order(tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(TWO)
    assert names(read_manifests([str(file)])) == ["a", "b", "c"]


def test_dates_stay_text(tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(TWO)
    pod = read_manifests([str(file)])[1]
    assert pod["metadata"]["annotations"] == {"at": "2026-01-02"}


def test_a_directory_gives_its_manifests_by_name_and_nothing_else(tmp_path):
    (tmp_path / "2.yml").write_text("{kind: A, metadata: {name: second}}")
    (tmp_path / "1.json").write_text('{"kind": "A", "metadata": {"name": "first"}}')
    (tmp_path / "README.md").write_text("not a manifest: [")
    assert names(read_manifests([str(tmp_path)])) == ["first", "second"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "is not YAML"),
        ("- 1\n- 2", "an object is a mapping, not list"),
        ("!!python/object/apply:os.getcwd []", "is not YAML"),
        ("", "no objects in"),
    ],
)
def test_what_is_no_manifest_is_refused_by_name(tmp_path, text, complaint):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(BadRequest, match=complaint) as raised:
        read_manifests([str(file)])
    assert "bad.yaml" in str(raised.value)


def test_a_missing_file_is_named():
    with pytest.raises(BadRequest, match=r"absent\.yaml cannot be read"):
        read_manifests(["absent.yaml"])
