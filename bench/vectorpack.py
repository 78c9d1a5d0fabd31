"""`make bench-vectorpack`: bins against the known optima of vector bin packing, by class.

    make bench-vectorpack [ARGS="--data DIR --only classC_60 --seconds 2"]

The instances are Mommessin et al.'s (Computers & Operations Research, "Classification and
evaluation of the algorithms for vector bin packing"): github.com/Vectorpack, MIT. They are not in
this repository: DIR holds Triplet_instances.tar.gz, New_instances.tar.gz and their
*_summary_known.csv.
"""

import argparse
import csv
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.solver.objectives import HostCost, Placed
from scheduler.placement.solver.problem import Problem, problem
from scheduler.placement.solver.verifier import verify

DATA = Path(__file__).parents[2] / "shared/data/vectorpack"
SETS = ("Triplet", "New")


@dataclass(frozen=True)
class Known:
    """What is known of an instance; optimum -1: not known."""

    bound: int
    optimum: int
    best: int


@dataclass
class Tally:
    """Sums over the instances of one class, number of items and dimensions."""

    instances: int = 0
    bins: int = 0
    best: int = 0
    optima: int = 0
    reached: int = 0
    better: int = 0
    worse: int = 0


def known(data: Path, name: str) -> dict[str, Known]:
    """Return what is known of a set's instances, by name."""
    with (data / f"{name}_summary_known.csv").open() as file:
        return {
            row["instance_name"]: Known(int(row["LB"]), int(row["OPT"]), int(row["best_overall"]))
            for row in csv.DictReader(file, delimiter="\t")
        }


def instances(data: Path, name: str) -> Iterator[tuple[str, str]]:
    """Yield names and texts of a set's instances, in order of name."""
    with tarfile.open(data / f"{name}_instances.tar.gz") as archive:
        members = [each for each in archive.getmembers() if each.name.endswith(".vbp")]
        for member in sorted(members, key=lambda each: each.name):
            file = archive.extractfile(member)
            assert file is not None
            yield Path(member.name).stem, file.read().decode()


def read(text: str) -> Problem:
    """Return an instance: every item in as few bins as possible."""
    lines = [list(map(int, line.split())) for line in text.splitlines() if line.strip()]
    capacity, items = np.array(lines[1]), np.array([line[:-1] for line in lines[3:]])
    sizes, counts = np.unique(items, axis=0, return_counts=True)
    bins = int(counts.sum())
    return problem(
        np.tile(capacity[:, None], (1, bins)),
        sizes.T.copy(),
        counts.astype(np.int64),
        objectives=(Placed(np.ones(len(sizes))), HostCost(np.ones(bins))),
    )


def add(tally: Tally, bins: int, facts: Known) -> None:
    """Count one instance."""
    tally.instances += 1
    tally.bins += bins
    tally.best += facts.best
    tally.better += bins < facts.best
    tally.worse += bins > facts.best
    if facts.optimum >= 0:
        tally.optima += 1
        tally.reached += bins <= facts.optimum


def main(data: Path, only: str, seconds: float) -> None:
    """Run and print."""
    if not data.is_dir():
        raise SystemExit(f"{data} is no directory; --data names that of the instances, see --help")
    tallies: dict[str, Tally] = {}
    begun = time.process_time()
    for name in SETS:
        facts = known(data, name)
        chosen = [each for each in instances(data, name) if only in each[0]]
        for instance, text in track(chosen, description=name):
            given = read(text)
            plan = solve(given, Options(seconds=seconds))
            wrong = verify(given, plan)
            if wrong or plan.goals[0].value != given.count.sum():
                raise SystemExit(f"{instance}: {wrong[0] if wrong else 'items are left over'}")
            key = f"{name} {instance.rpartition('_')[0]}"
            add(tallies.setdefault(key, Tally()), round(plan.goals[1].value), facts[instance])
    table = Table(title=f"Vector bin packing, {seconds:g} s an instance at most")
    for column in ("class_items_dimensions", "instances", "bins", "best tabulated"):
        table.add_column(column)
    for column in ("optima known", "reached", "better than tabulated", "worse"):
        table.add_column(column, justify="right")
    for key, t in tallies.items():
        row = (t.instances, t.bins, t.best, t.optima, t.reached, t.better, t.worse)
        table.add_row(key, *map(str, row))
    Console(width=130).print(table)
    print(f"CPU: {time.process_time() - begun:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="directory of the instances")
    parser.add_argument("--only", default="", help="only instances whose name has this in it")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each instance")
    arguments = parser.parse_args()
    main(arguments.data, arguments.only, arguments.seconds)
