"""Prints the server's Table answers (meta/v1 Table) as aligned columns."""

from collections.abc import Sequence
from typing import cast

from ..objects.json import Json, JsonObject
from .connection import child, entries, metadata

_GAP = "   "


class TableWriter:
    """Prints tables of one resource; later rows keep the widths of the first ones.

    Args:
        wide: also columns of priority above 0. namespace: a first column with the namespace.
        prefix: put before every name, as in "pod/".
    """

    def __init__(self, *, wide: bool = False, namespace: bool = False, prefix: str = "") -> None:
        self._wide = wide
        self._namespace = namespace
        self._prefix = prefix
        self._shown: list[int] = []
        self._widths: list[int] = []

    @property
    def used(self) -> bool:
        """Whether anything has been printed."""
        return bool(self._widths)

    def write(self, table: JsonObject, *, event: str = "") -> int:
        """Print a table; returns how many rows it had. `event` marks rows of a watch."""
        found = entries(table.get("rows"))
        if not found:
            return 0
        rows = [self._row(row, event) for row in found]
        definitions = entries(table.get("columnDefinitions"))
        if not self._shown and definitions:
            self._shown = [
                index for index, column in enumerate(definitions) if self._is_shown(column)
            ]
            rows = [self._row(row, event) for row in found]
            names = [str(definitions[index].get("name")).upper() for index in self._shown]
            header = ["NAMESPACE", *names] if self._namespace else names
            self._widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
            self._print(header)
        for row in rows:
            self._print(row)
        return len(rows)

    def _is_shown(self, column: JsonObject) -> bool:
        priority = column.get("priority")
        return self._wide or not priority

    def _row(self, row: JsonObject, event: str) -> list[str]:
        cells = cast(list[Json], row.get("cells") or [])
        shown = [_text(cells[index]) for index in self._shown if index < len(cells)]
        if self._prefix and shown:
            shown[0] = self._prefix + shown[0]
        if event == "DELETED" and shown:
            shown[-1] += "  (deleted)"
        if self._namespace:
            return [metadata(child(row, "object")).get("namespace", ""), *shown]
        return shown

    def _print(self, cells: Sequence[str]) -> None:
        padded = [f"{cell:<{width}}" for cell, width in zip(cells, self._widths, strict=False)]
        print(_GAP.join(padded).rstrip(), flush=True)


def _text(cell: Json) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "<none>" if cell is None or cell == "" else str(cell)
