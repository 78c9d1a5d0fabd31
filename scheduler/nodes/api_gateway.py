"""Keeps a way open from a host's pods to the API, and says where it begins."""

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from ..drivers import Host
from ..errors import DriverError
from ..networks import Backend, Connect, Entry, GatewayHost, Listener
from .memory import Backoff
from .pacing import Pacer

_log = logging.getLogger(__name__)
_STEADY = 30.0  # seconds that it must have gone well for, to count as the first failure again
_TELLING = 3  # failures in a row after which the log says so


@dataclass(frozen=True, slots=True)
class ApiService:
    """Where pods find the API.

    Args:
        address, port: of the Service `kubernetes`.
        connect: opens one connection to the API; OSError when that does not answer.
    """

    address: str
    port: int
    connect: Connect


class ApiGateway:
    """One per session.

    Args:
        service: None has nothing done.
        have: has the host know where the Service leads now.
        pacer: of beginnings, over all hosts.
    """

    def __init__(
        self,
        node: str,
        host: Host,
        service: ApiService | None,
        have: Callable[[Entry], None],
        pace: Backoff,
        pacer: Pacer,
    ) -> None:
        self._node = node
        self._host = host
        self._service = service
        self._have = have
        self._pace = pace
        self._pacer = pacer

    async def run(self) -> None:
        """Keep it open, until cancelled."""
        host, service = self._host, self._service
        clock, failures = asyncio.get_running_loop().time, 0
        if service is None or not isinstance(host, GatewayHost):
            return
        while True:
            begun = math.inf
            try:
                async with AsyncExitStack() as stack:
                    opening = partial(stack.enter_async_context, host.gateway(service.connect))
                    gateway = await self._pacer.send(opening, first=False)
                    begun = clock()
                    self._lead(service, gateway.backend)
                    await gateway.over()
                why = "it ended"
            except DriverError as error:
                why = str(error)
            self._lead(service)
            failures = 1 if clock() - begun > _STEADY else failures + 1
            if failures == _TELLING:
                _log.warning("node %s: its pods do not reach the API: %s", self._node, why)
            await asyncio.sleep(self._pace.delay(failures).total_seconds())

    def _lead(self, service: ApiService, *backends: Backend) -> None:
        self._have(Listener(service.address, service.port, "TCP", backends))
