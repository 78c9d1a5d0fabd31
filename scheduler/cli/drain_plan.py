"""What a drain would do: which pods leave a node, how, and where they or their replacements go.

A pod is replaced first where its controller does that, its quotas have room for one more, and the
rules have a node for the replacement while the pod still runs on the cordoned node. Any other is
evicted before it has a successor; where that goes is simulated without those that are evicted and
with the replacements of the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from ..objects.disruption import RESOURCE as BUDGETS
from ..objects.disruption import DisruptionBudget, disruption_budget
from ..objects.eviction import disrupts, spares
from ..objects.json import Json, JsonObject
from ..objects.kinds.quota_account import Account
from ..objects.kinds.quota_charge import charge_of
from ..objects.meta import ObjectMeta, OwnerReference
from ..objects.pod import Pod, pod_view
from ..objects.pod_owner import DAEMON_SET
from ..objects.replacement import replaceable
from ..objects.resource_quota import RESOURCE as QUOTAS
from ..objects.resource_quota import quota_view
from ..objects.stored import Binding, Body, StoredObject
from .connection import Connection, child, entries
from .resources import Resources
from .simulate import SIMULATIONS

_KEPT = ("namespace", "labels", "ownerReferences")  # of a pod, by what stands in


class How(StrEnum):
    """In which way a pod leaves."""

    REPLACE = "replace"  # its replacement is available before it goes
    EVICT = "evict"  # within its budget, and its successor comes afterwards
    DELETE = "delete"  # likewise, and nobody succeeds it
    END = "end"  # it is being deleted already


@dataclass(frozen=True, slots=True)
class Move:
    """A pod that is to leave.

    Args:
        owner: its controller.
        to: where it, or its replacement, would go; "" for nowhere.
        why_not: what is in the way then.
        victims: namespace/name of those that would have to go there for it.
        reason: of one that is evicted, why it is not replaced first.
        waits: why its budget does not let it go now, "" where it does or is not asked.
    """

    namespace: str
    name: str
    uid: str
    owner: OwnerReference | None
    how: How
    to: str = ""
    why_not: str = ""
    victims: tuple[str, ...] = ()
    reason: str = ""
    waits: str = ""

    def __str__(self) -> str:
        waits = f"; it waits: {self.waits}" if self.waits else ""
        if self.how is How.END:
            return f"pod/{self.name} is being stopped"
        if self.how is How.DELETE:
            return f"pod/{self.name} has no controller and will be gone{waits}"
        if not self.to:
            return f"pod/{self.name} is evicted and has no other node: {self.why_not}{waits}"
        once = f" once {', '.join(self.victims)} left" if self.victims else ""
        first = f", evicted first: {self.reason}" if self.how is How.EVICT else ""
        return f"pod/{self.name} -> {self.to}{once}{first}{waits}"

    def document(self) -> JsonObject:
        """Return it as --json tells of it."""
        victims: list[Json] = [*self.victims]
        return {
            "pod": f"{self.namespace}/{self.name}",
            "how": self.how.value,
            "nodeName": self.to or None,
            "message": self.why_not,
            "victims": victims,
            "replacedFirst": self.how is How.REPLACE,
            "reason": self.reason,
            "waits": self.waits,
        }


def plan(connection: Connection, resources: Resources, node: str) -> list[Move]:
    """Return what would move where, and how.

    Raises:
        StatusError: there is no such node.
    """
    host = connection.get(resources.named("nodes").path("", node))
    pods = present(connection, resources, node)
    moves = [_begun(view(pod)) for pod in pods]
    planned = _Planned(connection, _cordoned(host), pods)
    quotas = entries(connection.get(resources.named(QUOTAS).path()).get("items"))
    moves = _refused(planned.replaced(moves), pods, _accounts(quotas))
    moves = planned.evicted(moves)
    budgets = entries(connection.get(resources.named(BUDGETS).path()).get("items"))
    return _waiting(moves, pods, [disruption_budget(stored(BUDGETS, each)) for each in budgets])


def present(connection: Connection, resources: Resources, node: str) -> list[JsonObject]:
    """Return the pods that must leave a node: a DaemonSet's belong to it, and stay."""
    query = {"fieldSelector": f"spec.nodeName={node}"}
    listed = connection.get(resources.named("pods").path(), query)
    return [pod for pod in entries(listed.get("items")) if _leaves(view(pod))]


def view(pod: JsonObject) -> Pod:
    """Return the typed view of a pod as the server shows it."""
    return pod_view(stored("pods", pod))


def stored(resource: str, obj: JsonObject) -> StoredObject:
    """Return an object as the server shows it in the form that typed views are made of."""
    fields = {k: v for k, v in child(obj, "metadata").items() if k != "managedFields"}
    spec, status = child(obj, "spec"), child(obj, "status")
    node = spec.get("nodeName")
    return StoredObject(
        resource,
        msgspec.convert(fields, ObjectMeta, strict=False),
        0,
        0,
        Body(msgspec.json.encode({"spec": spec})),
        msgspec.json.encode(status) if status else b"",
        Binding(node, datetime.fromtimestamp(0, UTC)) if isinstance(node, str) and node else None,
    )


