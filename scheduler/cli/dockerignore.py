"""What a .dockerignore leaves out of a build's context.

Source: Docker's documentation of the file: Go's filepath.Match with `**`, `!` for exceptions, the
last pattern that matches decides, and what a pattern matches it matches with all that is below.
"""

import posixpath
import re
from collections.abc import Iterator

from ..errors import BadRequest


class DockerIgnore:
    """The patterns of one file.

    Args:
        text: its content.
        kept: paths that are sent in any case: the Dockerfile.
    """

    def __init__(self, text: str, kept: frozenset[str]) -> None:
        self._rules = tuple(_rules(text))
        self._kept = kept | {".dockerignore"}
        self._exceptions = any(not ignores for _, ignores in self._rules)

    def ignores(self, path: str) -> bool:
        """Return whether a path, relative to the context, is left out."""
        if path in self._kept:
            return False
        ignored = False
        for pattern, ignores in self._rules:
            if ignores != ignored and pattern.match(path):
                ignored = ignores
        return ignored

    def prunes(self, directory: str) -> bool:
        """Return whether nothing below a directory can be wanted."""
        above = any(path.startswith(f"{directory}/") for path in self._kept)
        return not self._exceptions and not above and self.ignores(directory)


def _rules(text: str) -> Iterator[tuple[re.Pattern[str], bool]]:
    for line in text.removeprefix("\ufeff").splitlines():
        given = "" if line.startswith("#") else line.strip()
        ignores = not given.startswith("!")
        pattern = posixpath.normpath(given.lstrip("!").strip().lstrip("/") or ".")
        if pattern != ".":
            yield _compiled(pattern), ignores


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(f"{_translated(pattern)}(?:/|\\Z)", re.DOTALL)
    except re.error as error:
        raise BadRequest(f".dockerignore: {pattern!r} is no pattern: {error}") from error


def _translated(pattern: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        elif pattern[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            parts.append("[^/]")
            at += 1
        elif pattern[at] == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise BadRequest(f".dockerignore: {pattern!r} has a [ without ]")
            parts.append(pattern[at : end + 1].replace("\\", "\\\\"))
            at = end + 1
        else:
            at += pattern[at] == "\\" and at + 1 < len(pattern)
            parts.append(re.escape(pattern[at]))
            at += 1
    return "".join(parts)
