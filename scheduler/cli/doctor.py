"""`ironfree node doctor`: what is wrong with a host, and what to mend.

The service examines the host, for it is the service that reaches it; this demands it by an
annotation, waits, and prints the DockerHost's conditions.
"""

import time
import uuid
from typing import cast

from rich.console import Console
from rich.text import Text

from ..objects.json import JsonObject
from .connection import MERGE_PATCH, Connection, child, entries
from .get import dump
from .resources import Resources

EXAMINE = "ironfree.dev/examine"
_OURS = frozenset({"Ready", "Examined"})


def doctor(
    connection: Connection, resources: Resources, name: str, seconds: float, *, as_json: bool
) -> int:
    """Examine and print; returns 1 where something is to be mended.

    Args:
        seconds: patience; then what was known before is printed.

    Raises:
        StatusError: there is no such host.
    """
    host = _examined(connection, resources, name, seconds)
    checks = findings(host)
    if as_json:
        print(dump({"host": name, "checks": [*checks]}, "json"), end="")
    else:
        tell(checks)
        if not checks:
            print("it has not been reached yet")
    return 0 if checks and all(check["sound"] for check in checks) else 1


def findings(host: JsonObject) -> list[JsonObject]:
    """Return what was found of a DockerHost: check, sound, message."""
    return [
        {
            "check": condition.get("type"),
            "sound": condition.get("status") == "True",
            "message": condition.get("message"),
        }
        for condition in entries(child(host, "status").get("conditions"))
        if condition.get("type") not in _OURS
    ]


def tell(checks: list[JsonObject]) -> None:
    """Print findings for people."""
    console = Console(highlight=False)
    width = max((len(str(check["check"])) for check in checks), default=0)
    for check in sorted(checks, key=lambda each: bool(each["sound"])):
        sound = bool(check["sound"])
        mark = Text("ok  " if sound else "mend", style="green" if sound else "bold yellow")
        console.print(mark, f"{check['check']:<{width}}", Text(str(check["message"])))


def _examined(
    connection: Connection, resources: Resources, name: str, seconds: float
) -> JsonObject:
    path = resources.named("dockerhosts").path("", name)
    demand = uuid.uuid4().hex
    body: JsonObject = {"metadata": {"annotations": {EXAMINE: demand}}}
    host = connection.request("PATCH", path, body=body, content_type=MERGE_PATCH)[1]
    deadline = time.monotonic() + seconds
    while not _answers(host, demand) and (left := deadline - time.monotonic()) > 0:
        query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": "0"}
        query["timeoutSeconds"] = str(max(1, int(left)))
        for _, host in connection.watch(resources.named("dockerhosts").path(), query):
            if _answers(host, demand):
                break
    return host


def _answers(host: JsonObject, demand: str) -> bool:
    """Return whether the host was examined for this, or is known not to be reached."""
    conditions = {
        cast(str, c.get("type")): c for c in entries(child(host, "status").get("conditions"))
    }
    away = conditions.get("Reachable", {}).get("status") == "False"
    return away or conditions.get("Examined", {}).get("message") == demand
