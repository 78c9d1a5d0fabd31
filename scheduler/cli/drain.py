"""`ironfree node drain`: empties a node, replacements first, and says beforehand what will move.

Pods of a ReplicationController or ReplicaSet are asked to be replaced first (see
controllers.replication_plan); one that has no other node, and what has no such controller, is
evicted, as far as its disruption budget lets it go. Pods of DaemonSets stay.
"""

import argparse
import time
from dataclasses import dataclass
from typing import cast

from ..errors import BadRequest, StatusError
from ..objects.json import JsonObject
from ..objects.pod import AT_MOST_ONCE
from ..objects.pod_owner import DAEMON_SET, REPLACING
from ..objects.replication import REPLACE_FIRST
from .connection import MERGE_PATCH, Connection, child, entries, metadata
from .get import dump
from .resources import Resources
from .simulate import SIMULATIONS

_PAUSE = 5.0  # seconds until an eviction that a budget forbade is tried again, as kubectl waits
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Move:
    """A pod that is to leave.

    Args:
        to: where it, or its replacement, would go; "" for nowhere.
        why_not: what is in the way then.
        replaceable: it has a controller that replaces it first.
        bare: nobody will replace it.
    """

    namespace: str
    name: str
    uid: str
    to: str
    why_not: str
    replaceable: bool
    bare: bool

    def __str__(self) -> str:
        what = f"pod/{self.name} -> {self.to}" if self.to else f"pod/{self.name} has no other node"
        if self.bare:
            return f"pod/{self.name} has no controller and will be gone"
        return what if self.to else f"{what}: {self.why_not}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `drain` takes besides the node."""
    parser.add_argument("--plan", action="store_true", help="only say what would move where")
    parser.add_argument(
        "--force", action="store_true", help="delete pods that no controller will replace"
    )
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="SECONDS", help="give up after so long"
    )


def drain(connection: Connection, resources: Resources, arguments: argparse.Namespace) -> int:
    """Plan, cordon, move, wait; returns 0 once the node has no pods."""
    node = cast(str, arguments.name)
    moves = plan(connection, resources, node)
    if not arguments.json:
        for move in moves:
            print(move, flush=True)
    bare = [f"{move.namespace}/{move.name}" for move in moves if move.bare]
    if arguments.plan:
        if arguments.json:
            print(dump({"node": node, "moves": [_told(move) for move in moves]}, "json"), end="")
        return 0
    if bare and not arguments.force:
        raise BadRequest(
            f"nothing was changed: no controller will replace {', '.join(bare)}; "
            "use --force to delete them"
        )
    cordon(connection, resources, node, away=True)
    deadline = time.monotonic() + arguments.timeout if arguments.timeout else None
    _Drain(connection, resources, node, deadline).run(moves)
    if arguments.json:
        print(dump({"node": node, "moved": [_told(move) for move in moves]}, "json"), end="")
    else:
        print(f"node/{node} drained")
    return 0


def cordon(connection: Connection, resources: Resources, node: str, *, away: bool) -> JsonObject:
    """Let nothing new onto a node, or again; returns the Node."""
    body = {"spec": {"unschedulable": True if away else None}}
    path = resources.named("nodes").path("", node)
    return connection.request("PATCH", path, body=body, content_type=MERGE_PATCH)[1]


def stay(connection: Connection, resources: Resources, node: str) -> None:
    """Take back that the node's pods are to be replaced."""
    pods = resources.named("pods")
    for pod in _on(connection, resources, node):
        if child(child(pod, "metadata"), "annotations").get(REPLACE_FIRST) is not None:
            _annotate(connection, pods.path(*_name(pod)), None)


def plan(connection: Connection, resources: Resources, node: str) -> list[Move]:
    """Return what would move where, by simulation.

    Raises:
        StatusError: there is no such node.
    """
    connection.get(resources.named("nodes").path("", node))
    spec = {"cluster": "live", "without": {"nodes": [node]}, "explain": "none"}
    _code, answer = connection.request("POST", SIMULATIONS, body={"spec": spec})
    results = {str(r.get("pod")): r for r in entries(child(answer, "status").get("results"))}
    return [_move(pod, results) for pod in _on(connection, resources, node)]


