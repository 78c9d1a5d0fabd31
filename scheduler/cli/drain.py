"""`ironfree node drain`: empties a node, replacements first, and says beforehand what will move.

Pods are asked to be replaced first where the plan has a node for the replacement (see drain_plan);
the others are evicted, as far as their disruption budgets let them go. A replacement that does not
come as planned is not waited for: the pod is evicted instead. Pods of DaemonSets stay.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from ..errors import BadRequest, StatusError
from ..objects.json import JsonObject
from ..objects.meta import OwnerReference
from ..objects.pod import Pod
from ..objects.pod_owner import REPLICA_SET, REPLICATION_CONTROLLER
from ..objects.replacement import Futile, awaited, futile, refusal, taken_back
from ..objects.replication import REPLACE_FIRST, Replication, replication_view
from .connection import MERGE_PATCH, Connection, entries, metadata
from .drain_plan import How, Move, plan, present, stored, view
from .get import dump
from .resources import Resources

_PAUSE = 5.0  # seconds until an eviction that a budget forbade is tried again, as kubectl waits
_LOOK = 2.0  # seconds until replacements that are awaited are looked at again
_TOO_MANY = 429
_KINDS = {kind.kind: kind for kind in (REPLICA_SET, REPLICATION_CONTROLLER)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `drain` takes besides the node."""
    parser.add_argument("--plan", action="store_true", help="only say what would move where")
    parser.add_argument(
        "--force", action="store_true", help="delete pods that no controller will replace"
    )
    parser.add_argument(
        "--timeout", type=float, default=0.0, metavar="SECONDS", help="give up after so long"
    )
    parser.add_argument(
        "--replace-timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="evict a pod whose replacement is not available after so long (default: 600)",
    )


