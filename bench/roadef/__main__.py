"""`make bench-roadef`: machine reassignment against the best known costs, set a1.

    make bench-roadef [ARGS="--data DIR --only a1_4 --seconds 300"]

The instances are Google's for the ROADEF/EURO challenge 2012 (github.com/gturri/roadef2012, ISC).
They are not in this repository: DIR holds model_*.txt, assignment_*.txt and best_known.csv. Every
result is checked, and its cost computed, by a checker that knows only the challenge's definition.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.roadef.challenge import Instance, cost, read, violations
from bench.roadef.neighbours import rearrange
from bench.roadef.shifting import anneal
from bench.roadef.standing import Standing
from scheduler.placement.solver.deadline import Deadline

DATA = Path(__file__).parents[3] / "shared/data/roadef2012"
ANNEALING = 0.6  # of the time


def solve(given: Instance, seconds: float, seed: int = 1) -> tuple[list[int], list[int]]:
    """Return the assignments after the annealing and at the end, in CPU seconds of the process."""
    standing = Standing(given, np.array(given.initial))
    random = np.random.default_rng(seed)
    deadline = Deadline(seconds, time.process_time)
    anneal(standing, deadline.part(ANNEALING), random)
    annealed = [int(m) for m in standing.at]
    rearrange(standing, deadline, random)
    return annealed, [int(m) for m in standing.at]


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
    annealed, found = solve(given, seconds)
    spent = time.process_time() - begun
    wrong = list(violations(given, found))
    value, best = cost(given, found), int(facts["best_qualification_2011"])
    return (
        name,
        f"{len(given.processes):,} x {len(given.machines)}",
        f"{cost(given, given.initial):,}",
        f"{cost(given, annealed):,}",
        f"{value:,}",
        f"{best:,}",
        f"{100 * (value / best - 1):+.4f} %",
        f"{int(facts['lb_J12']):,}",
        f"{spent:.0f}",
        "right" if not wrong else wrong[0],
    )


def main(data: Path, only: str, seconds: float) -> None:
    """Run and print."""
    if not data.is_dir():
        raise SystemExit(f"{data} is no directory; --data names that of the instances")
    table = Table(title=f"Machine reassignment, {seconds:g} CPU seconds an instance")
    for name in ("instance", "processes x machines", "at first", "annealed", "in the end"):
        table.add_column(name)
    for name in ("best of 2011", "above it", "lower bound", "CPU s", "checked"):
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
