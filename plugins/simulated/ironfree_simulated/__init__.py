"""Simulated hosts for Ironfree: driver "simulated".

Hosts live in this process and run nothing; their containers start, exit and are killed on the
event loop's clock. What a host has survives reconnection, as a real host's containers do, but not
the process. Must not decide anything: it does what a driver is told.
"""

from collections.abc import Sequence

from scheduler.hookspecs import Driver, hookimpl

from .driver import SimulatedDriver
from .machine import Behaviour, Machine

__all__ = ["Behaviour", "Machine", "SimulatedDriver", "ironfree_drivers"]


@hookimpl
def ironfree_drivers() -> Sequence[Driver]:
    """Return the driver of simulated hosts."""
    return [SimulatedDriver()]
