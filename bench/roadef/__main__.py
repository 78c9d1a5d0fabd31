"""`make bench-roadef`: machine reassignment against the best known costs, set a1.

    make bench-roadef [ARGS="--data DIR --only a1_4 --seconds 300"]

The instances are Google's for the ROADEF/EURO challenge 2012 (github.com/gturri/roadef2012, ISC).
They are not in this repository: DIR holds model_*.txt, assignment_*.txt and best_known.csv. An
instance becomes a Placement with a batch rule (`bench/roadef/reassignment.py`), and the engine does
the rest. Every result is checked, and its cost computed, by a checker that knows only the
challenge's definition.
"""

import argparse
import csv
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.roadef.challenge import Instance, cost, read, violations
from bench.roadef.reassignment import asked, assigned
from scheduler.placement.batch.outcome import settle
from scheduler.placement.scenario import read_scenario
from scheduler.placement.solver.engine import Options, solve

DATA = Path(__file__).parents[3] / "shared/data/roadef2012"


def reassign(given: Instance, seconds: float, seed: int = 1) -> tuple[list[int], str]:
    """Return what is assigned, and the engine's bound of the cost, in CPU seconds of the process.

    The engine's plan goes the way of every Placement: through the filters and the checker.
    """
    placement = asked(given, given.initial)
    options = Options(seconds=seconds, seed=seed, clock=time.process_time)
    outcome = settle(placement, solve(placement.model.problem, options), read_scenario({}).state)
    pairs = [(each.pod, each.node) for each in outcome.assignments()]
    return assigned(given, pairs), outcome.solver.goals[-1].bound


def known(data: Path) -> dict[str, dict[str, str]]:
    """Return what is known of the instances of set a1, by name."""
    with (data / "best_known.csv").open() as file:
        rows = csv.DictReader(file)
        return {row["instance"]: row for row in rows if row["instance"].startswith("a1_")}


def row(data: Path, name: str, facts: dict[str, str], seconds: float) -> tuple[str, ...]:
    """Solve an instance and return its row of the table."""
    model, assignment = (data / f"{kind}_{name}.txt" for kind in ("model", "assignment"))
    given = read(model.read_text(), assignment.read_text())
    if cost(given, given.initial) != int(facts["initial_cost"]):
        raise SystemExit(f"{name}: the checker gives the initial assignment another cost")
    begun = time.process_time()
    found, bound = reassign(given, seconds)
    spent = time.process_time() - begun
    wrong = list(violations(given, found))
    value, best = cost(given, found), int(facts["best_qualification_2011"])
    return (
        name,
        f"{len(given.processes):,} x {len(given.machines)}",
        f"{cost(given, given.initial):,}",
        f"{value:,}",
        f"{best:,}",
        f"{100 * (value / best - 1):+.4f} %",
        f"{-float(bound or '-inf'):,.0f}",
        f"{spent:.0f}",
        "right" if not wrong else wrong[0],
    )


def main(data: Path, only: str, seconds: float) -> None:
    """Run and print."""
    if not data.is_dir():
        raise SystemExit(f"{data} is no directory; --data names that of the instances")
    table = Table(title=f"Machine reassignment, {seconds:g} CPU seconds an instance")
    for name in ("instance", "processes x machines", "at first", "found"):
        table.add_column(name)
    for name in ("best of 2011", "above it", "bound", "CPU s", "checked"):
        table.add_column(name)
    for name, facts in known(data).items():
        if only in name:
            table.add_row(*row(data, name, facts, seconds))
    Console(width=150).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="directory of the instances")
    parser.add_argument("--only", default="", help="only instances whose name has this in it")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each instance")
    arguments = parser.parse_args()
    main(arguments.data, arguments.only, arguments.seconds)
