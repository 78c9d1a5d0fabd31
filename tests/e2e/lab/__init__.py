"""Real Docker hosts on one machine, with the faults that hosts have.

Each host is a dockerd of its own in its own network, mount, PID and UTS namespace, attached to one
switch. Nothing here knows the scheduler or its driver: what a host holds is asked of the daemon
through the `docker` SDK, so it is an independent witness.

Must not: leave anything behind. A lab owns a slot (a file lock); the slot names its namespaces and
its subnet, a watchdog sweeps it when the test process dies, and whoever takes it next sweeps again.
"""

from .host import Container, Host
from .lab import Lab, Tls, missing_requirements
from .podman import PodmanHost, missing_podman
from .relay import Relay

__all__ = [
    "Container",
    "Host",
    "Lab",
    "PodmanHost",
    "Relay",
    "Tls",
    "missing_podman",
    "missing_requirements",
]
