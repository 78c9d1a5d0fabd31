"""Scheduling profiles: which rules run for a pod's schedulerName, how much they weigh, their args.

The spelling is that of kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration. Pure: reads
documents, knows no rule but the names that upstream gives to what is no rule here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .errors import BadRequest, ConfigurationError
from .objects.json import Json, JsonObject, get_object
from .preemption_args import PreemptionArgs

DEFAULT_NAME = "default-scheduler"
PREEMPTION = "DefaultPreemption"
GATES = "SchedulingGates"

# What upstream calls plugins and Ironfree does elsewhere, or has no use for: may be named.
BUILT_IN = frozenset(
    {
        "DefaultBinder",
        PREEMPTION,
        "DynamicResources",
        "GangScheduling",
        "NodeDeclaredFeatures",
        "NodeVolumeLimits",
        "PrioritySort",
        GATES,
    }
)
_FILTERS = ("preFilter", "filter")
_SCORES = ("preScore", "score")
_OTHERS = (
    "preEnqueue",
    "queueSort",
    "postFilter",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
)
_EVERY = "*"
_MOST_WEIGHT = 2**31 - 1  # upstream: int32, and the sum of weighted scores must not overflow


@dataclass(frozen=True, slots=True)
class PluginSet:
    """What one extension point enables and disables; "*" disables all defaults."""

    enabled: Mapping[str, int | None] = field(default_factory=dict[str, int | None])
    disabled: frozenset[str] = frozenset()

    def drops(self, name: str) -> bool:
        """Tell whether a default rule is switched off here."""
        return name in self.disabled or _EVERY in self.disabled


@dataclass(frozen=True, slots=True)
class Profile:
    """The rules of one scheduler name.

    Args:
        name: schedulerName of its pods.
        everywhere: the multiPoint set.
        filters, scores, preemption: sets of single extension points; they win over `everywhere`.
        args: rule name → its arguments.
    """

    name: str = DEFAULT_NAME
    everywhere: PluginSet = field(default_factory=PluginSet)
    filters: PluginSet = field(default_factory=PluginSet)
    scores: PluginSet = field(default_factory=PluginSet)
    preemption: PluginSet = field(default_factory=PluginSet)
    args: Mapping[str, JsonObject] = field(default_factory=dict[str, JsonObject])

    def has_filter(self, name: str) -> bool:
        """Tell whether an installed rule filters."""
        return self._has(self.filters, name)

    def weight(self, name: str, own: int) -> int:
        """Return what an installed rule's scores weigh, 0 if it does not score.

        As in kube-scheduler, one that is enabled by name and without a weight weighs 1.
        """
        if not self._has(self.scores, name):
            return 0
        for point in (self.scores, self.everywhere):
            if name in point.enabled:
                return point.enabled[name] or 1
        return own

    def position(self, name: str) -> int:
        """Return a sort key that puts filters in the order in which this profile runs them.

        Rules that run by default keep their order; without those, it is that of the enabled ones.
        """
        if not self.everywhere.drops(_EVERY):
            return 0
        listed = [*self.filters.enabled, *self.everywhere.enabled]
        return listed.index(name)

    def preempts(self) -> PreemptionArgs | None:
        """Return how pods of lower priority are evicted for those without a node, None if not.

        Raises:
            ConfigurationError: the arguments of DefaultPreemption cannot be; says which and why.
        """
        if not self._has(self.preemption, PREEMPTION):
            return None
        return PreemptionArgs.of(self.args.get(PREEMPTION, {}))

    def runs(self, name: str) -> bool:
        """Tell whether a rule that neither filters nor scores runs."""
        return self._has(PluginSet(), name)

    @property
    def named(self) -> frozenset[str]:
        """Every rule it names, "*" aside."""
        points = (self.everywhere, self.filters, self.scores, self.preemption)
        names = {name for point in points for name in (*point.enabled, *point.disabled)}
        return frozenset({*names, *self.args} - {_EVERY})

    def _has(self, point: PluginSet, name: str) -> bool:
        if name in point.enabled:
            return True
        if point.drops(name):
            return False
        return name in self.everywhere.enabled or not self.everywhere.drops(name)


PACKING = Profile(
    args=MappingProxyType(
        {
            "NodeResourcesFit": {"scoringStrategy": {"type": "MostAllocated"}},
            "PodTopologySpread": {"defaultingType": "List", "defaultConstraints": []},
        }
    )
)
"""The default profile: packs, and spreads only what asks for it."""

SPREADING = Profile(name="spreading-scheduler")
"""kube-scheduler's own default profile, under another name."""


