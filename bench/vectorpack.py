"""`make bench-vectorpack`: bins against the known optima of vector bin packing, by class.

    make bench-vectorpack                                  # every 20th instance
    make bench-vectorpack ARGS="--every 1 --record FILE"   # all of them, some hour

The instances are Mommessin et al.'s (Computers & Operations Research, "Classification and
evaluation of the algorithms for vector bin packing"): github.com/Vectorpack, MIT. They are not in
this repository: DIR holds Triplet_instances.tar.gz, New_instances.tar.gz and their
*_summary_known.csv. Deadlines count CPU seconds of the process, by number of items.
"""

import argparse
import csv
import tarfile
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
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
class Choice:
    """Which instances are solved, and where what was reached is kept."""

    data: Path
    only: str
    every: int
    record: Path | None


@dataclass(frozen=True)
class Limit:
    """CPU seconds: by items of an instance, for an instance at least, for all."""

    per_item: float
    least: float
    total: float


@dataclass(frozen=True)
class Known:
    """What is known of an instance; optimum -1: not known."""

    bound: int
    optimum: int
    best: int


@dataclass
class Tally:
    """Sums over the instances of one class."""

    instances: int = 0
    bins: int = 0
    bound: int = 0
    best: int = 0
    optima: int = 0
    reached: int = 0
    better: int = 0
    worse: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What was reached on an instance: a line of the record."""

    instance: str
    bins: int
    bound: int
    seconds: float


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


def pack(instance: str, text: str, limit: Limit) -> Outcome:
    """Solve an instance and verify the plan."""
    given = read(text)
    begun = time.process_time()
    seconds = max(limit.least, limit.per_item * float(given.count.sum()))
    plan = solve(given, Options(seconds=seconds, clock=time.process_time))
    wrong = verify(given, plan)
    if wrong or plan.goals[0].value != given.count.sum():
        raise SystemExit(f"{instance}: {wrong[0] if wrong else 'items are left over'}")
    goal = plan.goals[1]
    spent = time.process_time() - begun
    return Outcome(instance, round(goal.value), round(goal.bound), round(spent, 2))


def add(tally: Tally, found: Outcome, facts: Known) -> None:
    """Count one instance."""
    tally.instances += 1
    tally.bins += found.bins
    tally.bound += max(found.bound, facts.bound, facts.optimum)
    tally.best += facts.best
    tally.better += found.bins < facts.best
    tally.worse += found.bins > facts.best
    tally.seconds += found.seconds
    if facts.optimum >= 0:
        tally.optima += 1
        tally.reached += found.bins <= facts.optimum


def recorded(record: Path | None) -> dict[str, Outcome]:
    """Return the outcomes of a record, by instance."""
    if record is None or not record.exists():
        return {}
    with record.open() as file:
        rows = csv.reader(file)
        return {
            name: Outcome(name, int(bins), int(bound), float(seconds))
            for name, bins, bound, seconds in rows
        }


def run(choice: Choice, limit: Limit) -> dict[str, Outcome]:
    """Solve what is chosen and not recorded yet, and record it."""
    done = recorded(choice.record)
    begun = time.process_time()
    for name in SETS:
        chosen = [each for each in instances(choice.data, name) if choice.only in each[0]]
        for instance, text in track(chosen[:: choice.every], description=name):
            if instance in done or time.process_time() - begun > limit.total:
                continue
            found = pack(instance, text, limit)
            done[instance] = found
            if choice.record is not None:
                with choice.record.open("a") as file:
                    csv.writer(file).writerow(astuple(found))
    return done


def main(choice: Choice, limit: Limit, fine: bool) -> None:
    """Run and print."""
    if not choice.data.is_dir():
        raise SystemExit(f"{choice.data} is no directory; --data names that of the instances")
    tallies: dict[str, Tally] = {}
    found = run(choice, limit)
    for name in SETS:
        for instance, facts in known(choice.data, name).items():
            if instance in found:
                key = instance.rpartition("_")[0] if fine else instance.partition("_")[0]
                add(tallies.setdefault(f"{name} {key}", Tally()), found[instance], facts)
    title = f"Vector bin packing, {limit.per_item * 1000:g} ms an item, at least {limit.least:g} s"
    table = Table(title=title)
    for column in ("class", "instances", "bins", "best bound", "best tabulated"):
        table.add_column(column)
    for column in ("optima known", "reached", "better than tabulated", "worse", "CPU s"):
        table.add_column(column, justify="right")
    for key, t in tallies.items():
        row = (t.instances, t.bins, t.bound, t.best, t.optima, t.reached, t.better, t.worse)
        table.add_row(key, *map(str, row), f"{t.seconds:.0f}")
    Console(width=130).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="directory of the instances")
    parser.add_argument("--only", default="", help="only instances whose name has this in it")
    parser.add_argument("--every", type=int, default=20, help="every how manieth instance")
    parser.add_argument("--per-item", type=float, default=0.02, help="CPU seconds for an item")
    parser.add_argument("--least", type=float, default=0.5, help="CPU seconds for an instance")
    parser.add_argument("--total", type=float, default=1e6, help="stop after so many CPU seconds")
    parser.add_argument("--record", type=Path, help="a file of what is done, to go on from")
    parser.add_argument("--fine", action="store_true", help="print by class, items, dimensions")
    given = parser.parse_args()
    main(
        Choice(given.data, given.only, given.every, given.record),
        Limit(given.per_item, given.least, given.total),
        given.fine,
    )
