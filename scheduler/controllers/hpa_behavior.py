"""How fast a HorizontalPodAutoscaler may go where its metrics point.

Pure. Source: Kubernetes' documented behavior of autoscaling/v2 (stabilization windows, scaling
policies, select policy). What was recommended and done is remembered by the leader; a new one
begins with the present number as its first recommendation, so that it does not shrink at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil

from ..objects.horizontal_pod_autoscaler import Behavior, ScalingPolicy, ScalingRules

_DOWN_WINDOW = 300  # seconds, where the rules do not say


@dataclass(frozen=True, slots=True)
class Past:
    """What was, at a time: a number of replicas recommended, or added, or removed."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of one autoscaler, oldest first."""

    recommended: tuple[Past, ...] = ()
    added: tuple[Past, ...] = ()
    removed: tuple[Past, ...] = ()

    def scaled(self, current: int, desired: int, now: datetime) -> "Memory":
        """Return the memory after a change of the number of replicas."""
        change = Past(now, abs(desired - current))
        if desired > current:
            return Memory(self.recommended, (*self.added, change), self.removed)
        return Memory(self.recommended, self.added, (*self.removed, change))


@dataclass(frozen=True, slots=True)
class Bounded:
    """A number of replicas, and why it is this one: a condition's reason and message.

    Args:
        changed: it is not the one that was asked for.
    """

    replicas: int
    changed: bool
    reason: str
    message: str


def remember(memory: Memory, behavior: Behavior, desired: int, now: datetime) -> Memory:
    """Return the memory with a recommendation, and without what no window reaches any more."""
    rules = (behavior.scale_up, behavior.scale_down)
    windows = (rules[0].stabilization_window_seconds or 0, down_window(behavior))
    periods = [policy.period_seconds for each in rules for policy in each.policies]
    oldest = now - timedelta(seconds=max(windows))
    done = now - timedelta(seconds=max(periods, default=0))
    kept = tuple(each for each in memory.recommended if each.at > oldest)
    return Memory(
        (*kept, Past(now, desired)), _since(memory.added, done), _since(memory.removed, done)
    )


def down_window(behavior: Behavior) -> int:
    """Return for how many seconds the highest recommendation holds."""
    given = behavior.scale_down.stabilization_window_seconds
    return _DOWN_WINDOW if given is None else given


def _since(past: Iterable[Past], when: datetime) -> tuple[Past, ...]:
    return tuple(each for each in past if each.at > when)


def stabilized(
    memory: Memory, behavior: Behavior, current: int, desired: int, now: datetime
) -> Bounded:
    """Return the recommendation that the windows leave.

    Upwards the lowest of its window holds, downwards the highest.
    """
    up = timedelta(seconds=behavior.scale_up.stabilization_window_seconds or 0)
    down = timedelta(seconds=down_window(behavior))
    lowest = min([desired, *(p.replicas for p in _since(memory.recommended, now - up))])
    highest = max([desired, *(p.replicas for p in _since(memory.recommended, now - down))])
    found = min(max(current, lowest), highest)
    if found == desired:
        said = "recommended size matches current size"
        return Bounded(found, False, "ReadyForNewScale", said)
    if desired >= current:
        said = "recent recommendations were lower than current one, applying the lowest recent one"
        return Bounded(found, True, "ScaleUpStabilized", said)
    said = "recent recommendations were higher than current one, applying the highest recent one"
    return Bounded(found, True, "ScaleDownStabilized", said)


@dataclass(frozen=True, slots=True)
class Limits:
    """minReplicas and maxReplicas."""

    least: int
    most: int


def limited(
    memory: Memory, behavior: Behavior, limits: Limits, current: int, desired: int, now: datetime
) -> Bounded:
    """Return the number that the policies and the limits leave of a stabilized one."""
    if desired > current:
        rate = max(current, _fastest(memory, behavior.scale_up, current, now, up=True))
        if desired > min(rate, limits.most):
            if limits.most > rate:
                return Bounded(rate, True, "ScaleUpLimit", _TOO_FAST.format("increasing"))
            said = "the desired replica count is more than the maximum replica count"
            return Bounded(limits.most, True, "TooManyReplicas", said)
    elif desired < current:
        rate = min(current, _fastest(memory, behavior.scale_down, current, now, up=False))
        if desired < max(rate, limits.least):
            if limits.least < rate:
                return Bounded(rate, True, "ScaleDownLimit", _TOO_FAST.format("decreasing"))
            said = "the desired replica count is less than the minimum replica count"
            return Bounded(limits.least, True, "TooFewReplicas", said)
    said = "the desired count is within the acceptable range"
    return Bounded(desired, False, "DesiredWithinRange", said)


_TOO_FAST = "the desired replica count is {} faster than the maximum scale rate"


def _fastest(memory: Memory, rules: ScalingRules, current: int, now: datetime, *, up: bool) -> int:
    """Return the farthest number that the policies allow now."""
    if rules.select_policy == "Disabled":
        return current
    farthest: Callable[[Iterable[int]], int] = max if up else min
    nearest: Callable[[Iterable[int]], int] = min if up else max
    choose = nearest if rules.select_policy == "Min" else farthest
    return choose([_allowed(memory, each, current, now, up=up) for each in rules.policies])


def _allowed(
    memory: Memory, policy: ScalingPolicy, current: int, now: datetime, *, up: bool
) -> int:
    """Return how far one policy lets the number go, reckoned from the start of its period."""
    begin = now - timedelta(seconds=policy.period_seconds)
    added = sum(each.replicas for each in _since(memory.added, begin))
    removed = sum(each.replicas for each in _since(memory.removed, begin))
    start, sign = current - added + removed, 1 if up else -1
    if policy.type == "Pods":
        return start + sign * policy.value
    changed = start * (1 + sign * Fraction(policy.value, 100))
    return ceil(changed) if up else int(changed)
