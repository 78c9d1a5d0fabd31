"""The solver as a process that is there when it is wanted, and gone at its deadline.

Solving takes seconds and both cores' attention; the process that serves the API keeps out of it.
One problem at a time; whoever cancels kills the process, and the next problem gets another.
"""

import asyncio
import contextlib
import logging
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

from ...errors import SolverFailed
from ..solver.problem import Problem
from ..solver.solution import Progress, Solution
from .frames import LENGTH, Order, Word, frame

logger = logging.getLogger(__name__)

_GRACE = 1.1  # times the deadline, and
_MORE = 5.0  # seconds beyond, after which it is killed
_WARM_UP = 30.0  # seconds to start in, before the first problem; OR-Tools takes one
_LINE_LIMIT = 1 << 16


class SolverProcess:
    """Solves problems, in a process of its own."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Which process it is at present, None where there is none."""
        return None if self._process is None else self._process.pid

    async def solve(
        self, problem: Problem, seconds: float, heard: Callable[[Progress], None]
    ) -> Solution | None:
        """Return the solution, None when it did not come in time.

        Args:
            seconds: until the solver must answer with what it has.
            heard: called with progress, in this loop.

        Raises:
            SolverFailed: the process did not start, or ended before it answered.
        """
        async with self._turn:
            try:
                process = await self._running()
                async with asyncio.timeout(seconds * _GRACE + _MORE):
                    return await _converse(process, Order(problem, seconds), heard)
            except TimeoutError:
                logger.warning("the solver did not answer within %g s and was ended", seconds)
                await self.close()
                return None
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"{__package__}.worker",
                stdin=PIPE,
                stdout=PIPE,
                limit=_LINE_LIMIT,
            )
            try:
                async with asyncio.timeout(_WARM_UP):
                    await _heard(self._process)  # that it is ready
            except TimeoutError as error:
                raise SolverFailed(
                    f"the solver's process was not ready within {_WARM_UP:g} s; the machine may be "
                    "overloaded, try again"
                ) from error
        return self._process


async def _converse(process: Process, order: Order, heard: Callable[[Progress], None]) -> Solution:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # reading tells what became of it
        process.stdin.write(frame(order))
        await process.stdin.drain()
    while True:
        word = await _heard(process)
        if isinstance(word, Solution):
            return word
        if isinstance(word, Progress):
            heard(word)


async def _heard(process: Process) -> Word:
    assert process.stdout is not None
    try:
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        return pickle.loads(await process.stdout.readexactly(length))  # noqa: S301 - ours
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        code = await process.wait()
        raise SolverFailed(
            f"the solver's process ended with code {code} before it answered"
        ) from error
