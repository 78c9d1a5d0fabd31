"""How a Placement ends that nothing comes of: whether that is proved, or not. Pure."""

from ...objects.placement_job import Phase
from ..solver.objectives import Placed
from ..solver.solution import Status
from .outcome import Outcome
from .preparation import Prepared


def failure(prepared: Prepared, outcome: Outcome) -> tuple[Phase, str] | None:
    """Return the phase in which a Placement without a plan ends, and why; None if there is one."""
    if outcome.solver.status == Status.INFEASIBLE:
        return Phase.INFEASIBLE, outcome.solver.reason
    if outcome.placed:
        return None
    reasons = dict.fromkeys(f"{each.pod}: {each.reason}" for each in outcome.unplaced)
    why = "; ".join([*outcome.violations, *list(reasons)[:3]]) or outcome.solver.reason
    if _nobody_counts(prepared, outcome):
        return Phase.INFEASIBLE, f"it is proved that no pod can be placed ({why})"
    known = "no plan was found, and it is not proved that there is none"
    if prepared.model.problem.require_all:
        why = outcome.solver.reason
    return Phase.FAILED, f"{known} ({why})"


def _nobody_counts(prepared: Prepared, outcome: Outcome) -> bool:
    """Tell whether a bound of 0 says that nobody has a place: all that are asked for count."""
    first = prepared.model.problem.objectives[0]
    everybody = isinstance(first, Placed) and bool((first.value > 0).all())
    return everybody and bool(outcome.solver.goals) and outcome.solver.goals[0].bound == "0"
