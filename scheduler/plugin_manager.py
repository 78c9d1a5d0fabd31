"""Loads plugins, checks them against the hook specifications and shields the core from them.

Plugins are found by entry points in the group "ironfree", ordered by name. What breaks the
contract at load time (unknown hook, wrong parameter, wrong annotation, a name used twice) stops
the start with a PluginError that names the plugin; what goes wrong in a call is raised as a
PluginError naming plugin and pod class, and the caller decides what that means. This module
imports no plugin and keeps no global state.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from time import perf_counter
from types import MappingProxyType
from typing import Any, TypeVar, cast, get_args, get_type_hints

import numpy as np
import pluggy

from . import hookspecs
from .drivers import Driver
from .errors import ConfigurationError, PluginError
from .hookspecs import (
    PROJECT,
    Alike,
    Args,
    Batch,
    BatchPlan,
    BatchRule,
    Change,
    Complaint,
    Counts,
    CoupledScores,
    Coupling,
    Filter,
    FoldableCoupling,
    FoldableScores,
    Lenient,
    Mask,
    Mutual,
    MutualScorer,
    Normalise,
    PodClass,
    Rows,
    Scorer,
    Scores,
    Snapshot,
    Term,
    Verdict,
)
from .measures import Histogram, exponential
from .preemption_args import PreemptionArgs
from .profile import BUILT_IN, Profile

T = TypeVar("T")

_FEW = 32  # scores that are looked at faster one by one
_MOST_POINTS = 1e6  # of a score, that one pod more may change
_CALL_BOUNDS = exponential(0.00001, 1.5, 20)  # as kube-scheduler's
_ROOM_TYPES = (np.dtype(np.bool_).str, np.dtype(np.int64).str)
_SCORE_TYPES = (np.dtype(np.int64).str, np.dtype(np.float64).str)


class Timing:
    """How long a plugin's calls took, in seconds: those that gave an answer, and the others."""

    def __init__(self) -> None:
        self.answered = Histogram(_CALL_BOUNDS)
        self.failed = Histogram(_CALL_BOUNDS)


class GuardedFilter:
    """A filter whose every failure is a PluginError naming it, and whose time is kept."""

    def __init__(self, plugin: Filter, origin: str) -> None:
        self._plugin = plugin
        self.name: str = plugin.name
        self.wakes_on: Change = Change(plugin.wakes_on)
        self.origin = origin
        self.timing = Timing()
        self._lenient = plugin if isinstance(plugin, Lenient) else None

    def filter(self, pod: PodClass, snapshot: Snapshot) -> Verdict | None:
        """Call the filter; raises PluginError if it raises or its answer has the wrong shape."""
        started = perf_counter()
        try:
            verdict = self._plugin.filter(pod, snapshot)
        except Exception as error:
            self.timing.failed.since(started)
            raise _failed("filter", self.name, self.origin, pod) from error
        self.timing.answered.since(started)
        if verdict is None:
            return None
        self._check(verdict, snapshot)
        if verdict.coupling is None:
            return verdict
        return replace(verdict, coupling=GuardedCoupling(self, verdict.coupling, pod))

    def ignores(self, resource: str) -> bool:
        """Tell whether it never counts a resource; raises PluginError if the filter raises."""
        try:
            return self._lenient is not None and self._lenient.ignores(resource)
        except Exception as error:
            where = f"filter {self.name} of plugin {self.origin!r}"
            raise PluginError(f"{where} failed on resource {resource!r}") from error

    def _check(self, verdict: Verdict, snapshot: Snapshot) -> None:
        room = verdict.room
        if room.shape != (snapshot.size,) or room.dtype.str not in _ROOM_TYPES:
            raise PluginError(
                f"filter {self.name} of plugin {self.origin!r} answered with shape {room.shape} "
                f"{room.dtype}; it must be ({snapshot.size},) bool or int64, one per node"
            )


