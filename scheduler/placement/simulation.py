"""What would happen: a scenario is placed as the service would place it, and nothing is written.

The same rules, the same greedy and the same preemption decide; every node's verdict and scores can
be told. Pods are tried in the order given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import BadRequest, ConfigurationError, PluginError
from ..objects.json import Json, JsonObject
from ..objects.pod_class import PodClass
from ..plugin_manager import PluginManager, Rules
from ..profile import GATES, Profile, only
from ..snapshot import Snapshot
from .beside import beside
from .draft import Draft
from .framework import Diagnosis, Framework
from .gang_standing import Standing, standing_of, try_together
from .inspection import NodeVerdict, inspect, verdict_document
from .preemption import Scope, ineligible, preempt
from .scenario import Scenario, ScenarioPod
from .tenancy import Tenancy

_EXPLAIN = ("none", "summary", "full")
MOST_VERDICTS = 2_000_000  # nodes told of, all results together


@dataclass(frozen=True, slots=True)
class Question:
    """What a Simulation asks, the scenario aside.

    Args:
        profile: None for that of each pod's schedulerName.
        place_all: count placed pods in for those after them.
        explain: "none", "summary" or "full": how much is said of nodes.
    """

    profile: Profile | None
    place_all: bool
    explain: str


def read_question(spec: JsonObject) -> Question:
    """Return what a Simulation's spec asks.

    Raises:
        BadRequest: names the field that cannot be.
    """
    profile = spec.get("profile")
    chosen: Profile | None = None
    if profile is not None:
        if not isinstance(profile, dict):
            raise BadRequest("spec.profile must be an object")
        rules = profile.get("plugins")
        if not isinstance(rules, list):
            raise BadRequest("spec.profile.plugins must be a list")
        chosen = only(rules)
    place_all = spec.get("placeAll", True)
    if not isinstance(place_all, bool):
        raise BadRequest("spec.placeAll must be true or false")
    explain = spec.get("explain") or "summary"
    if explain not in _EXPLAIN:
        raise BadRequest(f"spec.explain is {explain!r}; it must be one of {', '.join(_EXPLAIN)}")
    return Question(chosen, place_all, str(explain))


class Simulation:
    """Answers one question about one scenario; synchronous, for a thread of its own.

    Args:
        profiles: by schedulerName.
    """

    def __init__(
        self,
        plugins: PluginManager,
        profiles: Mapping[str, Profile],
        question: Question,
        scenario: Scenario,
    ) -> None:
        self._plugins = plugins
        self._profiles = profiles
        self._question = question
        self._scenario = scenario
        self._rules: dict[str, tuple[Rules, Framework]] = {}
        self._told = 0
        self._start = 0  # the row where the next search for victims starts
        self._members: dict[str, JsonObject] = {}  # uid → what was found of it with its gang

    def run(self) -> JsonObject:
        """Return the status of the Simulation.

        Raises:
            BadRequest: the profile's rules or arguments cannot be, or there is too much to tell.
        """
        results: list[Json] = [self._try(pod) for pod in self._scenario.pending]
        placed = sum(1 for r in results if isinstance(r, dict) and r.get("nodeName") is not None)
        return {"placed": placed, "unplaced": len(results) - placed, "results": results}

    def _try(self, pod: ScenarioPod) -> JsonObject:
        standing = None
        if pod.uid not in self._members and not _untried(pod, self._framework(pod)[0]):
            standing = standing_of(self._scenario, pod.wanted)
        if standing is not None and standing.apart:
            self._try_gang(standing)
        return self._members.pop(pod.uid, None) or self._try_alone(pod)

    def _try_alone(self, pod: ScenarioPod) -> JsonObject:
        profile, rules, framework = self._framework(pod)
        result = _no_answer(pod)
        untried = _untried(pod, profile)
        if untried:
            result["message"] = untried
            if self._question.explain == "full":
                result["nodes"] = self._shut_nodes(untried)
            return result
        bare = self._scenario.state.freeze(0)
        nominated = self._scenario.nominated(pod)
        if nominated:
            filters = beside(framework.filters, pod.wanted, bare, nominated)
            framework = Framework(filters, framework.scorers)
        if self._question.explain == "full":
            result["nodes"] = self._told_nodes(pod.wanted, framework, bare)
        kept = self._nominated_node(pod, framework, bare)
        decision = framework.decide(pod.wanted, 1, Draft(bare))
        if decision.rows.size:
            node = kept or bare.nodes[int(decision.rows[0])].name
            result["nodeName"] = node
            if self._question.place_all:
                self._scenario.run(pod, node)
        elif decision.diagnosis is not None:
            result |= self._unplaced(pod, rules, bare, decision.diagnosis, nominated)
        if self._question.explain == "summary" and decision.alternatives:
            result["alternatives"] = [
                {"name": a.node, "total": a.total, "scores": {**a.scores}}
                for a in decision.alternatives
            ]
        return result

    def _shut_nodes(self, why: str) -> list[Json]:
        """Return that no node was looked at, and why."""
        nodes = self._scenario.state.freeze(0).nodes
        self._count_told(len(nodes))
        shut = [NodeVerdict(n.name, False, GATES, (why,), resolvable=False) for n in nodes]
        return [verdict_document(verdict) for verdict in shut]

    def _try_gang(self, standing: Standing) -> None:
        """Find out about all members of a gang at once."""
        for member in standing.waiting:
            self._members[member.uid] = _no_answer(member) | {"message": standing.why}
        frameworks = {
            pod.wanted.scheduler_name: self._framework(pod)[2] for pod in standing.waiting
        }
        if self._question.explain == "full":
            snapshot = self._scenario.state.freeze(0)
            for member in standing.waiting:
                framework = frameworks[member.wanted.scheduler_name]
                told = self._told_nodes(member.wanted, framework, snapshot)
                self._members[member.pod.meta.uid]["nodes"] = told
        if standing.why:
            return
        allotments = try_together(self._scenario, standing, frameworks)
        pods = {member.pod.meta.uid: member for member in standing.waiting}
        for allotment in allotments:
            why = allotment.decision.diagnosis
            for each in allotment.left:
                self._members[each.uid]["message"] = why.message if why else ""
            for each, node in zip(allotment.pods, allotment.nodes, strict=True):
                result = self._members[each.uid]
                del result["message"]
                result["nodeName"] = node
                if self._question.place_all:
                    self._scenario.run(pods.pop(each.uid), node)
        if allotments[0].pods and self._question.place_all:
            for uid in pods:  # enough have nodes: they are tried alone, in their turn
                del self._members[uid]

    def _told_nodes(self, wanted: PodClass, framework: Framework, snapshot: Snapshot) -> list[Json]:
        self._count_told(snapshot.size)
        try:
            seen = inspect(wanted, snapshot, framework.filters, framework.scorers)
        except PluginError:
            return []  # the decision's message says so
        return [verdict_document(verdict) for verdict in seen.verdicts()]

    def _count_told(self, nodes: int) -> None:
        self._told += nodes
        if self._told > MOST_VERDICTS:
            raise BadRequest(
                f"explain: full would tell of more than {MOST_VERDICTS} nodes; "
                "ask about fewer pods or nodes at once"
            )

    def _nominated_node(self, pod: ScenarioPod, framework: Framework, snapshot: Snapshot) -> str:
        """Return the node a pod was nominated to, if that will have it; else ""."""
        nominated = pod.pod.status.nominated_node_name
        row = snapshot.row_of.get(nominated) if nominated else None
        if row is None:
            return ""
        try:
            seen = inspect(pod.wanted, snapshot, framework.filters, ())
        except PluginError:
            return ""  # the decision's message says so
        return nominated if row in seen.rows else ""

    def _unplaced(
        self,
        pod: ScenarioPod,
        rules: Rules,
        snapshot: Snapshot,
        diagnosis: Diagnosis,
        nominated: Mapping[str, Sequence[PodClass]],
    ) -> JsonObject:
        """Say why a pod has no node, whom it would displace, and take them out if need be."""
        if rules.preemption is None or diagnosis.failure or not snapshot.size:
            return {"message": diagnosis.message}
        budgets = tuple(self._scenario.budgets.values())
        tenancy = Tenancy(self._scenario.tenants(), budgets, nominated)
        own = pod.pod.status.nominated_node_name
        try:
            refused = ineligible(pod.wanted, own, rules.filters, snapshot, tenancy)
            if refused:
                message = replace(diagnosis, preemption=refused).message
                return {"message": message, "nominatedNodeName": own or None}
            scope = Scope(rules.preemption, self._start)
            found = preempt(pod.wanted, rules.filters, snapshot, tenancy, 1, scope)
        except PluginError as error:
            return {"message": replace(diagnosis, preemption=str(error)).message}
        self._start = found.start
        result: JsonObject = {"message": replace(diagnosis, preemption=found.message).message}
        for chosen in found.chosen:
            result["nominatedNodeName"] = chosen.node
            result["victims"] = [f"{v.key.namespace}/{v.key.name}" for v in chosen.victims]
            if self._question.place_all:
                for victim in chosen.victims:
                    self._scenario.stop(victim.uid, chosen.node)
                self._scenario.run(pod, chosen.node)
        return result

    def _framework(self, pod: ScenarioPod) -> tuple[Profile, Rules, Framework]:
        name = pod.pod.spec.scheduler_name
        profile = self._question.profile or self._profiles.get(name)
        if profile is None:
            raise BadRequest(
                f"pod {pod.name} has schedulerName {name!r}, for which there is no profile; "
                f"there are {', '.join(sorted(self._profiles))}"
            )
        found = self._rules.get(profile.name)
        if found is None:
            try:
                rules = self._plugins.rules(profile)
            except ConfigurationError as error:
                raise BadRequest(f"spec.profile: {error}") from error
            found = self._rules[profile.name] = rules, Framework(rules.filters, rules.scorers)
        return profile, *found


def _no_answer(pod: ScenarioPod) -> JsonObject:
    return {"pod": pod.name, "nodeName": None, "nominatedNodeName": None, "victims": []}


def _untried(pod: ScenarioPod, profile: Profile) -> str:
    """Return why a pod is not looked at, in kube-scheduler's words; "" if it is."""
    if pod.pod.meta.deletion_timestamp is not None:
        return f"skip schedule deleting pod: {pod.name}"
    if pod.refused:
        return pod.refused
    gates = " ".join(gate.name for gate in pod.pod.spec.scheduling_gates)
    return f"waiting for scheduling gates: [{gates}]" if gates and profile.runs(GATES) else ""
