"""Explanations: why a pod went where it did, what every rule says of every node, and why not there.

Reads decisions and the live cluster from the store and writes nothing.
"""

import asyncio
from collections.abc import Container, Mapping

import msgspec
import numpy as np

from ..errors import BadRequest, NotFound
from ..hookspecs import Obstacle
from ..objects.json import Json, JsonObject
from ..objects.pod_class import PodClass
from ..objects.rebalance_job import RESOURCE as REBALANCES
from ..objects.rebalance_job import rebalance_job
from ..objects.stored import ObjectKey
from ..plugin_manager import PluginManager
from ..profile import Profile
from ..store.decisions import DecisionRecord
from ..store.store import Store
from . import transcript
from .framework import Framework
from .gang_standing import standing_of, try_together
from .inspection import inspect, verdict_document
from .live import Absence
from .rebalance.room import hopeless
from .remedies import Place, remedies
from .scenario import Scenario, ScenarioPod
from .simulator import live_cluster

_MOST_DECISIONS = 20
_HIGHEST_ID = (1 << 63) - 1


class Explainer:
    """Answers Explanations.

    Args:
        profiles: by schedulerName.
    """

    def __init__(
        self, store: Store, plugins: PluginManager, profiles: Mapping[str, Profile]
    ) -> None:
        self._store = store
        self._plugins = plugins
        self._profiles = profiles
        self._turn = asyncio.Lock()

    async def explain(self, namespace: str, spec: JsonObject) -> JsonObject:
        """Return the status of an Explanation.

        Args:
            spec: `pod`; `node` for why not there; `decision`, the id of an earlier one about the
                pod to tell of in full instead of the last.

        Raises:
            BadRequest: the spec cannot be read. NotFound: nothing is known of the pod, or of such a
                decision about it.
            Unavailable: the database does not answer.
        """
        name, node, wanted = _text(spec, "pod"), _text(spec, "node"), _decision_id(spec)
        if not name:
            raise BadRequest("spec.pod must be a pod's name")
        decisions = await self._store.decisions_of(namespace, name, _MOST_DECISIONS)
        status: JsonObject = {"decisions": [_decision(record) for record in decisions]}
        told = decisions[:1]
        if wanted is not None:
            told = await self._store.decisions_of(namespace, name, 1, decision=wanted)
            if not told:
                raise NotFound(f'no decision {wanted} about pods "{name}" is known', kind="pods")
        if told:
            status["then"] = await self._then(told[0].id)
        async with self._turn:
            scenario = await live_cluster(self._store, Absence())
            present = await asyncio.to_thread(self._now, scenario, f"{namespace}/{name}", node)
        if present is not None and present["nodeName"] is None and "hopeless" not in present:
            key = ObjectKey("pods", namespace, name)
            proof = await self._proved({each.uid for each in scenario.pending if each.key == key})
            present |= {"hopeless": proof} if proof else {}
        if present is None and not decisions:
            raise NotFound(f'pods "{name}" not found, nor any decision about it', kind="pods")
        return status | (present or {})

    async def _proved(self, uids: Container[str]) -> str:
        """Return what Rebalances have proved of a pod that waits, "" if nothing."""
        listing = await self._store.list(REBALANCES)
        for job in map(rebalance_job, listing.objects):
            for each in job.status.hopeless:
                if each.uid in uids and job.status.last_plan_time is not None:
                    at = _time(job.status.last_plan_time)
                    return f"{each.reason} (Rebalance {job.meta.name}, {at})"
        return ""

    async def _then(self, decision: int) -> JsonObject | None:
        """Return what was kept of a decision, None if only its record was."""
        kept = await self._store.explanation(decision)
        if kept is None:
            return None
        told, script = await asyncio.to_thread(transcript.read, kept.payload, kept.nodes)
        nodes: list[Json] = []
        for each in told:
            free: JsonObject = {**each.free}
            node = verdict_document(each.verdict)
            node["free"] = free
            nodes.append(node)
        asked: JsonObject = {**script.asked}
        weights: JsonObject = {each.name: each.weight for each in script.scores}
        return {
            "decision": str(decision),
            "madeAt": _time(kept.made_at),
            "nodeCount": script.total,
            "requests": asked,
            "weights": weights,
            "nodes": nodes,
        }

    def _now(self, scenario: Scenario, name: str, node: str) -> JsonObject | None:
        """Return what the rules say at present, the pod itself taken out; None if it is gone."""
        pod, where = _find(scenario, name)
        if pod is None:
            return None
        gang = self._gang(scenario, pod.wanted)
        if where:
            scenario.stop(pod.pod.meta.uid, where)
        profile = self._profiles.get(pod.pod.spec.scheduler_name)
        if profile is None:
            raise BadRequest(f"no profile for schedulerName {pod.pod.spec.scheduler_name!r}")
        framework = self._framework(profile)
        snapshot = scenario.state.freeze(0)
        seen = inspect(pod.wanted, snapshot, framework.filters, framework.scorers)
        nodes: list[Json] = [verdict_document(verdict) for verdict in seen.verdicts()]
        present: JsonObject = {"nodes": nodes}
        told: JsonObject = {"nodeName": where or None, "now": present}
        if gang is not None:
            told["gang"] = gang
        if not where and not seen.rows.size:
            proof = hopeless(pod, scenario, framework.filters)
            if proof:
                told["hopeless"] = proof
        if node:
            row = snapshot.row_of.get(node)
            if row is None:
                raise NotFound(f'nodes "{node}" not found', kind="nodes", name=node)
            verdict = seen.verdicts(np.array([row], dtype=np.int64))[0]
            changes: list[Json] = []
            reply = verdict_document(verdict)
            if not verdict.feasible:
                reply["details"] = [_detail(plugin, each) for plugin, each in seen.obstacles(row)]
                changes += remedies(scenario, pod, framework.filters, Place(snapshot, row))
            reply["changes"] = changes
            told["whyNot"] = reply
        return told

    def _gang(self, scenario: Scenario, pod: PodClass) -> JsonObject | None:
        """Return how the gang of a pod stands and what it waits for; None if it has none."""
        standing = standing_of(scenario, pod, self._profiles)
        if standing is None:
            return None
        why, group = standing.why, standing.group
        if standing.apart and not why:
            names = {each.wanted.scheduler_name for each in standing.waiting}
            frameworks = {name: self._framework(self._profiles[name]) for name in names}
            found = try_together(scenario, standing, frameworks)[0].decision.diagnosis
            why = found.message if found is not None else "enough members would fit now"
        return {
            "podGroup": standing.key.name,
            "minMember": None if group is None else group.spec.min_member,
            "scheduled": standing.scheduled,
            "waiting": len(standing.waiting),
            "message": why,
        }

    def _framework(self, profile: Profile) -> Framework:
        rules = self._plugins.rules(profile)
        return Framework(rules.filters, rules.scorers)


