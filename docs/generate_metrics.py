"""Makes the list of docs/metrics.md of the metrics that the service registers: `make docs`."""

from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from scheduler.api.traffic import Traffic
from scheduler.metrics import Leading, Rooms, register
from scheduler.placement.measures import PlacementMeasures
from scheduler.store.measures import WriterMeasures

DOCUMENT = Path(__file__).with_name("metrics.md")
BEGIN = "<!-- made by `make docs` -->\n"


@dataclass(frozen=True)
class _Fresh:
    """A store of which nothing has been asked."""

    measures: WriterMeasures = field(default_factory=WriterMeasures)
    queued_writes: int = 0
    seen_revision: int = 0


def table() -> str:
    """Return every metric with its type, labels and meaning, as a table."""
    registry = CollectorRegistry()
    register(registry, Rooms(_Fresh(), Leading(), PlacementMeasures(), Traffic()))
    lines = ["| metric | type | labels | what it tells |", "|---|---|---|---|"]
    for family in sorted(registry.collect(), key=lambda each: each.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in getattr(family, "_labelnames", ()))
        lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(line.replace("|  |", "| |") for line in lines) + "\n"


def document(present: str) -> str:
    """Return the document with the table of today."""
    return present.partition(BEGIN)[0] + BEGIN + "\n" + table()


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