class GuardedCoupling:
    """A coupling whose every failure is a PluginError naming its filter."""

    def __init__(self, plugin: GuardedFilter, coupling: Coupling, pod: PodClass) -> None:
        self._plugin = plugin
        self._coupling = coupling
        self._pod = pod

    @property
    def settled(self) -> bool:
        """Whether no further copy changes `room`; raises PluginError."""
        try:
            return self._coupling.settled
        except Exception as error:
            raise self._failed() from error

    def put(self, row: int) -> None:
        """Take over a copy; raises PluginError."""
        try:
            self._coupling.put(row)
        except Exception as error:
            raise self._failed() from error

    def room(self) -> Mask:
        """Return where the next copy may run; raises PluginError."""
        try:
            return self._coupling.room()
        except Exception as error:
            raise self._failed() from error

    def groups(self) -> Alike | None:
        """Return what tells rows apart, None if the coupling does not say; raises PluginError."""
        if not isinstance(self._coupling, FoldableCoupling):
            return None
        try:
            return self._coupling.groups()
        except Exception as error:
            raise self._failed() from error

    def fold(self, rows: Rows) -> "GuardedCoupling":
        """Return the coupling for one row a group; raises PluginError."""
        assert isinstance(self._coupling, FoldableCoupling)
        try:
            return GuardedCoupling(self._plugin, self._coupling.fold(rows), self._pod)
        except Exception as error:
            raise self._failed() from error

    def _failed(self) -> PluginError:
        return _failed("filter", self._plugin.name, self._plugin.origin, self._pod)


class GuardedScorer:
    """A scorer whose every failure is a PluginError naming it, and whose time is kept."""

    def __init__(self, plugin: Scorer, origin: str, weight: int) -> None:
        self._plugin = plugin
        self.name: str = plugin.name
        self.weight: int = weight
        self.normalise: Normalise = Normalise(plugin.normalise)
        self.depends_on_copies: bool = plugin.depends_on_copies
        self.origin = origin
        self.timing = Timing()

    def score(
        self, pod: PodClass, snapshot: Snapshot, rows: Rows, copies: Counts
    ) -> "Scores | GuardedScores | None":
        """Call the scorer; raises PluginError if it raises or answers with wrong shape or range."""
        started = perf_counter()
        try:
            scores = self._plugin.score(pod, snapshot, rows, copies)
        except Exception as error:
            self.timing.failed.since(started)
            raise _failed("scorer", self.name, self.origin, pod) from error
        self.timing.answered.since(started)
        if scores is None:
            return None
        if not isinstance(scores, np.ndarray):
            return GuardedScores(self, scores, pod)
        self.check(scores, rows)
        return scores

    def mutual(
        self, pods: Sequence[PodClass], snapshot: Snapshot, rows: Rows
    ) -> tuple[Mutual, ...]:
        """Ask what pods of a batch mean to each other, () if the scorer does not say.

        Raises:
            PluginError: it raised, or answered out of shape.
        """
        if not isinstance(self._plugin, MutualScorer):
            return ()
        where = f"scorer {self.name} of plugin {self.origin!r}"
        try:
            said = tuple(self._plugin.mutual(pods, snapshot, rows))
        except Exception as error:
            raise PluginError(f"{where} failed in mutual: {error}") from error
        known, found = frozenset(range(len(pods))), list[Mutual]()
        for each in cast(tuple[object, ...], said):
            if not isinstance(each, Mutual) or not _sound(each, known, snapshot.size):
                raise PluginError(
                    f"{where} said in mutual what cannot be: it gives Mutuals, of classes 0 … "
                    f"{len(pods) - 1}, with ({snapshot.size},) int64 domains and points up to "
                    f"{_MOST_POINTS:g}"
                )
            found.append(each)
        return tuple(found)

    def check(self, scores: Scores, rows: Rows) -> None:
        """Raise PluginError if scores have the wrong shape, dtype or range."""
        where = f"scorer {self.name} of plugin {self.origin!r}"
        if scores.shape != rows.shape or scores.dtype.str not in _SCORE_TYPES:
            raise PluginError(
                f"{where} answered with shape {scores.shape} {scores.dtype}; "
                f"it must be {rows.shape} int64 or float64, one per row asked"
            )
        if scores.size == 0:
            return
        limit = 100.0 if self.normalise is Normalise.NONE else float(2**53)
        if scores.size <= _FEW and all(0.0 <= score <= limit for score in scores.tolist()):
            return
        low, high = float(scores.min()), float(scores.max())
        if not (low >= 0.0 and high <= limit):
            raise PluginError(f"{where} scored {low} to {high}; scores are 0 to {limit:g}")


def _sound(each: Mutual, known: frozenset[int], size: int) -> bool:
    shaped = each.domain.shape == (size,) and each.domain.dtype == np.int64
    finite = all(abs(points) <= _MOST_POINTS for points in each.others.values())
    return shaped and finite and known.issuperset((each.pod, *each.others))


