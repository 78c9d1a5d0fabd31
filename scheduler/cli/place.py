"""`ironfree place`: pack pods onto hosts as well as possible, and say how far from the best it is.

Pods and hosts come from files (Kubernetes YAML, or CSV of shapes) or from the cluster; either way
the server solves it as a Placement, of which progress is shown. One that was made for this is
deleted afterwards, unless it has a name or has bound pods.
"""

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..errors import BadRequest, StatusError
from ..objects.json import Json, JsonObject
from ..objects.objective import GOALS
from ..objects.placement_job import FINAL
from .connection import Connection, child, connect, entries, namespace_of
from .connection import add_arguments as add_client_arguments
from .get import dump
from .manifests import read_manifests
from .packing_picture import can_write, draw, write_picture
from .packing_shapes import host_objects, template_entries
from .resources import Resource, discover

_PAUSE = 0.3  # seconds between two looks at a Placement
_PAGE = 10_000
_OBJECTIVE = "place=count,hosts=fewest"
_DEADLINE = 30
_SAID_BY_A_PLACEMENT = (
    "selector",
    "all",
    "commit",
    "objective",
    "max_moves",
    "max_preemptions",
    "deadline",
    "profile",
)
_REPLICATED = frozenset({"ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "Job"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE|DIR|-",
        dest="files",
        help="a Placement, or Nodes, Pods and workloads, or CSV of shapes (see docs/batch.md)",
    )
    parser.add_argument(
        "-l", "--selector", metavar="LABELS", help="pending pods that have them: key=value,…"
    )
    parser.add_argument("--all", action="store_true", help="all pending pods of the namespace")
    parser.add_argument("--commit", action="store_true", help="bind the pods, all or none")
    parser.add_argument(
        "--objective",
        metavar="GOALS",
        help="most important first: place=count|priority|value|RESOURCE, hosts=fewest|cost, "
        "balance=resources|RESOURCE, fragmentation=RESOURCE, prefer=pods|RULE "
        f"(default: {_OBJECTIVE})",
    )
    parser.add_argument(
        "--max-moves", type=int, metavar="N", help="running pods that may be moved to make room"
    )
    parser.add_argument(
        "--max-preemptions",
        type=int,
        metavar="N",
        help="pods of lower priority that may be evicted to make room",
    )
    parser.add_argument("--deadline", type=int, metavar="SECONDS", help=f"default: {_DEADLINE}")
    parser.add_argument("--profile", metavar="NAME", help="whose rules hold: a schedulerName")
    parser.add_argument("--name", metavar="NAME", help="keep the Placement under this name")
    parser.add_argument("--picture", metavar="FILE.svg|FILE.png", help="draw the packed hosts")


def run(arguments: argparse.Namespace) -> int:
    """Solve, show, print; returns 1 if pods are left over or nothing came of it."""
    if arguments.picture:
        can_write(Path(cast(str, arguments.picture)))
    connection = connect(arguments)
    namespace = namespace_of(arguments, connection)
    placement = _placement(arguments)
    metadata = child(placement, "metadata")
    name = cast("str | None", arguments.name) or metadata.get("name")
    metadata["name"] = name or f"place-{secrets.token_hex(4)}"
    placement["metadata"] = metadata
    resource = discover(connection).named("placements")
    connection.request("POST", resource.path(namespace), body=placement)
    try:
        return _show(connection, resource, namespace, str(metadata["name"]), arguments)
    finally:
        if not name and child(placement, "spec").get("mode") != "commit":
            connection.request("DELETE", resource.path(namespace, str(metadata["name"])))


def _show(
    connection: Connection,
    resource: Resource,
    namespace: str,
    name: str,
    arguments: argparse.Namespace,
) -> int:
    done = wait(connection, resource.path(namespace, name), quiet=arguments.json)
    status = child(done, "status")
    found = list(assignments(connection, resource.path(namespace, name, "assignments")))
    if arguments.json:
        told: list[Json] = [*found]
        print(dump({**done, "assignments": told}, "json"), end="")
    else:
        _print(status, found)
    if arguments.picture:
        drawing = draw(found, _pods(connection, namespace, done), _nodes(connection, done))
        write_picture(drawing, Path(cast(str, arguments.picture)))
        print(f"drawn in {arguments.picture}", file=sys.stderr)
    complete = status.get("placed") == status.get("pods")
    return 0 if complete and status.get("phase") in {"Planned", "Committed"} else 1


def _placement(arguments: argparse.Namespace) -> JsonObject:
    files = cast(list[str], arguments.files)
    tables = [file for file in files if file.endswith(".csv")]
    manifests = [file for file in files if not file.endswith(".csv")]
    objects = read_manifests(manifests) if manifests else []
    given = [obj for obj in objects if obj.get("kind") == "Placement"]
    if given:
        if len(objects) > 1:
            raise BadRequest("a Placement is given alone: it says itself which pods and hosts")
        for flag in _SAID_BY_A_PLACEMENT:
            if getattr(arguments, flag):
                option = f"--{flag.replace('_', '-')}"
                raise BadRequest(f"{option} and a Placement are too much: it says that itself")
        return given[0]
    templates: list[Json] = [template_of(obj, n) for n, obj in enumerate(workloads(objects))]
    nodes: list[Json] = [obj for obj in objects if obj.get("kind") == "Node"]
    for table in tables:
        templates += template_entries(table)
        nodes += host_objects(table)
    pods: JsonObject = {"templates": templates} if templates else {}
    if arguments.all or arguments.selector:
        pods["selector"] = _selector(cast("str | None", arguments.selector) or "")
    if not pods:
        raise BadRequest("no pods to place: give --filename, --selector or --all")
    spec: JsonObject = {
        "mode": "commit" if arguments.commit else "plan",
        "pods": pods,
        "objective": _goals(cast("str | None", arguments.objective) or _OBJECTIVE),
        "deadlineSeconds": cast("int | None", arguments.deadline) or _DEADLINE,
    }
    limits: JsonObject = {
        field: given
        for field, given in (
            ("maxMoves", cast("int | None", arguments.max_moves)),
            ("maxPreemptions", cast("int | None", arguments.max_preemptions)),
        )
        if given is not None
    }
    if limits:
        spec["limits"] = limits
    if nodes:
        spec["hosts"] = {"nodes": nodes}
    if arguments.profile:
        spec["profile"] = cast(str, arguments.profile)
    return {"apiVersion": "ironfree.dev/v1", "kind": "Placement", "spec": spec}


def workloads(objects: Sequence[JsonObject]) -> Iterator[JsonObject]:
    """Yield the Pods and workloads among objects, and tell what else but Nodes is left out.

    Raises:
        BadRequest: there is a PodGroup, of which a plan would not be true without it.
    """
    others = Counter[str]()
    for obj in objects:
        kind = str(obj.get("kind", ""))
        if kind == "Pod" or kind in _REPLICATED:
            yield obj
        elif kind == "PodGroup":
            raise BadRequest(
                "a PodGroup holds together pods that exist: create them, and name the group in"
                " spec.pods.groups of a Placement"
            )
        elif kind != "Node":
            others[kind] += 1
    if others:
        told = ", ".join(f"{count} {kind}" for kind, count in others.items())
        print(f"left out, since it has no pods to choose hosts for: {told}", file=sys.stderr)


def template_of(obj: JsonObject, number: int) -> JsonObject:
    """Return a Pod or workload as an entry of spec.pods.templates.

    Args:
        number: names it where it has no name.
    """
    spec = child(obj, "spec")
    name = child(obj, "metadata").get("name") or f"pods-{number}"
    if obj.get("kind") == "Pod":
        labels = child(obj, "metadata").get("labels")
        template: JsonObject = {"spec": spec, "metadata": {"labels": labels or {}}}
        return {"name": name, "count": 1, "template": template}
    count = spec.get("replicas", spec.get("parallelism", 1))
    return {"name": name, "count": count, "template": child(spec, "template")}


def _selector(text: str) -> JsonObject:
    labels: JsonObject = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise BadRequest(f"--selector: {part!r} must be key=value")
        labels[key.strip()] = value.lstrip("=").strip()
    return {"matchLabels": labels} if labels else {}


def _goals(text: str) -> list[Json]:
    goals: list[Json] = []
    for part in text.split(","):
        field, equals, value = part.strip().partition("=")
        if not equals or field not in GOALS:
            known = ", ".join(f"{name}=…" for name in GOALS)
            raise BadRequest(f"--objective: {part!r} must be one of {known}")
        goals.append({field: value})
    return goals


def wait(connection: Connection, path: str, *, quiet: bool) -> JsonObject:
    """Return the Placement once nothing more is done about it, and show how far it is."""
    with _progress(quiet) as tell:
        while True:
            obj = connection.get(path)
            status = child(obj, "status")
            if status.get("phase") in FINAL:
                return obj
            tell(_line(status))
            time.sleep(_PAUSE)


@contextmanager
def _progress(quiet: bool) -> Generator[Callable[[str], None], None, None]:
    if quiet or not sys.stderr.isatty():
        yield lambda _line: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("waiting", total=None)
        yield lambda line: progress.update(task, description=line)


def _line(status: JsonObject) -> str:
    solver = child(status, "solver")
    goals = entries(solver.get("goals"))
    words = [str(status.get("phase") or "Pending"), str(solver.get("phase") or "")]
    if goals:
        bound = goals[0].get("bound") or "none known yet"
        words.append(f"{goals[0].get('name')} {goals[0].get('value')}, bound {bound}")
    words.append(str(solver.get("reason") or ""))
    return " · ".join(filter(None, words))


def assignments(connection: Connection, path: str) -> Iterator[JsonObject]:
    """Yield which pod goes where, from the path of a Placement's assignments."""
    query = {"limit": str(_PAGE)}
    while True:
        page = connection.get(path, query)
        yield from entries(page.get("items"))
        following = child(page, "metadata").get("continue")
        if not following:
            return
        query["continue"] = str(following)


def _print(status: JsonObject, found: Sequence[JsonObject]) -> None:
    for move in entries(status.get("moves")):
        source, target, why = move.get("from"), move.get("to"), move.get("why")
        print(f"move pod/{move.get('pod')} {source} -> {target}: {why}")
    for victim in entries(status.get("victims")):
        print(f"evict pod/{victim.get('pod')} from {victim.get('node')}: {victim.get('why')}")
    for each in found:
        print(f"pod/{each.get('pod')} -> {each.get('node')}")
    for left in entries(status.get("unplaced")):
        print(f"{left.get('count')} like pod/{left.get('pod')} left over: {left.get('reason')}")
    solver = child(status, "solver")
    hosts = status.get("hostsUsed", 0)
    print(f"{status.get('placed', 0)} of {status.get('pods', 0)} pods on {hosts} hosts")
    for goal in entries(solver.get("goals")):
        bound, gap = goal.get("bound"), goal.get("gap")
        proved = f"bound {bound}, gap {gap}" if bound else "no bound known"
        print(f"{goal.get('name')}: {goal.get('value')}, {proved}")
    words = (solver.get("status"), solver.get("reason"), status.get("message"))
    print(f"{status.get('phase')}: " + "; ".join(str(word) for word in words if word))


def _pods(connection: Connection, namespace: str, placement: JsonObject) -> dict[str, JsonObject]:
    """Return the specs of pods by the names that assignments have for them."""
    specs: dict[str, JsonObject] = {}
    for template in entries(child(child(placement, "spec"), "pods").get("templates")):
        count = template.get("count")
        spec = child(child(template, "template"), "spec")
        for copy in range(count if isinstance(count, int) else 0):
            specs[f"{namespace}/{template.get('name')}-{copy}"] = spec
    try:
        listed = connection.get(f"/api/v1/namespaces/{namespace}/pods")
    except StatusError:
        return specs
    for pod in entries(listed.get("items")):
        specs[f"{namespace}/{child(pod, 'metadata').get('name')}"] = child(pod, "spec")
    return specs


def _nodes(connection: Connection, placement: JsonObject) -> list[JsonObject]:
    given = entries(child(child(placement, "spec"), "hosts").get("nodes"))
    return given or entries(connection.get("/api/v1/nodes").get("items"))
