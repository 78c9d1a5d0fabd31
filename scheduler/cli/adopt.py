"""`ironfree adopt`: makes pods of containers that run already, without restarting them."""

import argparse
import time
from typing import cast

from ..errors import BadRequest, StatusError
from ..objects.json import Json, JsonObject
from .apply import apply
from .connection import Connection, child, connect, entries, metadata, namespace_of
from .connection import add_arguments as add_client_arguments
from .get import dump
from .resources import Resources, discover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_client_arguments(parser)
    parser.add_argument("containers", nargs="*", metavar="CONTAINER", help="by name or id")
    parser.add_argument("--project", default="", metavar="NAME", help="all of a Compose project")
    parser.add_argument("--host", default="", metavar="NODE", help="default: the only one")
    parser.add_argument(
        "--plan", action="store_true", help="print the manifests, and what is lost; change nothing"
    )
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")


def run(arguments: argparse.Namespace) -> int:
    """Plan, and do it; returns 1 when something was refused or did not become a pod in time."""
    connection = connect(arguments)
    resources = discover(connection)
    namespace = namespace_of(arguments, connection)
    planned = _plan(connection, resources, arguments, namespace)
    items, refused = entries(planned.get("items")), entries(planned.get("refused"))
    if arguments.plan:
        print(dump(planned, "json") if arguments.json else _described(planned), end="")
        return 1 if refused else 0
    query = {"fieldManager": "ironfree", "force": "true"}
    done = [apply(connection, resources, each, namespace, query)[0] for each in items]
    pods = [each for each in done if each.get("kind") == "Pod"]
    if not arguments.json:
        for each in refused:
            print(f"container {each.get('container')} is not adopted: {each.get('why')}")
    running = _followed(connection, resources, pods, cast(float, arguments.timeout))
    if arguments.json:
        planned["items"] = list[Json](running)
        print(dump(planned, "json"), end="")
    else:
        for each in running:
            print(f"pod/{metadata(each)['name']} adopted")
        print("what a pod cannot say of them: `ironfree adopt --plan`, docs/hosts.md")
    return 1 if refused else 0


def _plan(
    connection: Connection, resources: Resources, arguments: argparse.Namespace, namespace: str
) -> JsonObject:
    containers, project = cast(list[str], arguments.containers), cast(str, arguments.project)
    if not containers and not project:
        raise BadRequest("name containers, or a Compose project with --project")
    host = cast(str, arguments.host) or _only_host(connection, resources)
    spec: JsonObject = {"host": host, "containers": list[Json](containers), "project": project}
    path = f"/apis/ironfree.dev/v1/namespaces/{namespace}/adoptions"
    _code, answer = connection.request("POST", path, body={"spec": spec})
    return child(answer, "status")


def _only_host(connection: Connection, resources: Resources) -> str:
    found = entries(connection.get(resources.named("dockerhosts").path()).get("items"))
    if len(found) != 1:
        raise BadRequest(f"there are {len(found)} hosts: say which with --host")
    return metadata(found[0])["name"]


def _described(planned: JsonObject) -> str:
    """Manifests as YAML; what is lost or refused as comments, so that they can be applied."""
    notes = [f"# pod {e.get('pod')} loses {e.get('what')}" for e in entries(planned.get("lost"))]
    notes += [
        f"# container {e.get('container')} is not adopted: {e.get('why')}"
        for e in entries(planned.get("refused"))
    ]
    texts = [dump(each, "yaml") for each in entries(planned.get("items"))]
    return "---\n".join(texts) + "".join(f"{note}\n" for note in notes)


def _followed(
    connection: Connection, resources: Resources, pods: list[JsonObject], patience: float
) -> list[JsonObject]:
    """Return the pods once they have their nodes.

    Raises:
        StatusError: one has none in time; with the reason that its events tell.
    """
    deadline = time.monotonic() + patience
    done: list[JsonObject] = []
    for pod in pods:
        meta = metadata(pod)
        path = resources.named("pods").path(meta["namespace"], meta["name"])
        while not _runs(pod := connection.get(path)):
            if time.monotonic() >= deadline:
                why = _complaint(connection, resources, meta)
                raise StatusError(f'pod "{meta["name"]}" is not adopted: {why}')
            time.sleep(0.1)
        done.append(pod)
    return done


def _runs(pod: JsonObject) -> bool:
    return child(pod, "status").get("phase") == "Running"


def _complaint(connection: Connection, resources: Resources, meta: dict[str, str]) -> str:
    query = {"fieldSelector": f"involvedObject.uid={meta['uid']}"}
    path = resources.named("events").path(meta["namespace"])
    events = entries(connection.get(path, query).get("items"))
    said = [str(e.get("message")) for e in events if e.get("reason") == "FailedAdoption"]
    return said[-1] if said else "no host has taken it up in time"