class GuardedScores:
    """Coupled scores whose every failure is a PluginError naming the scorer."""

    def __init__(self, scorer: GuardedScorer, scores: CoupledScores, pod: PodClass) -> None:
        self._scorer = scorer
        self._scores = scores
        self._pod = pod

    def put(self, row: int) -> None:
        """Take over a copy; raises PluginError."""
        try:
            self._scores.put(row)
        except Exception as error:
            raise self._failed() from error

    def groups(self) -> Alike | None:
        """Return what tells rows apart, None if the scores do not say; raises PluginError."""
        if not isinstance(self._scores, FoldableScores):
            return None
        try:
            return self._scores.groups()
        except Exception as error:
            raise self._failed() from error

    def fold(self, rows: Rows) -> "GuardedScores":
        """Return the scores for one row a group; raises PluginError."""
        assert isinstance(self._scores, FoldableScores)
        try:
            return GuardedScores(self._scorer, self._scores.fold(rows), self._pod)
        except Exception as error:
            raise self._failed() from error

    def _failed(self) -> PluginError:
        return _failed("scorer", self._scorer.name, self._scorer.origin, self._pod)

    def scores(self, rows: Rows) -> Scores:
        """Score the next copy; raises PluginError if it fails or answers out of shape or range."""
        started = perf_counter()
        try:
            scores = self._scores.scores(rows)
        except Exception as error:
            self._scorer.timing.failed.since(started)
            raise self._failed() from error
        self._scorer.timing.answered.since(started)
        self._scorer.check(scores, rows)
        return scores


