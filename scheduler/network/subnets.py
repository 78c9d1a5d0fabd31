"""Which host has which subnet; the Nodes are the record. Pure."""

from ipaddress import IPv4Network

from .settings import PREFIX


class Subnets:
    """Gives every node a subnet of its own.

    Args:
        within: the range that they are taken from.
    """

    def __init__(self, within: IPv4Network) -> None:
        self._within = within
        self._step = 1 << (32 - PREFIX)
        self._next = 0
        self._taken: dict[str, str] = {}  # by subnet
        self._given: dict[str, str] = {}  # by node

    def keep(self, node: str, subnet: str) -> None:
        """Take in what a Node says that it has; what is not of the range counts as nothing."""
        if self._fits(subnet) and self._given.get(node) != subnet:
            self.forget(node)
            self._given[node] = subnet
            self._taken[subnet] = node

    def forget(self, node: str) -> None:
        """Take in that a Node is gone."""
        subnet = self._given.pop(node, "")
        if self._taken.get(subnet) == node:
            del self._taken[subnet]

    def of(self, node: str, present: str = "") -> str | None:
        """Return a node's subnet, a free one if it has none; None: all are taken.

        Args:
            present: what its host has from before, which it keeps if it can.
        """
        if node not in self._given:
            lasting = self._fits(present) and present not in self._taken
            free = present if lasting else self._free()
            if free is None:
                return None
            self.keep(node, free)
        return self._given[node]

    def _fits(self, subnet: str) -> bool:
        try:
            found = IPv4Network(subnet)
        except ValueError:
            return False
        return found.prefixlen == PREFIX and found.subnet_of(self._within)

    def _free(self) -> str | None:
        """Return the next free one, so that one is not used again for as long as possible."""
        first, count = int(self._within.network_address), self._within.num_addresses // self._step
        for _ in range(count):
            subnet = str(IPv4Network((first + self._next * self._step, PREFIX)))
            self._next = (self._next + 1) % count
            if subnet not in self._taken:
                return subnet
        return None
