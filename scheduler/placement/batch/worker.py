"""The solver's process: problems come in on standard input, progress and solutions go out.

Run as `python -m scheduler.placement.batch.worker`. Frames are a length and a pickle, between a
parent and its own child only. It lives as long as its parent: end of input ends it, whatever it is
doing; a bug ends it, too, with the traceback on standard error.
"""

import os
import pickle
import queue
import sys
import threading
from typing import BinaryIO

from ..solver.engine import Options, solve
from .frames import LENGTH, Order, Ready, Word, frame

_NICE = 5  # the API comes first


def main() -> None:
    """Solve what comes, one problem after another."""
    os.nice(_NICE)
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no frame
    _say(output, Ready())
    threading.Thread(target=_listen, args=(sys.stdin.buffer, orders), daemon=True).start()
    while True:
        order = orders.get()
        options = Options(order.seconds, report=lambda progress: _say(output, progress))
        _say(output, solve(order.problem, options))


def _listen(source: BinaryIO, orders: "queue.SimpleQueue[Order]") -> None:
    while head := source.read(LENGTH.size):
        (length,) = LENGTH.unpack(head)
        orders.put(pickle.loads(source.read(length)))  # noqa: S301 - from our own parent
    os._exit(0)


def _say(output: BinaryIO, word: Word) -> None:
    output.write(frame(word))
    output.flush()


if __name__ == "__main__":
    main()
