"""The solver's process: given up in time, replaced when it is gone, and never left behind."""

import asyncio
import os
import signal

import numpy as np
import pytest

from scheduler.errors import SolverFailed
from scheduler.placement.batch import engine
from scheduler.placement.batch.engine import SolverProcess
from scheduler.placement.solver.objectives import HostCost, Placed
from scheduler.placement.solver.problem import problem


@pytest.fixture
async def solver():
    process = SolverProcess()
    yield process
    await process.close()


def small():
    """Return a problem that is solved at once."""
    return problem(np.full((1, 2), 4), np.array([[2]]), np.array([3]))


def hard():
    """Return a problem that is made better until its deadline."""
    random = np.random.default_rng(1)
    free, demand = np.full((2, 300), 8000), random.integers(500, 4900, (2, 100))
    goals = (Placed(np.ones(100)), HostCost(random.uniform(1, 2, 300)))
    return problem(free, demand, np.full(100, 9), objectives=goals)


async def solved(solver):
    found = await solver.solve(small(), 10.0, lambda _: None)
    return found is not None and int(found.copies.sum()) == 3


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def begun(solver, seconds=600.0):
    """Have the solver work; return the task and the worker's pid once it says something."""
    news = asyncio.Event()
    task = asyncio.create_task(solver.solve(hard(), seconds, lambda _: news.set()))
    async with asyncio.timeout(60):
        await news.wait()
    return task, solver.pid


async def test_one_process_solves_one_problem_after_another(solver):
    assert await solved(solver)
    pid = solver.pid
    assert await solved(solver)
    assert solver.pid == pid
    await solver.close()
    assert not is_there(pid)


async def test_a_worker_that_has_stopped_is_given_up_and_replaced(solver, monkeypatch):
    monkeypatch.setattr(engine, "_MORE", 0.5)
    monkeypatch.setattr(engine, "_WARM_UP", 600.0)  # which only a new process may take
    assert await solved(solver)
    pid = solver.pid
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(60):
        assert await solver.solve(small(), 0.5, lambda _: None) is None
    assert not is_there(pid)
    assert await solved(solver)


async def test_a_worker_that_is_killed_fails_its_problem_only(solver):
    task, pid = await begun(solver)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SolverFailed, match="ended with code -9"):
        await task
    assert await solved(solver)


async def test_a_worker_that_was_killed_while_idle_is_replaced(solver):
    assert await solved(solver)
    os.kill(solver.pid, signal.SIGKILL)
    await solver._process.wait()
    assert await solved(solver)


async def test_who_cancels_leaves_no_process_behind(solver):
    task, pid = await begun(solver)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_there(pid)
    assert await solved(solver)


async def test_a_process_that_does_not_start_is_no_deadline_that_passed(solver, monkeypatch):
    monkeypatch.setattr(engine, "_WARM_UP", 0.0)
    with pytest.raises(SolverFailed, match="was not ready within 0 s"):
        await solver.solve(small(), 10.0, lambda _: None)
    assert solver.pid is None
