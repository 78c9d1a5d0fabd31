"""Makes docs/pods.md of the table by which the API accepts, warns and rejects: `make docs`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from scheduler.objects.kinds.pod_support import TABLES, FieldSupport, Support, Table
from scheduler.objects.schema import Type, load

DOCUMENT = Path(__file__).with_name("pods.md")
ROOT = "core.v1.PodSpec"

INTRODUCTION = """\
# What of a pod is supported

Every field of a pod, and what Ironfree does with it; the same holds for the pod templates of
workloads. Made from `scheduler/objects/kinds/pod_support.py` by `make docs`: change that, not this.

- **supported**: acted on as Kubernetes does.
- **kept**: stored and returned, without effect and without a word, because clients set it by
  default or its absence harms nothing.
- **warned**: accepted with a `Warning`, without effect: it refines supervision or hardening.
- **rejected**: 422, because leaving it out would change what runs, where, or as whom.

An empty value, which means the same as leaving the field out, is neither warned about nor
rejected.
"""
_WORDS = {
    Support.ENFORCED: "supported",
    Support.KEPT: "kept",
    Support.WARNED: "warned",
    Support.REJECTED: "rejected",
}
_ORDER = tuple(_WORDS)


def document(tables: Mapping[str, Table] = TABLES) -> str:
    """Return the whole document.

    Args:
        tables: message of the schema → its fields' support.
    """
    places: dict[str, tuple[str, ...]] = dict.fromkeys(tables, ())
    for message, path in reached(tables):
        if message in places:
            places[message] = (*places[message], path)
    sections = [_section(message, places[message], tables) for message in tables]
    return "\n".join([INTRODUCTION, *sections])


def reached(
    tables: Mapping[str, Table],
    message: str = ROOT,
    path: str = "spec",
    above: tuple[str, ...] = (),
) -> Iterator[tuple[str, str]]:
    """Yield every message that a pod spec reaches through supported fields, with its path."""
    yield message, path
    table = tables.get(message, {})
    for name, field in load().message(message).fields.items():
        supported = name not in table or table[name].support is Support.ENFORCED
        if field.type is Type.MESSAGE and supported and field.message not in above:
            inner = f"{path}.{name}{'[]' * field.repeated}"
            yield from reached(tables, field.message, inner, (*above, message))


def _section(message: str, places: tuple[str, ...], tables: Mapping[str, Table]) -> str:
    where = ", ".join(f"`{place}`" for place in places)
    lines = [f"## {_short(message)}", ""]
    lines += [f"At {where}.", ""] if where else []
    lines += ["| field | | |", "|---|---|---|"]
    rows: dict[tuple[Support, str, str], list[str]] = {}
    for name, entry in tables[message].items():
        inner = load().message(message).fields[name].message
        note = entry.note or (f"see {_short(inner)} below" if inner in tables else "")
        rows.setdefault((entry.support, _words(entry), note), []).append(f"`{name}`")
    for (_, words, note), names in sorted(rows.items(), key=lambda row: _ORDER.index(row[0][0])):
        lines.append(f"| {', '.join(names)} | {words} | {note} |".replace("|  |", "| |"))
    return "\n".join([*lines, ""])


def _short(message: str) -> str:
    return message.rpartition(".")[2]


def _words(entry: FieldSupport) -> str:
    harmless = " or ".join(f"`{json.dumps(value)}`" for value in entry.harmless)
    return _WORDS[entry.support] + (f", unless {harmless}" if harmless else "")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
