"""`make bench-roadef`: machine reassignment against the best known costs, set a1.

    make bench-roadef [ARGS="--data DIR --only a1_4 --seconds 300"]

The instances are Google's for the ROADEF/EURO challenge 2012 (github.com/gturri/roadef2012, ISC).
They are not in this repository: DIR holds model_*.txt, assignment_*.txt and best_known.csv. An
instance becomes a Rebalance with a batch rule (`bench/roadef/reassignment.py`), and its planner
does the rest. Every result is checked, and its cost computed, by a checker that knows only the
challenge's definition.
"""

import argparse
import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from bench.roadef.challenge import Instance, cost, read, violations
from bench.roadef.reassignment import asked, assigned, machine_of, process_of
from scheduler.placement.rebalance.improving import sought
from scheduler.placement.rebalance.objective import case_of
from scheduler.placement.rebalance.plan import RebalancePlan
from scheduler.placement.rebalance.planner import plan
from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.solver.solution import Solution

DATA = Path(__file__).parents[3] / "shared/data/roadef2012"


@dataclass(frozen=True)
class Reassigned:
    """What a Rebalance comes to.

    Args:
        sought: by process, the machine where its planner would have it, all moved at once, as the
            challenge has it.
        made: the plan, of moves that can be made one after the other.
    """

    sought: list[int]
    made: RebalancePlan


def reassign(given: Instance, seconds: float, seed: int = 1) -> Reassigned:
    """Have a Rebalance planned, in so many CPU seconds of the process."""
    floor, aim = asked(given)
    assert aim.objective is not None
    end = time.process_time() + seconds
    planning = plan(floor, replace(aim, over=lambda: time.process_time() > end))
    answer: Solution | None = None
    while True:
        try:
            question = planning.send(answer)
        except StopIteration as done:
            made = cast(RebalancePlan, done.value)
            break
        limit = max(0.5, question.share * seconds)
        options = Options(seconds=limit, seed=seed, clock=time.process_time)
        answer = solve(question.problem, options)
    floor = floor.fresh()
    case = case_of(floor, aim.objective)
    places = list(given.initial)
    if answer is not None and case is not None:
        for number, row in sought(case, answer):
            places[process_of(floor.tenants[number].key)] = machine_of(floor.base.nodes[row].name)
    return Reassigned(places, made)


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
    came = reassign(given, seconds)
    moved = assigned(given, came.made.moves)
    (goal,) = came.made.improved
    spent = time.process_time() - begun
    wrong = [*violations(given, came.sought), *violations(given, moved)]
    value = min(cost(given, came.sought), cost(given, moved))
    best = int(facts["best_qualification_2011"])
    return (
        name,
        f"{len(given.processes):,} x {len(given.machines)}",
        f"{cost(given, given.initial):,}",
        f"{value:,}",
        f"{best:,}",
        f"{100 * (value / best - 1):+.4f} %",
        f"{cost(given, moved):,}",
        str(len(came.made.moves)),
        "none known" if not goal.bound else f"{-goal.bound:,.0f}",
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
    for name in ("best of 2011", "above it", "by moves", "moves", "bound", "CPU s", "checked"):
        table.add_column(name)
    for name, facts in known(data).items():
        if only in name:
            table.add_row(*row(data, name, facts, seconds))
    Console(width=170).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="directory of the instances")
    parser.add_argument("--only", default="", help="only instances whose name has this in it")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each instance")
    arguments = parser.parse_args()
    main(arguments.data, arguments.only, arguments.seconds)
