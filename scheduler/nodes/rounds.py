"""Looks at a host every so often, at other moments than at other hosts."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from ..errors import DriverError, Fenced, StatusError

_log = logging.getLogger(__name__)


async def rounds(
    look: Callable[[], Awaitable[None]], interval: float, first: tuple[float, float], what: str
) -> None:
    """Look until cancelled; a look that fails is told of once and made again next time.

    Args:
        interval: seconds, give or take a fifth.
        first: between how many intervals the first look is, for thousands of hosts may connect in
            one moment.
        what: is looked at, for the log.

    Raises:
        Fenced: another leader has taken over.
    """
    wait, trouble = random.uniform(*first), ""
    while True:
        await asyncio.sleep(interval * wait)
        wait = random.uniform(0.8, 1.2)
        try:
            await look()
            trouble = ""
        except Fenced:
            raise
        except (DriverError, StatusError) as error:
            if str(error) != trouble:
                trouble = str(error)
                _log.warning("%s: %s", what, error)
