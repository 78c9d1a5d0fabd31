"""What a Rebalance asks, read: which pods and hosts, and what there should be room for. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

import msgspec

from ...objects.json import Json
from ...objects.kinds.priority import PriorityView
from ...objects.pod import LabelSelector
from ...objects.pod_class import PodClass
from ...objects.rebalance_job import MOST_COPIES, MOST_SHAPES, RebalanceJob
from ...objects.selectors import EVERYTHING, Selector, from_label_selector
from ...plugin_manager import Rules
from ..batch.preparation import preferable
from ..batch.selection import class_of
from .defragmenting import Wanted
from .floor import Floor
from .movability import Scope, resting_since
from .objective import Objective
from .waiting import Waiting


def scope_of(job: RebalanceJob, now: datetime) -> Scope:
    """Return which pods may be moved, and among which hosts."""
    spec = job.spec
    return Scope(
        hosts=_selector(spec.hosts.selector),
        pods=_selector(spec.pods.selector),
        namespaces=frozenset(spec.pods.namespaces),
        rested=resting_since(now, spec.rest_seconds),
        profile=spec.profile,
    )


def shapes_of(
    job: RebalanceJob,
    waiting: Sequence[Waiting],
    floor: Floor,
    priorities: Mapping[str, PriorityView],
) -> tuple[Wanted, ...]:
    """Return the shapes that there should be room for: those named, or those that wait.

    Args:
        priorities: PriorityClasses by name.

    Raises:
        BadRequest: a template cannot be read.
    """
    if job.spec.goal != "defragment":
        return ()
    named = [
        Wanted(each.name, class_of(each.template, each.name, "default", priorities), each.count)
        for each in job.spec.shapes
    ]
    if named:
        return tuple(named)
    found: dict[PodClass, Wanted] = {}
    for each in waiting:
        for pod, count in each.members:
            before = found[pod].count if pod in found else 0
            found[pod] = Wanted(each.name, pod, min(before + count, MOST_COPIES))
    return tuple(sorted(found.values(), key=lambda w: -floor.size_of(w.pod))[:MOST_SHAPES])


def objective_of(job: RebalanceJob, rules: Rules) -> Objective | None:
    """Return what should become better, None for nothing.

    Raises:
        BadRequest: something is to be preferred that nobody knows.
    """
    if job.spec.goal != "improve":
        return None
    preferable(job.spec.objective, rules)
    return Objective(job.spec.objective, rules.scorers, job.spec.min_gain_percent / 100)


def _selector(given: LabelSelector | None) -> Selector:
    if given is None or not (given.match_labels or given.match_expressions):
        return EVERYTHING
    return from_label_selector(cast(Json, msgspec.to_builtins(given)))
