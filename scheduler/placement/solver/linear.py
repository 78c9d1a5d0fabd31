"""Linear and integer programmes in arrays, solved through OR-Tools' MathOpt.

All programmes maximise. Models go to the solver as protocol buffers made straight from arrays,
because building them variable by variable in Python takes longer than solving them.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from google.protobuf.duration_pb2 import Duration
from ortools.math_opt import (
    callback_pb2,
    model_parameters_pb2,
    model_pb2,
    parameters_pb2,
    result_pb2,
)
from ortools.math_opt.core.python import solver

from .result import Counts, Reals

_GLOP = parameters_pb2.SOLVER_TYPE_GLOP
_PDLP = parameters_pb2.SOLVER_TYPE_PDLP
_HIGHS = parameters_pb2.SOLVER_TYPE_HIGHS
_PDLP_FROM = 400_000  # non-zeros above which a simplex falls behind


@dataclass(frozen=True, slots=True)
class Programme:
    """Maximise objective·x with A x ≤ most, 0 ≤ x ≤ upper.

    Args:
        objective, upper: (n,) float64, upper finite.
        most: (m,) float64, finite.
        rows, columns, coefficients: the non-zeros of A.
        integer: (n,) bool or None for a linear programme.
        start: (n,) a known solution of an integer programme.
    """

    objective: Reals
    upper: Reals
    most: Reals
    rows: Counts
    columns: Counts
    coefficients: Reals
    integer: Any = None
    start: Reals | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A solution, or at least what its duals prove.

    Args:
        x: (n,) or None if none was found in time.
        duals: (m,) ≥ 0, zero if the solver gave none.
        bound: no x has a larger objective; valid whatever the solver's tolerances.
    """

    x: Reals | None
    duals: Reals
    bound: float


def solve(given: Programme, seconds: float) -> Answer:
    """Solve with the simplex, a first-order method if large, or branch and bound if integer."""
    engine = _GLOP
    if given.integer is not None:
        engine = _HIGHS
    elif given.rows.size > _PDLP_FROM:
        engine = _PDLP
    parameters = parameters_pb2.SolveParametersProto(
        time_limit=_duration(seconds), threads=1
    )
    if engine == _PDLP:
        criteria = parameters.pdlp.termination_criteria.simple_optimality_criteria
        criteria.eps_optimal_relative = criteria.eps_optimal_absolute = 1e-5
    answer = _run(given, engine, parameters)
    x, duals = None, np.zeros(given.most.size)
    best = float("inf")
    if answer.solutions:
        first = answer.solutions[0]
        primal = first.primal_solution
        if first.HasField("primal_solution") and len(primal.variable_values.ids):
            x = np.zeros(given.objective.size)
            x[np.array(primal.variable_values.ids)] = primal.variable_values.values
        if first.HasField("dual_solution") and len(first.dual_solution.dual_values.ids):
            values = first.dual_solution.dual_values
            duals[np.array(values.ids)] = values.values
    if given.integer is not None:
        best = float(answer.termination.objective_bounds.dual_bound)
    duals = np.maximum(duals, 0.0)
    return Answer(x, duals, min(best, dual_bound(given, duals)))


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
        ids = np.arange(given.start.size)
        hint.variable_values.ids.extend(ids.tolist())
        hint.variable_values.values.extend(given.start.tolist())
    return cast(
        "result_pb2.SolveResultProto",
        solver.solve(
            _model(given),
            engine,
            parameters_pb2.SolverInitializerProto(),
            parameters,
            hints,
            None,
            callback_pb2.CallbackRegistrationProto(),
            None,
            None,
        ),
    )


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


def _duration(seconds: float) -> Duration:
    whole = int(min(seconds, 1e6))
    return Duration(seconds=whole, nanos=int((min(seconds, 1e6) - whole) * 1e9))
