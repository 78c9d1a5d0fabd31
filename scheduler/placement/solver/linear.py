"""Linear and integer programmes in arrays, solved through OR-Tools' MathOpt.

All programmes maximise. Models go to the solver as protocol buffers made straight from arrays,
because building them variable by variable in Python takes longer than solving them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from google.protobuf.duration_pb2 import Duration
from ortools.math_opt import (
    callback_pb2,
    model_parameters_pb2,
    model_pb2,
    parameters_pb2,
    result_pb2,
    solution_pb2,
)
from ortools.math_opt.core.python import solver

from .arrays import Counts, Mask, Reals

_call = cast("Callable[..., result_pb2.SolveResultProto]", solver.solve)  # pyright: ignore[reportUnknownMemberType] - its stub says nothing

_GLOP = parameters_pb2.SOLVER_TYPE_GLOP
_PDLP = parameters_pb2.SOLVER_TYPE_PDLP
_HIGHS = parameters_pb2.SOLVER_TYPE_HIGHS
_AT_LOWER = 2  # MathOpt's BASIS_STATUS_AT_LOWER_BOUND
_PDLP_FROM = 400_000  # non-zeros above which a simplex falls behind


@dataclass(frozen=True, slots=True)
class Basis:
    """Where a simplex ended: MathOpt's BasisStatusProto by variable and by constraint."""

    variables: Counts
    constraints: Counts

    def extended(self, size: int) -> "Basis":
        """Return it for a programme with further variables, which are at their lower bound."""
        fresh = np.full(size - self.variables.size, _AT_LOWER, dtype=np.int64)
        return Basis(np.concatenate([self.variables, fresh]), self.constraints)