def by_name(given: Iterable[Profile] = ()) -> dict[str, Profile]:
    """Return profiles by schedulerName: those built in, under every name they have, and `given`."""
    built_in = {DEFAULT_NAME: PACKING, "ironfree": PACKING, "": PACKING, SPREADING.name: SPREADING}
    return {**built_in, **{profile.name: profile for profile in given}}


def only(rules: Iterable[Json], name: str = DEFAULT_NAME) -> Profile:
    """Return the profile in which nothing runs but the rules listed.

    Args:
        rules: {"name": …, "weight": …, "args": {…}} each.

    Raises:
        BadRequest: an entry is malformed.
    """
    enabled: dict[str, int | None] = {}
    args: dict[str, JsonObject] = {}
    for number, entry in enumerate(rules):
        where = f"profile.plugins[{number}]"
        if not isinstance(entry, dict):
            raise BadRequest(f"{where} must be an object with a name")
        rule = _name(entry, where)
        enabled[rule] = _weight(entry, where)
        if entry.get("args") is not None:
            args[rule] = get_object(entry, "args", where)
    return Profile(name, PluginSet(enabled, frozenset({_EVERY})), args=args)


def read_profiles(document: Json) -> tuple[Profile, ...]:
    """Return the profiles of a KubeSchedulerConfiguration.

    Raises:
        ConfigurationError: it is not one, or an entry is malformed; names the field.
    """
    if not isinstance(document, dict):
        raise ConfigurationError("profiles must be a KubeSchedulerConfiguration document")
    version = document.get("apiVersion")
    if version != "kubescheduler.config.k8s.io/v1":
        raise ConfigurationError(
            f"apiVersion is {version!r}; it must be kubescheduler.config.k8s.io/v1"
        )
    if document.get("kind") != "KubeSchedulerConfiguration":
        raise ConfigurationError("kind must be KubeSchedulerConfiguration")
    entries = document.get("profiles")
    if entries is None:
        entries = [JsonObject()]
    if not isinstance(entries, list):
        raise ConfigurationError("profiles must be a list")
    try:
        profiles = tuple(_profile(entry, f"profiles[{n}]") for n, entry in enumerate(entries))
    except BadRequest as error:
        raise ConfigurationError(str(error)) from error
    names = [profile.name for profile in profiles]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two profiles have the schedulerName {name!r}")
    return profiles


def _profile(entry: Json, where: str) -> Profile:
    if not isinstance(entry, dict):
        raise BadRequest(f"{where} must be an object")
    plugins = get_object(entry, "plugins", where)
    unknown = plugins.keys() - {"multiPoint", *_FILTERS, *_SCORES, *_OTHERS}
    if unknown:
        raise BadRequest(f"{where}.plugins has no extension point {min(unknown)!r}")
    here = f"{where}.plugins"
    args: dict[str, JsonObject] = {}
    configured = entry.get("pluginConfig") or []
    if not isinstance(configured, list):
        raise BadRequest(f"{where}.pluginConfig must be a list")
    for number, config in enumerate(configured):
        spot = f"{where}.pluginConfig[{number}]"
        if not isinstance(config, dict):
            raise BadRequest(f"{spot} must be an object with name and args")
        args[_name(config, spot)] = get_object(config, "args", spot)
    name = entry.get("schedulerName") or DEFAULT_NAME
    if not isinstance(name, str):
        raise BadRequest(f"{where}.schedulerName must be text")
    return Profile(
        name,
        _set(plugins, ("multiPoint",), here),
        _set(plugins, _FILTERS, here),
        _set(plugins, _SCORES, here),
        _set(plugins, ("postFilter",), here),
        args,
    )


def _set(plugins: JsonObject, points: Iterable[str], where: str) -> PluginSet:
    enabled: dict[str, int | None] = {}
    disabled: set[str] = set()
    for point in points:
        given = get_object(plugins, point, where)
        for list_name in ("enabled", "disabled"):
            entries = given.get(list_name) or []
            here = f"{where}.{point}.{list_name}"
            if not isinstance(entries, list):
                raise BadRequest(f"{here} must be a list")
            for number, entry in enumerate(entries):
                spot = f"{here}[{number}]"
                if not isinstance(entry, dict):
                    raise BadRequest(f"{spot} must be an object with a name")
                if list_name == "enabled":
                    enabled[_name(entry, spot)] = _weight(entry, spot)
                else:
                    disabled.add(_name(entry, spot))
    return PluginSet(enabled, frozenset(disabled))


def _name(entry: JsonObject, where: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest(f"{where}.name must be a rule's name")
    return name


def _weight(entry: JsonObject, where: str) -> int | None:
    weight = entry.get("weight")
    if weight is None or weight == 0:
        return None
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 < weight <= _MOST_WEIGHT:
        raise BadRequest(f"{where}.weight must be a whole number from 1 to {_MOST_WEIGHT}")
    return weight