class _Planned:
    """Asks by simulation on the live cluster, with the node cordoned.

    Args:
        pods: that must leave.
    """

    def __init__(
        self, connection: Connection, cordoned: JsonObject, pods: Sequence[JsonObject]
    ) -> None:
        self._connection = connection
        self._cordoned = cordoned
        self._pods = pods

    def replaced(self, moves: Sequence[Move]) -> list[Move]:
        """Have those evicted whose replacements have no place beside all that runs now."""
        # No pod can have such a name, so a stand-in is never taken for another one.
        names = [f"{move.name} replaced" if move.how is How.REPLACE else "" for move in moves]
        pairs = zip(self._pods, names, strict=True)
        results = self._simulated([_stand_in(pod, name) for pod, name in pairs if name], [])
        found: list[Move] = []
        for move, name in zip(moves, names, strict=True):
            result = results.get(f"{move.namespace}/{name}", {})
            to = str(result.get("nodeName") or "")
            if name and not to:
                why = str(result.get("message") or "no node was found for its replacement")
                found.append(replace(move, how=How.EVICT, reason=why))
            else:
                found.append(replace(move, to=to))
        return found

    def evicted(self, moves: Sequence[Move]) -> list[Move]:
        """Say where those go that are evicted, once the pods are gone and the others replaced."""
        if not any(move.how is How.EVICT for move in moves):
            return [*moves]
        wanted = [
            _stand_in(pod, move.name, move.to)
            for pod, move in zip(self._pods, moves, strict=True)
            if move.how in {How.REPLACE, How.EVICT}
        ]
        results = self._simulated(wanted, [f"{move.namespace}/{move.name}" for move in moves])
        return [
            _placed(move, results.get(f"{move.namespace}/{move.name}", {}))
            if move.how is How.EVICT
            else move
            for move in moves
        ]

    def _simulated(self, pods: Sequence[Json], gone: Sequence[Json]) -> dict[str, JsonObject]:
        spec: JsonObject = {
            "cluster": "live",
            "explain": "none",
            "nodes": [self._cordoned],
            "without": {"pods": [*gone]},
            "pods": [*pods],
        }
        _code, answer = self._connection.request("POST", SIMULATIONS, body={"spec": spec})
        return {str(r.get("pod")): r for r in entries(child(answer, "status").get("results"))}


def _leaves(pod: Pod) -> bool:
    owner = pod.meta.controller_owner()
    return not pod.terminal and (owner is None or owner.kind != DAEMON_SET.kind)


def _begun(pod: Pod) -> Move:
    """Return a pod's move as far as it follows from the pod alone."""
    owner, reason = pod.meta.controller_owner(), ""
    if pod.meta.deletion_timestamp is not None:
        how = How.END
    elif owner is None:
        how = How.DELETE
    elif replaceable(pod):
        how = How.REPLACE
    else:
        how, reason = How.EVICT, f"its {owner.kind} does not replace it while it is there"
    return Move(pod.meta.namespace, pod.meta.name, pod.meta.uid, owner, how, reason=reason)


def _cordoned(node: JsonObject) -> JsonObject:
    return {**node, "spec": {**child(node, "spec"), "unschedulable": True}}


def _stand_in(pod: JsonObject, name: str, node: str = "") -> JsonObject:
    """Return a pod of the same class, on a node if one is named."""
    meta, spec = child(pod, "metadata"), {**child(pod, "spec")}
    del spec["nodeName"]
    if node:
        spec["nodeName"] = node
    kept = {key: meta[key] for key in _KEPT if key in meta}
    return {"metadata": {**kept, "name": name}, "spec": spec}


def _placed(move: Move, result: JsonObject) -> Move:
    named = result.get("victims")
    victims = tuple(str(each) for each in named) if isinstance(named, list) else ()
    to = str(result.get("nodeName") or (victims and result.get("nominatedNodeName")) or "")
    return replace(move, to=to, victims=victims, why_not=str(result.get("message") or ""))


def _accounts(quotas: Iterable[JsonObject]) -> dict[str, list[Account]]:
    """Return the quotas whose numbers can be believed, by namespace."""
    found: dict[str, list[Account]] = {}
    for each in quotas:
        quota = stored(QUOTAS, each)
        if quota_view(quota).counted:
            found.setdefault(quota.meta.namespace, []).append(Account(quota, 0))
    return found


def _refused(
    moves: Iterable[Move], pods: Iterable[JsonObject], accounts: Mapping[str, Sequence[Account]]
) -> list[Move]:
    """Have those evicted whose replacements their namespace's quotas have no room for."""
    found: list[Move] = []
    for move, pod in zip(moves, pods, strict=True):
        held = accounts.get(move.namespace, ()) if move.how is How.REPLACE else ()
        charge = charge_of("pods", stored("pods", pod).body, ended=False)
        concerned = [each for each in held if each.matches(charge)]
        whys = (each.missing(charge) or each.exceeded(charge.amounts) for each in concerned)
        why = next(filter(None, whys), "")
        if why:
            found.append(replace(move, how=How.EVICT, to="", reason=why))
            continue
        for each in concerned:
            each.add(charge.amounts, 1)
        found.append(move)
    return found


def _waiting(
    moves: Iterable[Move], pods: Iterable[JsonObject], budgets: Sequence[DisruptionBudget]
) -> list[Move]:
    """Say of those that are evicted which their budgets do not let go at once."""
    left = {id(each): each.status.disruptions_allowed for each in budgets}
    found: list[Move] = []
    for move, each in zip(moves, pods, strict=True):
        pod, waits = view(each), ""
        covering = [budget for budget in budgets if budget.covers(pod)]
        if move.how not in {How.EVICT, How.DELETE} or not disrupts(pod):
            covering = []
        if len(covering) > 1:
            waits = "more than one PodDisruptionBudget covers it"
        elif covering and not spares(covering[0], pod):
            left[id(covering[0])] -= 1
            if left[id(covering[0])] < 0:
                waits = f"its disruption budget {covering[0].meta.name} does not let it go yet"
        found.append(replace(move, waits=waits))
    return found