@dataclass(frozen=True, slots=True)
class Programme:
    """Maximise objective·x with A x ≤ most, 0 ≤ x ≤ upper.

    Args:
        objective, upper: (n,) float64, upper finite.
        most: (m,) float64, finite.
        rows, columns, coefficients: the non-zeros of A.
        integer: (n,) bool or None for a linear programme.
        start: (n,) a known solution of an integer programme.
        basis: where the simplex starts.
    """

    objective: Reals
    upper: Reals
    most: Reals
    rows: Counts
    columns: Counts
    coefficients: Reals
    integer: Mask | None = None
    start: Reals | None = None
    basis: Basis | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A solution, or at least what its duals prove.

    Args:
        x: (n,) or None if none was found in time.
        duals: (m,) ≥ 0, zero if the solver gave none.
        bound: no x has a larger objective; valid whatever the solver's tolerances.
        infeasible: an integer programme's proof that there is no x.
        basis: of the simplex, if it ran.
    """

    x: Reals | None
    duals: Reals
    bound: float
    infeasible: bool = False
    basis: Basis | None = None


def solve(given: Programme, seconds: float) -> Answer:
    """Solve with the simplex, a first-order method if large, or branch and bound if integer."""
    engine = _GLOP
    if given.integer is not None:
        engine = _HIGHS
    elif given.rows.size > _PDLP_FROM:
        engine = _PDLP
    parameters = parameters_pb2.SolveParametersProto(time_limit=_duration(seconds))
    if engine != _HIGHS:  # where MathOpt has no such setting; HiGHS takes one by itself
        parameters.threads = 1
    else:
        parameters.relative_gap_tolerance = parameters.absolute_gap_tolerance = 1e-6
    if engine == _PDLP:
        criteria = parameters.pdlp.termination_criteria.simple_optimality_criteria
        criteria.eps_optimal_relative = criteria.eps_optimal_absolute = 1e-5
    answer = _run(given, engine, parameters)
    x, duals, basis = None, np.zeros(given.most.size), None
    best = float("inf")
    if answer.solutions:
        first = answer.solutions[0]
        if first.HasField("primal_solution"):
            values = first.primal_solution.variable_values
            x = _dense(values.ids, values.values, given.objective.size)
        if first.HasField("dual_solution"):
            values = first.dual_solution.dual_values
            duals = np.maximum(_dense(values.ids, values.values, given.most.size), 0.0)
        if first.HasField("basis"):
            basis = _basis(first.basis, given.objective.size, given.most.size)
    if given.integer is not None:
        best = float(answer.termination.objective_bounds.dual_bound)
        best += 1e-6 * (1.0 + abs(best)) if np.isfinite(best) else 0.0
    reason = answer.termination.reason
    impossible = reason == result_pb2.TERMINATION_REASON_INFEASIBLE
    return Answer(x, duals, min(best, dual_bound(given, duals)), impossible, basis)


def dual_bound(given: Programme, duals: Reals) -> float:
    """Return what any duals ≥ 0 prove: duals·most + Σ upper · max(0, reduced cost)."""
    weights = duals[given.rows] * given.coefficients
    reduced = given.objective - np.bincount(given.columns, weights, given.objective.size)
    return float(duals @ given.most + given.upper @ np.maximum(reduced, 0.0))


def _run(
    given: Programme, engine: int, parameters: parameters_pb2.SolveParametersProto
) -> result_pb2.SolveResultProto:
    hints = model_parameters_pb2.ModelSolveParametersProto()
    if given.start is not None:
        hint = hints.solution_hints.add()
        hint.variable_values.ids.extend(range(given.start.size))
        hint.variable_values.values.extend(given.start.tolist())
    if given.basis is not None and engine == _GLOP:
        start = hints.initial_basis
        start.variable_status.ids.extend(range(given.objective.size))
        start.variable_status.values.extend(given.basis.variables.tolist())
        start.constraint_status.ids.extend(range(given.most.size))
        start.constraint_status.values.extend(given.basis.constraints.tolist())
    nothing = callback_pb2.CallbackRegistrationProto()
    initial = parameters_pb2.SolverInitializerProto()
    return _call(_model(given), engine, initial, parameters, hints, None, nothing, None, None)


def _model(given: Programme) -> model_pb2.ModelProto:
    size, height = given.objective.size, given.most.size
    model = model_pb2.ModelProto()
    variables = model.variables
    variables.ids.extend(range(size))
    variables.lower_bounds.extend([0.0] * size)
    variables.upper_bounds.extend(given.upper.tolist())
    integers = [False] * size if given.integer is None else given.integer.tolist()
    variables.integers.extend(integers)
    model.objective.maximize = True
    paid = np.flatnonzero(given.objective)
    model.objective.linear_coefficients.ids.extend(paid.tolist())
    model.objective.linear_coefficients.values.extend(given.objective[paid].tolist())
    model.linear_constraints.ids.extend(range(height))
    model.linear_constraints.lower_bounds.extend([-np.inf] * height)
    model.linear_constraints.upper_bounds.extend(given.most.tolist())
    order = np.lexsort((given.columns, given.rows))
    matrix = model.linear_constraint_matrix
    matrix.row_ids.extend(given.rows[order].tolist())
    matrix.column_ids.extend(given.columns[order].tolist())
    matrix.coefficients.extend(given.coefficients[order].tolist())
    return model


def _dense(ids: object, values: object, size: int) -> Reals:
    array = np.zeros(size)
    array[np.array(ids, dtype=np.int64)] = np.array(values, dtype=np.float64)
    return array


def _basis(found: solution_pb2.BasisProto, size: int, height: int) -> Basis:
    parts: list[Counts] = []
    for status, many in ((found.variable_status, size), (found.constraint_status, height)):
        dense = np.zeros(many, dtype=np.int64)
        dense[np.array(status.ids, dtype=np.int64)] = np.array(status.values, dtype=np.int64)
        parts.append(dense)
    return Basis(*parts)


def _duration(seconds: float) -> Duration:
    whole = int(min(seconds, 1e6))
    return Duration(seconds=whole, nanos=int((min(seconds, 1e6) - whole) * 1e9))
