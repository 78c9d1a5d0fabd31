"""The agent of one host: connects, runs sessions, says when it cannot; empties it in the end.

A host that does not answer is unknown, not dead: its Node is left as it is (the node lifecycle
controller judges by the missing heartbeat) and only the DockerHost says what is wrong.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from ..drivers import Driver, Host, HostAddress, HostInfo
from ..errors import (
    ConfigurationError,
    Conflict,
    DriverError,
    Fenced,
    HostUnreachable,
    Unavailable,
)
from ..networks import NetworkedHost
from ..objects.stored import StoredObject
from .assigned_pod import BY_NODE, AssignedPod
from .circuit import CircuitState
from .company import HostCompany
from .decommission import blocked, cordon, empty, forget_pods, hold, let_go, unregister
from .docker_host import SYSTEM, DockerHost, host_address, tls_key
from .engines import EngineTaken
from .heartbeat import Heartbeat
from .memory import Backoff, PodMemory
from .office import Office
from .reachability import tell_failure, tell_reached
from .reconnection import Reconnection
from .registrar import Registrar
from .registration import Registration
from .session import Session

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connects:
    """Room to connect to hosts: those that have failed before wait for each other alone."""

    first: asyncio.Semaphore
    again: asyncio.Semaphore


class NodeAgent:
    """One host's agent."""

    def __init__(
        self,
        office: Office,
        docker_host: DockerHost,
        drivers: Mapping[str, Driver],
        connects: Connects,
        lease: StoredObject | None = None,
    ) -> None:
        self.docker_host = docker_host
        self.heartbeat = Heartbeat(office, docker_host.name, lease)
        self.registrar = Registrar(office, docker_host.name, self._remade)
        self._office = office
        self._drivers = drivers
        self._connects = connects
        self._session: Session | None = None
        self._memories: dict[str, PodMemory] = {}
        self._said = ""
        settings = office.settings
        self.reconnection = Reconnection(
            Backoff(settings.reconnect_initial, settings.reconnect_limit)
        )

    @property
    def name(self) -> str:
        """The node's name."""
        return self.docker_host.name

    @property
    def host(self) -> Host | None:
        """The open connection, if there is one now."""
        return self._session.host if self._session else None

    @property
    def circuit(self) -> CircuitState:
        """What may be sent to the engine; nothing while there is no session."""
        return self._session.circuit.state if self._session else CircuitState.OPEN

    @property
    def alive(self) -> bool:
        """Whether the engine has answered lately."""
        if self._session is None:
            return False
        settings = self._office.settings
        patience = settings.ping * 1.1 * settings.ping_failures + settings.ping_timeout
        return asyncio.get_running_loop().time() - self._session.alive_at <= patience

    async def run(self) -> None:
        """Keep the host connected, forever; or empty it, if its DockerHost is being deleted.

        Raises:
            Fenced: another leader has taken over.
        """
        loop = asyncio.get_running_loop()
        while True:
            work = self._emptied() if self.docker_host.deleting else self._connected()
            try:
                # A task of its own: until Python 3.13 a TaskGroup whose child fails at its end
                # leaves its task as if somebody had cancelled it, which would end the agent below.
                why = await asyncio.create_task(work, name=f"connection to {self.name}")
                if not why:
                    return
            except Exception as error:
                if _is_fenced(error):
                    raise
                _log.exception("the agent of host %s met a bug; it starts over", self.name)
                why = "an internal error"
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # a failure in the same moment hid it
                raise asyncio.CancelledError
            self.reconnection.ended(loop.time())
            self._say(why)
            await asyncio.sleep(self.reconnection.pause())

    def _say(self, what: str) -> None:
        """Log how the host is, once for as long as it stays so."""
        if what != self._said:
            self._said = what
            _log.info("host %s: %s", self.name, what)

    async def _connected(self) -> str:
        """Connect and run one session; returns why it ended."""
        try:
            host, info = await self._open()
        except (DriverError, ConfigurationError) as error:
            await tell_failure(self._office, self.docker_host, error, str(error))
            return str(error)
        except Unavailable as error:
            return str(error)
        try:
            return await self._serve(host, info)
        finally:
            self._session = None
            await self._close(host)

    async def _emptied(self) -> str:
        """Remove all pods, the Node and the finalizer; returns why it could not be, "" if done."""
        office, why = self._office, ""
        try:
            await cordon(office, self.name)
            emptied = await self._empty()
            await unregister(office, self.name)
            if emptied:
                await forget_pods(office, self.name)
            await let_go(office, self.docker_host)
        except* (DriverError, ConfigurationError) as group:
            error = _leaf(group)
            why = str(error)
            await tell_failure(office, self.docker_host, error, blocked(self.name, why))
        except* (Unavailable, Conflict) as group:
            why = _first(group)
        return why

    async def _empty(self) -> bool:
        try:
            host, _ = await self._open()
        except EngineTaken:
            return False  # whoever has it removes what it does not know
        try:
            await empty(self._office, self.name, host)
            if self._office.network is not None and isinstance(host, NetworkedHost):
                await host.leave()
        finally:
            await self._close(host)
        return True

    async def _close(self, host: Host) -> None:
        with contextlib.suppress(DriverError, TimeoutError):
            async with asyncio.timeout(self._office.settings.connect_timeout):
                await host.close()

    async def _open(self) -> tuple[Host, HostInfo]:
        docker_host = self.docker_host
        driver = self._drivers.get(docker_host.spec.driver)
        if driver is None:
            known = ", ".join(sorted(self._drivers)) or "none"
            raise ConfigurationError(
                f'no driver "{docker_host.spec.driver}" is installed (installed: {known}); '
                "correct spec.driver or install the plugin that has it"
            )
        self._check_engine(None)
        room = self._connects.again if self.reconnection.troubled else self._connects.first
        try:
            async with room:
                address = await self._address()
                async with asyncio.timeout(self._office.settings.connect_timeout):
                    return await self._open_at(driver, address)
        except TimeoutError as error:
            raise HostUnreachable(
                f"{docker_host.spec.address} did not answer in "
                f"{self._office.settings.connect_timeout:g} s; is the engine running, and does a "
                "firewall let this machine reach it?"
            ) from error

    async def _open_at(self, driver: Driver, address: HostAddress) -> tuple[Host, HostInfo]:
        host = await driver.connect(address)
        try:
            info = await host.info()
            self._check_engine(info)
            if self.reconnection.troubled:  # what cannot be looked at must not count as alive again
                await host.observe()
        except BaseException:
            await host.close()
            raise
        return host, info

    async def _address(self) -> HostAddress:
        store, key = self._office.store, tls_key(self.docker_host)
        secret = await store.get(key) if key else None
        return host_address(self.docker_host, secret, await store.get(SYSTEM))

    def _check_engine(self, info: HostInfo | None) -> None:
        pods = len(self._office.pods.by_index(BY_NODE, self.name))
        self._office.engines.check(self.docker_host, info, pods)

    async def _serve(self, host: Host, info: HostInfo) -> str:
        self.registrar.begin(self.docker_host, info)
        ended: list[Exception] = []
        try:
            held = await hold(self._office, self.docker_host)
            if held is None:
                return "its DockerHost is being deleted"
            made = await self.registrar.join(host)
            await self._office.pods.reached(await self.heartbeat.renew())
            session = Session(self._office, made, host, self._memories, self.registrar)
            await session.look_around()
            await self.registrar.register()
            latest = None if self.reconnection.troubled else held  # which knows of no outage since
            await tell_reached(self._office, self.docker_host, info, latest)
            self._session = session
            # What has changed since it began, and what else was found to run there.
            await self.registrar.changed(self.docker_host)
            self.reconnection.connected(asyncio.get_running_loop().time())
            self._say("its engine answers")
            await session.run()
        except* (DriverError, Unavailable) as group:
            ended.append(cast("Exception", group))
        return _first(ended[0]) if ended else "the session ended"

    def _remade(self, made: Registration) -> None:
        if self._session is not None:
            self._session.remade(made)

    # --- news -------------------------------------------------------------------------------

    @property
    def company(self) -> HostCompany | None:
        """Who starts pods of cohorts there, if the host can start many at once now."""
        company = self._session.company if self._session is not None else None
        return company if company is not None and company.crowd_host is not None else None

    def notice(self, uid: str, current: AssignedPod | None) -> None:
        """Take in a pod's present state in the store."""
        if self._session is not None:
            self._session.notice(uid, current)

    async def changed(self, docker_host: DockerHost) -> None:
        """Take in a DockerHost that changed but is reached as before."""
        self.docker_host = docker_host
        if self._session is not None:
            await hold(self._office, docker_host)
            await self.registrar.changed(docker_host)

    async def examine(self, docker_host: DockerHost) -> None:
        """Ask the engine again what it is, and put that on the DockerHost and the Node."""
        self.docker_host = docker_host
        host = self.host
        if host is None:
            return  # its conditions say why it is not reached
        try:
            async with asyncio.timeout(self._office.settings.connect_timeout):
                info = await host.info()
        except (DriverError, TimeoutError) as error:
            _log.info("host %s cannot be examined: %s", self.name, error)
            return
        self.registrar.examined(docker_host, info)
        await tell_reached(self._office, docker_host, info)
        await self.registrar.register()

    def disagrees(self, node: StoredObject | None) -> bool:
        """Return whether the Node in the store is not what this live host says it is."""
        if not self.alive:
            return False
        if not self.heartbeat.arrives:
            return False  # the controller would only object again
        return self.registrar.differs(node)


def _leaf(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


def _first(error: Exception) -> str:
    return str(_leaf(error))


def _is_fenced(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return any(_is_fenced(each) for each in group.exceptions)
    return isinstance(error, Fenced)
