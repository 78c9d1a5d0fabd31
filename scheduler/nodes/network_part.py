"""Whether a host is part of the network of pods, and how it leaves."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from ..drivers import Host
from ..errors import EngineRejected
from ..network import NetworkBook
from ..networks import NetworkedHost
from .registration import Part, Registration
from .rounds import rounds

_AGAIN = 30.0  # seconds between tries to leave, while old pods have addresses of the subnet
_NO_PART = (
    "it takes no part in the network of pods, as its DockerHost has it (spec.options.network) or "
    "because of its engine or processor"
)


async def joined(book: NetworkBook | None, host: Host, made: Registration) -> Registration:
    """Have a host be part of the network; where it cannot be, its Node tells why."""
    if book is None or not isinstance(host, NetworkedHost):
        return made
    network = await book.join(made.host.name, await host.subnet())
    if network is None:
        return replace(made, network=None, offline="there is no subnet left for this host")
    try:
        joins = await host.join(network)
    except EngineRejected as error:
        return replace(made, network=None, offline=str(error))
    if joins:
        return replace(made, network=network, part=Part.TAKEN)
    return await left(host, replace(made, network=None, offline=_NO_PART))


async def left(host: Host, made: Registration) -> Registration:
    """Have a host leave, whose pods with addresses of its subnet may run on without a network."""
    if isinstance(host, NetworkedHost) and await host.subnet():
        try:
            await host.leave()
        except EngineRejected:  # the engine does not remove what pods are in
            return replace(made, part=Part.LEAVING)
    return replace(made, part=Part.NONE)


async def leaving(node: str, leave: Callable[[], Awaitable[None]]) -> None:
    """Have a host leave as soon as it can, until cancelled."""
    await rounds(leave, _AGAIN, (1, 1.2), f"subnet of host {node}")
