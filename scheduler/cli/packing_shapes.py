"""CSV of shapes for `ironfree place`: one line a shape, with a count.

Columns: kind (pod or host; pod where it is left out), name, count, and one a resource (cpu, memory,
nvidia.com/gpu, …). Hosts may have price, pods value; columns label:KEY become labels.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from ..errors import BadRequest
from ..objects.json import Json, JsonObject
from ..objects.placement_job import MOST_PODS, PRICE, VALUE

_LABEL = "label:"
_OURS = frozenset({"kind", "name", "count", "price", "value"})
_DEFAULT_PODS = "1000000"


def template_entries(file: str) -> list[Json]:
    """Return the pods of a file as `spec.pods.templates` of a Placement.

    Raises:
        BadRequest: the file cannot be read; names line and column.
    """
    return [
        {
            "name": name,
            "count": count,
            "template": {
                "metadata": {"labels": _labels(row, "value", VALUE)},
                "spec": {"containers": [_container(_amounts(row))]},
            },
        }
        for row, name, count in _rows(file, "pod")
    ]


def _container(amounts: JsonObject) -> JsonObject:
    """Return a container that asks for amounts; of extended resources the limit must be as much."""
    limits: JsonObject = {name: amount for name, amount in amounts.items() if "/" in name}
    resources: JsonObject = (
        {"requests": amounts, "limits": limits} if limits else {"requests": amounts}
    )
    return {"name": "main", "image": "shape", "resources": resources}


def host_objects(file: str) -> list[Json]:
    """Return the hosts of a file as Nodes; raises BadRequest as `template_entries`."""
    nodes: list[Json] = []
    for row, name, count in _rows(file, "host"):
        for copy in range(count):
            offered: JsonObject = {"pods": _DEFAULT_PODS, **_amounts(row)}
            nodes.append(
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "metadata": {
                        "name": f"{name}-{copy}" if count > 1 else name,
                        "labels": _labels(row, "price", PRICE),
                    },
                    "status": {"allocatable": offered},
                }
            )
    return nodes


def host_types(file: str) -> dict[str, str]:
    """Return the name of its line for every host of `host_objects`."""
    return {
        f"{name}-{copy}" if count > 1 else name: name
        for _, name, count in _rows(file, "host")
        for copy in range(count)
    }


def _rows(file: str, kind: str) -> Iterator[tuple[dict[str, str], str, int]]:
    try:
        text = Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} cannot be read: {error}") from error
    reader = csv.DictReader(text.splitlines(), restkey="", restval="")
    if "name" not in (reader.fieldnames or ()):
        raise BadRequest(f"{file}: the first line must name the columns, name among them")
    for line, row in enumerate(reader, start=2):
        if "" in row:
            raise BadRequest(f"{file}, line {line}: it has more values than columns")
        if (row.get("kind") or "pod") != kind:
            continue
        count = row.get("count") or "1"
        if not count.isascii() or not count.isdecimal() or not 0 < int(count) <= MOST_PODS:
            raise BadRequest(f"{file}, line {line}: count {count!r} must be from 1 to {MOST_PODS}")
        yield row, row["name"], int(count)


def _amounts(row: dict[str, str]) -> JsonObject:
    return {
        column: value
        for column, value in row.items()
        if value and column not in _OURS and not column.startswith(_LABEL)
    }


def _labels(row: dict[str, str], column: str, label: str) -> JsonObject:
    labels: JsonObject = {
        name.removeprefix(_LABEL): value
        for name, value in row.items()
        if value and name.startswith(_LABEL)
    }
    return {**labels, label: row[column]} if row.get(column) else labels
