"""What batch rules let be of a solution, and what they say against the rest. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...batch_terms import BatchPlan
from ...snapshot import Rows
from ..solver.solution import Solution
from .following import Followed, Leash, follow
from .modelling import Model
from .preparation import Prepared


@dataclass(frozen=True, slots=True)
class Judged:
    """What is left of a solution once no batch rule says anything against it.

    Args:
        said: against what was taken out.
        whys: by demand that was taken out, what was said first.
        strict: what was said against placing more than the solver had, "" where nothing was.
    """

    followed: Followed
    said: tuple[str, ...]
    whys: dict[int, str]
    strict: str


def judge(prepared: Prepared, solution: Solution | None) -> Judged:
    """Return what batch rules let be of a solution.

    If greedy placement of what the solver left is to blame, it is left; else the classes that a
    rule names are taken out, with the gangs they belong to.

    Raises:
        PluginError: a filter or a batch rule failed.
    """
    model, said, whys, strict = prepared.model, list[str](), dict[int, str](), ""
    leash = Leash()
    while True:
        followed = follow(model, solution, prepared.framework, prepared.snapshot, leash)
        plan = counted(prepared.batch.hosts, followed.rows)
        found = [
            (f"{rule.name}: {complaint.said}", complaint.classes)
            for rule in prepared.rules
            for complaint in rule.check(prepared.batch, plan)
        ]
        if found and solution is not None and not leash.exactly:
            leash, strict = replace(leash, exactly=True), found[0][0]
            continue
        said += [message for message, _ in found]
        if not found or len(leash.out) == len(model.demands):
            return Judged(followed, tuple(said), whys, strict)
        named = frozenset(c for _, classes in found for c in classes)
        whole = any(not classes for _, classes in found) or named <= leash.out
        gone = frozenset(range(len(model.demands))) if whole else _with_gangs(model, named)
        for c in gone:
            whys.setdefault(c, next((m for m, classes in found if c in classes), found[0][0]))
        leash = replace(leash, out=leash.out | gone)


def _with_gangs(model: Model, classes: frozenset[int]) -> frozenset[int]:
    pods = [each.pod for each in model.demands]
    gangs = {(pods[c].namespace, pods[c].group) for c in classes if pods[c].group}
    more = [c for c, pod in enumerate(pods) if (pod.namespace, pod.group) in gangs]
    return classes | frozenset(more)


def counted(chosen: Rows, rows: Sequence[Rows]) -> BatchPlan:
    """Return a plan as batch rules see it.

    Args:
        chosen: (H,) rows of the hosts.
        rows: by class, one a copy.
    """
    nothing = np.zeros(0, dtype=np.int64)
    parts = [np.unique(among(chosen, mine), return_counts=True) for mine in rows]
    classes = [np.full(hosts.size, c, dtype=np.int64) for c, (hosts, _) in enumerate(parts)]
    return BatchPlan(
        np.concatenate([nothing, *classes]),
        np.concatenate([nothing, *(hosts for hosts, _ in parts)]),
        np.concatenate([nothing, *(copies for _, copies in parts)]),
        chosen.size,
    )


def among(chosen: Rows, rows: Rows) -> Rows:
    """Return which of the hosts rows of the snapshot are."""
    return np.searchsorted(chosen, rows).astype(np.int64)