def _move(pod: JsonObject, results: dict[str, JsonObject]) -> Move:
    namespace, name = _name(pod)
    result = results.get(f"{namespace}/{name}", {})
    owner = _controller(pod)
    doubles = child(child(pod, "metadata"), "annotations").get(AT_MOST_ONCE) != "true"
    return Move(
        namespace,
        name,
        metadata(pod).get("uid", ""),
        to=str(result.get("nodeName") or ""),
        why_not=str(result.get("message") or ""),
        replaceable=doubles and owner.get("kind") in REPLACING,
        bare=not owner,
    )


class _Drain:
    """Moves pods off a node.

    Args:
        deadline: by the monotonic clock; None has patience.
    """

    def __init__(
        self, connection: Connection, resources: Resources, node: str, deadline: float | None
    ) -> None:
        self._connection = connection
        self._resources = resources
        self._node = node
        self._deadline = deadline
        self._pods = resources.named("pods")

    def run(self, moves: list[Move]) -> None:
        """Ask each pod to go and wait until all have.

        Raises:
            StatusError: the time is over; says who is left.
        """
        left = {move.uid: move for move in moves}
        evict: dict[str, Move] = {}
        for move in moves:
            path = self._pods.path(move.namespace, move.name)
            if not (move.replaceable and move.to):
                evict[move.uid] = move
            elif not _annotate(self._connection, path, "true"):
                del left[move.uid]
        while left:
            for uid, move in list(evict.items()):
                if self._evict(move):
                    del evict[uid]
            here = {metadata(pod).get("uid", "") for pod in self._present(bool(evict))}
            left = {uid: move for uid, move in left.items() if uid in here}
            evict = {uid: move for uid, move in evict.items() if uid in left}
            if left and self._deadline is not None and time.monotonic() > self._deadline:
                names = ", ".join(f"{move.namespace}/{move.name}" for move in left.values())
                raise StatusError(f'node "{self._node}" still has {names}; it stays cordoned')

    def _evict(self, move: Move) -> bool:
        """Evict a pod; returns whether it need not be tried again."""
        path = f"{self._pods.path(move.namespace, move.name)}/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": move.name, "namespace": move.namespace},
            "deleteOptions": {"preconditions": {"uid": move.uid}},
        }
        try:
            self._connection.request("POST", path, body=body)
        except StatusError as error:
            if error.code == _TOO_MANY:
                return False
            if error.code not in {404, 409}:
                raise
        return True

    def _present(self, soon: bool) -> list[JsonObject]:
        """Wait until something of the node's pods changes, or for a while; return the pods."""
        found = self._connection.get(self._pods.path(), _query(self._node))
        pods = entries(found.get("items"))
        limit = _PAUSE if soon else 30.0
        if self._deadline is not None:
            limit = min(limit, max(1.0, self._deadline - time.monotonic()))
        query = _query(self._node) | {
            "resourceVersion": metadata(found)["resourceVersion"],
            "timeoutSeconds": str(max(1, int(limit))),
        }
        if pods:
            for event, _ in self._connection.watch(self._pods.path(), query):
                if event == "DELETED":
                    break
            found = self._connection.get(self._pods.path(), _query(self._node))
        return entries(found.get("items"))


def _annotate(connection: Connection, path: str, value: str | None) -> bool:
    """Mark a pod; returns whether there is one."""
    body = {"metadata": {"annotations": {REPLACE_FIRST: value}}}
    try:
        connection.request("PATCH", path, body=body, content_type=MERGE_PATCH)
    except StatusError as error:
        if error.code == 404:
            return False
        raise
    return True


def _on(connection: Connection, resources: Resources, node: str) -> list[JsonObject]:
    """Return the pods that must leave a node: a DaemonSet's belong to it, and stay."""
    listed = connection.get(resources.named("pods").path(), _query(node))
    return [
        pod
        for pod in entries(listed.get("items"))
        if child(pod, "status").get("phase") not in {"Succeeded", "Failed"}
        and _controller(pod).get("kind") != DAEMON_SET.kind
    ]


def _controller(pod: JsonObject) -> JsonObject:
    owners = entries(child(pod, "metadata").get("ownerReferences"))
    return next((owner for owner in owners if owner.get("controller")), JsonObject())


def _query(node: str) -> dict[str, str]:
    return {"fieldSelector": f"spec.nodeName={node}"}


def _name(pod: JsonObject) -> tuple[str, str]:
    meta = metadata(pod)
    return meta["namespace"], meta["name"]


def _told(move: Move) -> JsonObject:
    return {
        "pod": f"{move.namespace}/{move.name}",
        "nodeName": move.to or None,
        "message": move.why_not,
        "replacedFirst": move.replaceable and bool(move.to),
    }