def drain(connection: Connection, resources: Resources, arguments: argparse.Namespace) -> int:
    """Plan, cordon, move, wait; returns 0 once the node has no pods."""
    node, as_json = cast(str, arguments.name), bool(arguments.json)
    moves = plan(connection, resources, node)
    if not as_json:
        for move in moves:
            print(move, flush=True)
    bare = [f"{move.namespace}/{move.name}" for move in moves if move.how is How.DELETE]
    if arguments.plan:
        if as_json:
            print(dump({"node": node, "moves": [m.document() for m in moves]}, "json"), end="")
        return 0
    if bare and not arguments.force:
        raise BadRequest(
            f"nothing was changed: no controller will replace {', '.join(bare)}; "
            "use --force to delete them"
        )
    cordon(connection, resources, node, away=True)
    limits = Limits(cast(float, arguments.timeout) or None, cast(float, arguments.replace_timeout))
    moved = _Drain(connection, resources, node, limits, quiet=as_json).run(moves)
    if as_json:
        print(dump({"node": node, "moved": [m.document() for m in moved]}, "json"), end="")
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
    for pod in map(view, present(connection, resources, node)):
        if pod.meta.annotations.get(REPLACE_FIRST) == "true":
            _annotate(connection, pods.path(pod.meta.namespace, pod.meta.name), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a drain is patient, in seconds.

    Args:
        whole: with everything, None for as long as it takes.
        replacement: with a pod's replacement.
    """

    whole: float | None
    replacement: float


class _Drain:
    """Moves pods off a node.

    Args:
        quiet: say nothing meanwhile.
    """

    def __init__(
        self,
        connection: Connection,
        resources: Resources,
        node: str,
        limits: Limits,
        *,
        quiet: bool,
    ) -> None:
        now = time.monotonic()
        self._connection = connection
        self._resources = resources
        self._node = node
        self._pods = resources.named("pods")
        self._quiet = quiet
        self._deadline = None if limits.whole is None else now + limits.whole
        self._limits = limits
        self._patient_until = now + limits.replacement
        self._moves: dict[str, Move] = {}  # by uid, as these below
        self._left: set[str] = set()
        self._marked: set[str] = set()
        self._evict: set[str] = set()
        self._told: dict[str, str] = {}

    def run(self, moves: list[Move]) -> list[Move]:
        """Ask each pod to go and wait until all have.

        Returns:
            how each of them went.

        Raises:
            StatusError: the time is over; says who is left.
        """
        self._moves = {move.uid: move for move in moves}
        self._left = set(self._moves)
        self._begin()
        while self._left:
            for uid, why in self._given_up().items():
                self._give_up(uid, why)
            self._evict = {uid for uid in self._evict if not self._evicted(self._moves[uid])}
            here = self._wait()
            self._left &= here
            self._marked &= here
            self._evict &= here
            if self._left and self._deadline is not None and time.monotonic() > self._deadline:
                left = (self._moves[uid] for uid in self._moves if uid in self._left)
                names = ", ".join(f"{move.namespace}/{move.name}" for move in left)
                raise StatusError(f'node "{self._node}" still has {names}; it stays cordoned')
        return list(self._moves.values())

    def _begin(self) -> None:
        for uid, move in self._moves.items():
            if move.how in {How.EVICT, How.DELETE}:
                self._evict.add(uid)
            elif move.how is How.REPLACE:
                path = self._pods.path(move.namespace, move.name)
                if _annotate(self._connection, path, "true"):
                    self._marked.add(uid)
                else:
                    self._left.discard(uid)

    def _given_up(self) -> Mapping[str, str]:
        """Return why replacements that are awaited will not come, by the pods' uids."""
        if self._marked and time.monotonic() >= self._patient_until:
            why = f"its replacement was not available within {self._limits.replacement:g} s"
            return dict.fromkeys(self._marked, why)
        owners = {
            (self._moves[uid].namespace, owner.uid): owner
            for uid in self._marked
            if (owner := self._moves[uid].owner) is not None
        }
        found: dict[str, str] = {}
        for (namespace, _), owner in owners.items():
            found |= self._hopeless(namespace, owner)
        return found

    def _hopeless(self, namespace: str, reference: OwnerReference) -> Mapping[str, str]:
        """Return the same of one controller's pods."""
        owner = self._owner(namespace, reference)
        if owner is None:
            return {}
        refused = refusal(owner.status.conditions)
        unplaced = {"fieldSelector": "spec.nodeName="}
        if not refused and not any(self._owned(owner, unplaced)):
            return {}
        pods = list(self._owned(owner, {}))
        missing: Futile = futile(owner.spec.replicas, ((pod, 1) for pod in pods), refused)
        waiting = [pod for pod in pods if pod.meta.uid in self._marked and awaited(pod)]
        return {pod.meta.uid: missing.why for pod in taken_back(waiting, missing)}

    def _owner(self, namespace: str, reference: OwnerReference) -> Replication | None:
        kind = _KINDS[reference.kind]
        path = self._resources.named(reference.kind).path(namespace, reference.name)
        try:
            owner = replication_view(stored(kind.resource, self._connection.get(path)))
        except StatusError as error:
            if error.code == 404:
                return None
            raise
        return owner if owner.meta.uid == reference.uid else None

    def _owned(self, owner: Replication, query: Mapping[str, str]) -> Iterator[Pod]:
        listed = self._connection.get(self._pods.path(owner.meta.namespace), query)
        for pod in map(view, entries(listed.get("items"))):
            reference = pod.meta.controller_owner()
            if reference is not None and reference.uid == owner.meta.uid:
                yield pod

    def _give_up(self, uid: str, why: str) -> None:
        """Evict a pod that was to be replaced first."""
        move = self._moves[uid] = replace(self._moves[uid], how=How.EVICT, reason=why)
        _annotate(self._connection, self._pods.path(move.namespace, move.name), None)
        self._marked.discard(uid)
        self._evict.add(uid)
        self._say(move, f"is evicted instead: {why}")

    def _say(self, move: Move, words: str) -> None:
        """Say something of a pod, unless it was the last thing said of it."""
        if not self._quiet and self._told.get(move.uid) != words:
            print(f"pod/{move.name} {words}", flush=True)
        self._told[move.uid] = words

    def _evicted(self, move: Move) -> bool:
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
                self._say(move, f"waits: {error.message}")
                return False
            if error.code not in {404, 409}:
                raise
        return True

    def _wait(self) -> set[str]:
        """Wait until something of the node's pods changes, or for a while; return their uids."""
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        found = self._connection.get(self._pods.path(), query)
        limit = _LOOK if self._marked else _PAUSE if self._evict else 30.0
        if self._deadline is not None:
            limit = min(limit, max(1.0, self._deadline - time.monotonic()))
        watched = query | {
            "resourceVersion": metadata(found)["resourceVersion"],
            "timeoutSeconds": str(max(1, int(limit))),
        }
        if entries(found.get("items")):
            for event, _ in self._connection.watch(self._pods.path(), watched):
                if event == "DELETED":
                    break
            found = self._connection.get(self._pods.path(), query)
        return {metadata(pod).get("uid", "") for pod in entries(found.get("items"))}


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
