"""Which DockerHost has which engine, for one engine is one node.

Two Nodes on one engine would give its room away twice and remove each other's pods. An engine is
known by its address as it is spelled, and by its own id, because several addresses may lead to it.
Whoever has it is on record in its Node and keeps it, also under the next leader.
"""

from ..drivers import HostInfo
from ..errors import ConfigurationError
from ..informer import Informer
from ..objects.node import node_view
from ..objects.stored import StoredObject
from .docker_host import BY_ENGINE, DockerHost, engine_of

ENGINE = "ironfree.dev/engine"
"""Annotation of a Node: driver and address of the engine that it was made of."""


class EngineTaken(ConfigurationError):
    """The engine is another DockerHost's, which also removes what it does not know from it."""


def recorded_engine(node: StoredObject) -> tuple[str, ...]:
    """Return what the engine is known by that a Node was made of, for an index."""
    address = node.meta.annotations.get(ENGINE, "")
    engine_id = node_view(node).status.node_info.machine_id
    return (*([address] if address else []), *([f"id {engine_id}"] if engine_id else []))


class Engines:
    """Who has which engine.

    Args:
        hosts: with index BY_ENGINE of `engine_of`.
        nodes: with index BY_ENGINE of `recorded_engine`.
    """

    def __init__(self, hosts: Informer[DockerHost], nodes: Informer[StoredObject]) -> None:
        self._hosts = hosts
        self._nodes = nodes
        self._claims: dict[str, DockerHost] = {}
        self._names: dict[str, tuple[str, ...]] = {}  # what a host's engine is known by

    def check(self, host: DockerHost, info: HostInfo | None, pods: int) -> None:
        """Let a DockerHost have the engine that it reaches, and note that it has it.

        Args:
            info: of the engine; None before it is asked, then nothing is noted.
            pods: bound to the host's Node.

        Raises:
            EngineTaken: another DockerHost has it.
            ConfigurationError: the Node's pods are on another engine.
        """
        names = _names(host, info)
        other = next((o for n in names if (o := self._holder(n)) and o.name != host.name), None)
        before = self._before(host)
        moved = bool(before) and not set(before) & set(names)
        if moved and pods and (info or other):
            raise ConfigurationError(
                f"{_address(names)} is another engine than {_address(before)}, which has the "
                f"containers of {pods} pods: put spec.address back and drain node "
                f"{host.name} first, or leave this DockerHost alone and add one for the new engine"
            )
        if other is not None:
            raise EngineTaken(
                f"{_address(names)} is DockerHost {other.name} already "
                f"({_address(_names(other, None))}); "
                "one engine is one node: delete one of the two, or correct its spec.address. Two "
                "machines cloned from one image need host names, and engine ids, of their own"
            )
        if info is not None:
            self.release(host.name)
            self._names[host.name] = names
            self._claims.update(dict.fromkeys(names, host))

    def release(self, name: str) -> None:
        """Forget what a DockerHost had in this process."""
        for known in self._names.pop(name, ()):
            if self._claims[known].name == name:
                del self._claims[known]

    def _holder(self, name: str) -> DockerHost | None:
        """Return who has had the engine, or has asked for it, first."""
        claim = self._claims.get(name)
        present = self._hosts.get("", claim.name) if claim else None
        if claim and present and present.meta.uid == claim.meta.uid:
            return present
        nodes = self._nodes.by_index(BY_ENGINE, name)
        recorded = [h for n in nodes if (h := self._hosts.get("", n.meta.name))]
        sharing = recorded or self._hosts.by_index(BY_ENGINE, name)
        return min(sharing, key=lambda host: host.stored.created_revision, default=None)

    def _before(self, host: DockerHost) -> tuple[str, ...]:
        """Return what the engine is known by that the host had until now; empty for a new host."""
        node = self._nodes.get("", host.name)
        return self._names.get(host.name) or (recorded_engine(node) if node else ())


def _address(names: tuple[str, ...]) -> str:
    return names[0].rpartition(" ")[2]


def _names(host: DockerHost, info: HostInfo | None) -> tuple[str, ...]:
    engine_id = info.engine_id if info else ""
    return (engine_of(host), *([f"id {engine_id}"] if engine_id else []))
