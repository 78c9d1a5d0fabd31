"""Runs a container's hooks: postStart right after its start, preStop before its stop."""

import asyncio
from collections.abc import Callable

from ..drivers import Host, SandboxStatus
from ..errors import DriverError, HostUnreachable
from ..objects.handlers import LifecycleHandler
from ..objects.pod import Container, Pod
from .handlers import Target, perform
from .health import pre_stop

LEAST_GRACE = 2
"""Seconds between TERM and KILL at least, however long a preStop hook took (kubelet)."""

LOOPBACK = "127.0.0.1"

Words = tuple[str, str, str]


def pod_address(pod: Pod, sandbox: SandboxStatus | None) -> str:
    """Return a pod's address as its host reaches it."""
    if pod.spec.host_network:
        return LOOPBACK
    return sandbox.ip if sandbox is not None else ""


async def run_hook(
    host: Host,
    handler: LifecycleHandler,
    container: Container,
    where: tuple[str, str],
    within: float,
) -> str:
    """Run a hook; returns what went wrong, "" if nothing.

    Args:
        where: the container's id and the pod's address.

    Raises:
        HostUnreachable: whether it ran is unknown.
    """
    target = Target(host, container, where[0], where[1])
    try:
        outcome = await perform(handler, target, within)
    except HostUnreachable:
        raise
    except DriverError as error:
        return str(error)
    return "" if outcome.success else outcome.message or "it failed"


async def prepare_stop(
    host: Host,
    container: Container,
    where: tuple[str, str],
    grace: int,
    failed: Callable[[str], None],
) -> int:
    """Run the preStop hook, if there is one; returns the grace that is left.

    Args:
        failed: hears what went wrong; the container is stopped all the same.
    """
    hook = pre_stop(container)
    if hook is None or grace <= 0:
        return grace
    loop = asyncio.get_running_loop()
    begun = loop.time()
    why = await run_hook(host, hook, container, where, float(grace))
    if why:
        failed(why)
    return max(LEAST_GRACE, round(grace - (loop.time() - begun)))