class GuardedBatchRule:
    """A batch rule whose every failure is a PluginError naming it."""

    def __init__(self, plugin: BatchRule, origin: str) -> None:
        self._plugin = plugin
        self.name: str = plugin.name
        self.origin = origin

    def terms(self, batch: Batch) -> tuple[Term, ...]:
        """Ask for the terms; raises PluginError if the rule raises or gives something else."""
        try:
            found = tuple(self._plugin.terms(batch))
        except Exception as error:
            raise self._failed("terms", str(error)) from error
        return self._all(found, get_args(Term), "terms")

    def check(self, batch: Batch, plan: BatchPlan) -> tuple[Complaint, ...]:
        """Have a plan judged; raises PluginError if the rule raises or gives something else."""
        try:
            found = tuple(self._plugin.check(batch, plan))
        except Exception as error:
            raise self._failed("check", str(error)) from error
        return self._all(found, (Complaint,), "check")

    def _all(self, found: tuple[T, ...], kinds: tuple[type, ...], what: str) -> tuple[T, ...]:
        for each in found:
            if not isinstance(each, kinds):
                raise self._failed(what, f"it gave a {type(each).__name__}")
        return found

    def _failed(self, what: str, why: str) -> PluginError:
        where = f"batch rule {self.name} of plugin {self.origin!r}"
        return PluginError(f"{where} failed in {what}: {why}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What runs for the pods of one profile, in order.

    Args:
        preemption: how pods of lower priority are evicted for those without a node; None: never.
        batch: what holds for Placements besides.
    """

    filters: tuple[GuardedFilter, ...]
    scorers: tuple[GuardedScorer, ...]
    preemption: PreemptionArgs | None = None
    batch: tuple[GuardedBatchRule, ...] = ()

    def timings(self) -> dict[tuple[str, str], Timing]:
        """Return the time spent in every rule so far, by (name, "Filter" or "Score")."""
        found = {(f.name, "Filter"): f.timing for f in self.filters}
        return found | {(s.name, "Score"): s.timing for s in self.scorers}


class PluginManager:
    """The loaded plugins, typed."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self.drivers: Mapping[str, Driver] = {}

    @classmethod
    def load(cls, *, without: Iterable[str] = ()) -> "PluginManager":
        """Load every installed plugin but those named in `without`.

        Raises:
            PluginError: a plugin cannot be imported or breaks the contract; names it.
        """
        manager = cls()
        skipped = set(without)
        for entry in sorted(entry_points(group=PROJECT), key=lambda e: e.name):
            if entry.name in skipped:
                continue
            try:
                plugin = entry.load()
            except Exception as error:
                raise PluginError(
                    f"plugin {entry.name!r} ({entry.value}) cannot be imported: {error}; "
                    f"mend or uninstall it, or leave it out by name"
                ) from error
            manager.register(plugin, entry.name)
        manager.collect()
        return manager

    def register(self, plugin: object, name: str) -> None:
        """Add one plugin; call `collect` after the last.

        Raises:
            PluginError: a hook is unknown, or its parameters do not fit its specification.
        """
        try:
            self._pluggy.register(plugin, name)
            self._pluggy.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(f"plugin {name!r} does not fit: {error}") from error
        for hook in self._pluggy.get_hookcallers(plugin) or ():
            for implementation in hook.get_hookimpls():
                if implementation.plugin is plugin:
                    _check_annotations(hook.name, implementation.function, name)

    def collect(self) -> None:
        """Ask every plugin once for its drivers, and for its rules without arguments.

        Raises:
            PluginError: a hook raised, gave the wrong kind of thing, or a name is used twice.
        """
        drivers = self._gather("ironfree_drivers", Driver, {})
        self.drivers = MappingProxyType({d.name: d for _, d in drivers})
        self.rules(Profile())

    def rules(self, profile: Profile) -> Rules:
        """Return a profile's rules, made afresh.

        Raises:
            ConfigurationError: it names a rule that nobody offers, or gives arguments that its
                rule refuses.
            PluginError: as `collect`.
        """
        args = {"args": Args(profile.args)}
        filters = self._gather("ironfree_filters", Filter, args)
        scorers = self._gather("ironfree_scorers", Scorer, args)
        batch = self._gather("ironfree_batch_rules", BatchRule, args)
        known = {rule.name for _, rule in (*filters, *scorers, *batch)} | BUILT_IN
        missing = profile.named - known
        if missing:
            raise ConfigurationError(
                f"profile {profile.name!r} names {min(missing)!r}, which no plugin offers; "
                f"there are {', '.join(sorted(known))}"
            )
        chosen = [(f, origin) for origin, f in filters if profile.has_filter(f.name)]
        chosen.sort(key=lambda rule: profile.position(rule[0].name))
        weighted = [(s, origin, profile.weight(s.name, s.weight)) for origin, s in scorers]
        return Rules(
            tuple(GuardedFilter(f, origin) for f, origin in chosen),
            tuple(GuardedScorer(s, origin, weight) for s, origin, weight in weighted if weight),
            profile.preempts(),
            tuple(GuardedBatchRule(b, origin) for origin, b in batch if profile.has_filter(b.name)),
        )

    def _gather(
        self, hook: str, protocol: type[T], arguments: Mapping[str, object]
    ) -> list[tuple[str, T]]:
        found: list[tuple[str, T]] = []
        seen: dict[str, str] = {}
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            origin: str = implementation.plugin_name
            wanted = {n: arguments[n] for n in implementation.argnames if n in arguments}
            try:
                things: Sequence[Any] = tuple(implementation.function(**wanted))
            except ConfigurationError:
                raise
            except Exception as error:
                raise PluginError(f"plugin {origin!r}: {hook} failed: {error}") from error
            for thing in things:
                _check_members(thing, protocol, f"plugin {origin!r}: {hook}")
                if thing.name in seen:
                    raise PluginError(
                        f"plugins {seen[thing.name]!r} and {origin!r} both offer "
                        f"{thing.name!r} in {hook}; leave one of them out"
                    )
                seen[thing.name] = origin
                found.append((origin, thing))
        return found


def _check_members(thing: object, protocol: type[object], where: str) -> None:
    members = [m for m in vars(protocol) if not m.startswith("_")]
    missing = [member for member in members if not hasattr(thing, member)]
    if missing:
        raise PluginError(
            f"{where} gave a {type(thing).__name__} without {', '.join(missing)}; "
            f"it must be a {protocol.__name__} as in scheduler.hookspecs"
        )
    for member in members:
        expected = getattr(protocol, member)
        if inspect.isfunction(expected):
            _check_parameters(getattr(thing, member), expected, f"{where}: {member}")


def _check_parameters(actual: Callable[..., object], expected: object, where: str) -> None:
    assert inspect.isfunction(expected)
    count = len(inspect.signature(expected).parameters) - 1
    try:
        inspect.signature(actual).bind(*range(count))
    except TypeError as error:
        raise PluginError(
            f"{where} does not take {inspect.signature(expected)}: {error}"
        ) from error


def _check_annotations(hook: str, function: Callable[..., object], name: str) -> None:
    try:
        given = get_type_hints(function)
    except NameError as error:
        raise PluginError(f"plugin {name!r}: annotation of {hook}: {error}") from error
    expected = get_type_hints(getattr(hookspecs, hook))
    for parameter, annotation in given.items():
        if parameter != "return" and annotation != expected.get(parameter):
            raise PluginError(
                f"plugin {name!r}: {hook} declares {parameter}: {annotation}, "
                f"but the specification says {expected.get(parameter)}"
            )


def _failed(kind: str, name: str, origin: str, pod: PodClass) -> PluginError:
    return PluginError(f"{kind} {name} of plugin {origin!r} failed on {pod!r}")
