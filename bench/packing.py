"""`make bench-packing`: how near to the proven bound the packing engine comes, and how fast.

    make bench-packing [ARGS="--case openb --idle"]

Every plan is checked by the engine's independent verifier. With --idle the deadline counts the
process's own CPU seconds, as on a machine that does nothing else; without, wall seconds. "by rules"
is the whole way of a Placement: Kubernetes' objects become the problem, and the plan goes through
the filters and the checker; the limit is the solver's, as in a Placement.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.openb.trace import TraceNode, TracePod, read_nodes, read_pods
from scheduler.objects.json import Json, JsonObject
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.placement_job import PlacementJob, PlacementSpec, PlacementStatus
from scheduler.objects.stored import Body, StoredObject
from scheduler.placement.batch.outcome import settle
from scheduler.placement.batch.preparation import Prepared, prepare
from scheduler.placement.scenario import Scenario, read_scenario
from scheduler.placement.solver.engine import Options, solve
from scheduler.placement.solver.objectives import HostCost, Objective, Placed
from scheduler.placement.solver.problem import MANY, Problem, problem
from scheduler.placement.solver.rules import Exclusive, Rule, Spread
from scheduler.placement.solver.solution import Solution
from scheduler.placement.solver.verifier import verify
from scheduler.plugin_manager import PluginManager
from scheduler.profile import PACKING

NODES, PODS, ZONES = 5_000, 50_000, 3
RULED_NODES, WORKLOADS, COPIES = 1_700, 800, 31  # as Kubernetes objects
HOST_NAME = "kubernetes.io/hostname"
HOSTS = 4000  # machines of one model, more than any plan needs


@dataclass(frozen=True)
class Case:
    """A problem, the seconds it may take, and what is asked of the plan."""

    name: str
    make: Callable[[], Problem | tuple[Prepared, Scenario]]
    seconds: float
    goal: int = 0
    wanted: str = ""


def openb(
    variant: str,
    objectives: Callable[[Problem], tuple[Objective, ...]],
    host: TraceNode | None = None,
) -> Problem:
    """Return the trace's pods on the trace's nodes, or on many nodes like one of them."""
    nodes = read_nodes() if host is None else [host] * HOSTS
    pods = Counter(
        (pod.cpu, pod.memory, pod.gpus, pod.gpu_milli if pod.gpus else 0, pod.models)
        for pod in read_pods(variant)
    )
    classes = sorted(pods)
    if host is not None:
        classes = [c for c in classes if c[2] <= host.gpus]
    models = sorted({node.model for node in nodes})
    slots = max(node.gpus for node in nodes)
    feasible = [
        [(not named or model in named) and (not gpus or model != "") for model in models]
        for _, _, gpus, _, named in classes
    ]
    base = Problem(
        free=np.array([[n.cpu for n in nodes], [n.memory for n in nodes]]),
        demand=np.array([[c[0] for c in classes], [c[1] for c in classes]]),
        count=np.array([pods[c] for c in classes]),
        group=np.array([models.index(n.model) for n in nodes]),
        feasible=np.array(feasible),
        limit=np.full(len(classes), MANY),
        devices=np.array([[1000] * n.gpus + [0] * (slots - n.gpus) for n in nodes]).T,
        device_share=np.array([c[3] for c in classes]),
        device_units=np.array([c[2] for c in classes]),
        objectives=(Placed(np.ones(len(classes))),),
    )
    return Problem(
        **{f: getattr(base, f) for f in base.__slots__} | {"objectives": objectives(base)}
    )


def gpu_milli(base: Problem) -> tuple[Objective, ...]:
    return (Placed((base.device_share * base.device_units).astype(np.float64)),)


def pods(base: Problem) -> tuple[Objective, ...]:
    return (Placed(np.ones(base.count.size)),)


def hosts(base: Problem) -> tuple[Objective, ...]:
    return (*pods(base), HostCost(np.ones(base.group.size)))


def cases() -> Iterator[Case]:
    """Return what is measured."""
    for variant, seconds in (("default", 3.0), ("gpuspec33", 6.0)):
        for objective in (gpu_milli, pods):
            name = f"openb {variant}, {objective.__name__}"
            make = lambda v=variant, o=objective: openb(v, o)  # noqa: E731 - bound now
            yield Case(name, make, seconds, wanted="≥ 99.9 %")
    for variant, host in product(("default", "gpuspec33"), _largest_hosts()):
        make = lambda v=variant, h=host: openb(v, hosts, h)  # noqa: E731 - bound now
        name = f"openb {variant} on {host.model or 'no GPU'} hosts, fewest"
        yield Case(name, make, 30.0, goal=1, wanted="bound + 2")
    for grid, seconds, wanted in ((16, 15.0, "≥ 99.95 %"), (1, 30.0, "≥ 99.5 %")):
        make = lambda g=grid: resampled(g)  # noqa: E731 - bound now
        yield Case(f"5,000 x 50,000, grid {grid}", make, seconds, wanted=wanted)
    yield Case("5,000 x 50,000, half coupled", coupled, 60.0, wanted="≥ 99 %")
    yield Case("1,700 x 24,800 by rules, half coupled", by_rules, 15.0)


def _largest_hosts() -> list[TraceNode]:
    """Return the largest machine of the two models that occur most often."""
    nodes = read_nodes()
    often = [model for model, _ in Counter(node.model for node in nodes).most_common(2)]
    of_model = [[node for node in nodes if node.model == model] for model in often]
    return [max(some, key=lambda n: (n.gpus, n.cpu, n.memory)) for some in of_model]


def resampled(grid: int) -> Problem:
    """Return 50,000 pods like openb's on 5,000 of its nodes, drawn with a fixed seed.

    Args:
        grid: cpu is jittered and rounded up to this many steps of a thousandth of a core times 125;
            a fine one makes thousands of classes.
    """
    random = np.random.default_rng(7)
    nodes = random.choice(np.array(read_nodes(), dtype=object), NODES)
    drawn = random.choice(np.array(read_pods("default"), dtype=object), PODS)
    jitter = random.uniform(0.7, 1.3, drawn.size)
    pairs = zip(drawn, jitter, strict=True)
    sizes = Counter(_size(pod, factor, grid) for pod, factor in pairs)
    return _packed(nodes, sorted(sizes.items()))


def _size(pod: TracePod, factor: float, grid: int) -> tuple[int, int, int]:
    step = 125 * grid
    return (
        max(1, -(-int(pod.cpu * factor) // step)) * step,
        max(1, -(-int(pod.memory * factor) // (step * 4))) * step * 4,
        1000 * pod.gpus if pod.gpus > 1 else pod.gpu_milli,
    )


def _packed(nodes: Iterable[TraceNode], sizes: list[tuple[tuple[int, int, int], int]]) -> Problem:
    return problem(
        np.array([[n.cpu, n.memory, 1000 * n.gpus] for n in nodes], dtype=np.int64).T.copy(),
        np.array([size for size, _ in sizes], dtype=np.int64).T.copy(),
        np.array([many for _, many in sizes], dtype=np.int64),
    )


def coupled() -> Problem:
    """Return 50,000 pods on 5,000 nodes in three zones, half of them in workloads with a rule.

    Sizes are those of `resampled(16)`. A workload is 2 to 60 copies of one drawn pod and has, by
    lot, maxSkew 1 over zones, maxSkew 1 over hosts, or anti-affinity to itself on a host.
    """
    random = np.random.default_rng(11)
    nodes = random.choice(np.array(read_nodes(), dtype=object), NODES)
    pods = np.array(read_pods("default"), dtype=object)
    jitter = random.uniform(0.7, 1.3, PODS // 2)
    pairs = zip(random.choice(pods, jitter.size), jitter, strict=True)
    free = sorted(Counter(_size(pod, factor, 16) for pod, factor in pairs).items())
    workloads: list[tuple[tuple[int, int, int], int]] = []
    left = PODS - jitter.size
    while left:
        many = min(left, int(random.integers(2, 61)))
        size = _size(random.choice(pods), float(random.uniform(0.7, 1.3)), 16)
        workloads.append((size, many))
        left -= many
    zone, alone = np.arange(ZONES), np.zeros(NODES, dtype=np.int64)
    rules: list[Rule] = []
    for c, kind in enumerate(random.integers(0, 3, len(workloads)).tolist(), start=len(free)):
        if kind == 0:
            rules.append(Spread((c,), 1, np.zeros(ZONES, dtype=np.int64), zone))
        elif kind == 1:
            rules.append(Spread((c,), 1, alone))
        else:
            rules.append(Exclusive((c,)))
    plain = _packed(nodes, [*free, *workloads])
    every = np.ones((plain.count.size, ZONES), dtype=np.bool_)
    group = random.integers(0, ZONES, NODES)
    return replace(plain, rules=tuple(rules), group=group, feasible=every)


def by_rules() -> tuple[Prepared, Scenario]:
    """Return 24,800 pods on 1,700 nodes in three zones as Kubernetes objects.

    800 workloads; of six, one spreads over zones, one over hosts (maxSkew 1), and one keeps apart
    on hosts. The nodes have room for nearly all.
    """
    random = np.random.default_rng(1)
    labels = ({HOST_NAME: f"h{n}", "zone": "xyz"[n % ZONES]} for n in range(RULED_NODES))
    offer = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    hosts: list[Json] = [
        {"metadata": {"name": each[HOST_NAME], "labels": each}, "status": {"allocatable": offer}}
        for each in labels
    ]
    sizes = random.integers((500, 256), (4000, 4000), (WORKLOADS, 2)).tolist()
    wanted = [_workload(f"w{n}", n % 6, *size) for n, size in enumerate(sizes)]
    spec = {"pods": {"templates": wanted}, "objective": [{"place": "count"}, {"hosts": "fewest"}]}
    meta = ObjectMeta(name="bench", namespace="default", uid="bench")
    stored = StoredObject("placements.ironfree.dev", meta, 1, 1, Body(b"{}"))
    asked = msgspec.json.decode(msgspec.json.encode(spec), type=PlacementSpec)
    cluster = read_scenario({"nodes": hosts})
    manager = PluginManager.load()
    manager.collect()
    job = PlacementJob(meta, asked, PlacementStatus(), stored)
    return prepare(job, cluster, manager.rules(PACKING)), cluster


def _workload(name: str, kind: int, cpu: int, memory: int) -> Json:
    chosen: JsonObject = {"labelSelector": {"matchLabels": {"app": name}}}
    requests: Json = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
    spec: JsonObject = {
        "containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]
    }
    if kind < 2:
        key = ("zone", HOST_NAME)[kind]
        even = {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", **chosen}
        spec["topologySpreadConstraints"] = [even]
    elif kind == 2:
        term: Json = {"topologyKey": HOST_NAME, **chosen}
        apart: Json = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        spec["affinity"] = {"podAntiAffinity": apart}
    template: Json = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {"name": name, "count": COPIES, "template": template}


def row(case: Case, idle: bool) -> tuple[str, ...]:
    """Solve a case and return its row of the table."""
    made = case.make()
    prepared, cluster = made if isinstance(made, tuple) else (None, None)
    given = made if isinstance(made, Problem) else made[0].model.problem
    options = Options(seconds=case.seconds, clock=time.process_time if idle else time.monotonic)
    wall, cpu = time.perf_counter(), time.process_time()
    plan: Solution = solve(given, options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    goal, status = plan.goals[case.goal], plan.status.value
    wrong = verify(given, plan)
    value, bound, share = f"{goal.value:,.0f}", f"{goal.bound:,.0f}", 1 - goal.gap
    if prepared is not None and cluster is not None:
        outcome = settle(prepared, plan, cluster.state)
        reached, status = outcome.solver.goals[case.goal], outcome.solver.status
        wrong += outcome.violations
        value, bound = reached.value, reached.bound or "unknown"
        share = float(value) / float(reached.bound) if reached.bound else float("nan")
    return (
        case.name,
        f"{given.group.size:,} x {given.count.sum():,}",
        f"{given.count.size:,}",
        value,
        bound,
        f"{100 * share:.3f} %",
        status,
        case.wanted,
        f"{case.seconds:.0f}",
        f"{wall:.1f}",
        f"{cpu:.1f}",
        "right" if not wrong else wrong[0],
    )


def main(only: str, idle: bool) -> None:
    """Run and print."""
    table = Table(title="Packing against the proven bound")
    for name in ("case", "nodes x pods", "classes", "value", "bound", "of bound"):
        table.add_column(name)
    for name in ("status", "wanted", "limit s", "wall s", "CPU s", "verified"):
        table.add_column(name)
    for case in cases():
        if only in case.name:
            table.add_row(*row(case, idle))
    Console(width=170).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--idle", action="store_true", help="deadlines in CPU seconds")
    arguments = parser.parse_args()
    main(arguments.case, arguments.idle)
