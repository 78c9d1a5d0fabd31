"""The driver "simulated": keeps the machines and opens connections to them."""

from scheduler.drivers import HostAddress

from .host import SimulatedHost
from .machine import Machine
from .shape import read_shape


class SimulatedDriver:
    """Implements scheduler.drivers.Driver. Machines live as long as the driver."""

    name = "simulated"

    def __init__(self) -> None:
        self._machines: dict[str, Machine] = {}

    async def connect(self, address: HostAddress) -> SimulatedHost:
        """Open a host, making its machine on first sight; a new shape replaces the old.

        Raises:
            EngineRejected: the address cannot be read.
            HostUnreachable: the machine is off or cut off.
        """
        name, shape = read_shape(address.url, address.options)
        machine = self._machines.get(name)
        if machine is None:
            machine = self._machines[name] = Machine(name, len(self._machines), shape)
        machine.shape = shape
        machine.check()
        return SimulatedHost(machine, address.cluster)

    def machine(self, name: str) -> Machine:
        """Return a machine that has been connected to, to do something to it."""
        return self._machines[name]