def _find(scenario: Scenario, name: str) -> tuple[ScenarioPod | None, str]:
    for pod in (*scenario.pending, *scenario.bound.values()):
        if pod.name == name:
            return pod, pod.pod.node
    return None, ""


def _detail(plugin: str, obstacle: Obstacle) -> JsonObject:
    return {"plugin": plugin, "message": obstacle.said, **obstacle.numbers}


def _decision(record: DecisionRecord) -> JsonObject:
    built = msgspec.to_builtins(record, builtin_types=())
    document: JsonObject = {key: built[key] for key in ("namespace", "pods", "outcome", "message")}
    document |= {
        "id": str(record.id),
        "madeAt": _time(record.made_at),
        "nodeName": record.node or None,
        "leaderEpoch": record.epoch,
        "alternatives": built["alternatives"],
        "rejections": built["rejections"],
    }
    return document


def _time(when: object) -> str:
    return msgspec.to_builtins(when)


def _decision_id(spec: JsonObject) -> int | None:
    value = spec.get("decision")
    if not value:
        return None
    text = str(value)
    readable = text.isascii() and text.isdecimal() and len(text) <= len(str(_HIGHEST_ID))
    if not readable or int(text) > _HIGHEST_ID:
        raise BadRequest("spec.decision must be a decision's id, as status.decisions has them")
    return int(text)


def _text(spec: JsonObject, key: str) -> str:
    value = spec.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"spec.{key} must be text")
    return value or ""
