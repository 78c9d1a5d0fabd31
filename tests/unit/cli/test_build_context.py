"""What of a directory becomes a build's context."""

import io
import os
import tarfile

import pytest

from scheduler.cli import build_context
from scheduler.cli.build_context import directory_context
from scheduler.cli.build_progress import label_selector
from scheduler.cli.dockerignore import DockerIgnore
from scheduler.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "ignored", "sent"),
    [
        ("# nothing\n\n", [], ["a", "# nothing"]),
        ("a", ["a", "a/b"], ["ab", "b/a"]),
        ("/a/", ["a", "a/b"], ["b/a"]),
        ("./a/../b", ["b"], ["a"]),
        ("*.md", ["x.md", "x.md/y"], ["d/x.md"]),
        ("**/*.md", ["x.md", "d/x.md", "d/e/x.md"], ["x.mdx"]),
        ("a/**", ["a/b", "a/b/c"], ["b"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["az", "a/zz"]),
        ("?b", ["ab"], ["b", "/b", "abb"]),
        ("[a-c]x", ["ax", "bx"], ["dx"]),
        ("[^a]x", ["bx"], ["ax"]),
        (r"a\*", ["a*"], ["ab"]),
        ("*\n!keep\n", ["a", "b"], ["keep", "keep/a"]),
        ("*\n!keep\nkeep/not", ["keep/not"], ["keep/a"]),
        ("*\n! keep", ["a"], ["keep"]),
        ("(a|b)+", ["(a|b)+"], ["a", "aa"]),
        ("*", ["a"], ["Dockerfile", ".dockerignore"]),
    ],
)
def test_patterns_mean_what_docker_means(text, ignored, sent):
    ignore = DockerIgnore(text, frozenset({"Dockerfile"}))
    assert [path for path in (*ignored, *sent) if ignore.ignores(path)] == ignored


def test_what_is_no_pattern_is_said():
    for text in ("[a", "[z-a]"):
        with pytest.raises(BadRequest, match=r"\.dockerignore"):
            DockerIgnore(text, frozenset())


def test_a_directory_is_sent_without_what_is_ignored(tmp_path):
    for path in ("Dockerfile", "run", "node_modules/x/y", "docs/a", "docs/keep"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / ".dockerignore").write_text("node_modules\ndocs\n!docs/keep\nDockerfile\n")
    (tmp_path / "run").chmod(0o755)
    os.link(tmp_path / "run", tmp_path / "same")
    (tmp_path / "link").symlink_to("run")
    os.mkfifo(tmp_path / "pipe")
    sent = directory_context(tmp_path, "Dockerfile")
    with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
        found = {member.name: member for member in archive}
        assert archive.extractfile("same").read() == b"run"
        assert archive.extractfile("docs/keep").read() == b"docs/keep"
    assert set(found) == {".dockerignore", "Dockerfile", "docs/keep", "link", "run", "same"}
    assert found["run"].mode == 0o755
    assert found["link"].linkname == "run"
    assert {(m.uid, m.gid, m.uname) for m in found.values()} == {(0, 0, "")}


def test_a_context_is_bounded_and_has_its_dockerfile(tmp_path, monkeypatch):
    with pytest.raises(BadRequest, match=r"there is no .*/Other"):
        directory_context(tmp_path, "Other")
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "noise").write_bytes(os.urandom(20_000))
    monkeypatch.setattr(build_context, "MOST_CONTEXT", 10_000)
    with pytest.raises(BadRequest, match=r"more than .* leave out more"):
        directory_context(tmp_path, "Dockerfile")


def test_labels_become_a_selector():
    assert label_selector("--distribute", "") == {}
    assert label_selector("--distribute", "a=b,c=") == {"matchLabels": {"a": "b", "c": ""}}
    with pytest.raises(BadRequest, match="--distribute: 'x'"):
        label_selector("--distribute", "x")
