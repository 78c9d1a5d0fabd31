"""The Docker Engine driver of Ironfree.

A pod is an infra container, which owns the network namespace, hostname and published ports, and app
containers that join it. What belongs to a pod carries labels and deterministic names, so nothing is
remembered here: a restarted scheduler finds and adopts what runs.

Must not: decide. Restarts, back-off and placement belong to the scheduler; nothing here writes to
the store, and nothing but the Docker Engine is needed on the host.
"""

from collections.abc import Sequence

from scheduler import hookimpl
from scheduler.drivers import Driver

from .driver import DockerDriver

__all__ = ["DockerDriver", "ironfree_drivers"]


@hookimpl
def ironfree_drivers() -> Sequence[Driver]:
    """The one driver of this plugin: "docker"."""
    return [DockerDriver()]
