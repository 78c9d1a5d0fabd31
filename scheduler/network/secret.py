"""What hosts show each other, so that nobody else is let through to pods."""

import secrets

from ..cluster_secrets import Data, have_secret
from ..store.store import Store

NAME = "network"
_BYTES = 32
_FIELD = "secret"


async def network_secret(store: Store, epoch: int) -> str:
    """Return the cluster's secret, 64 hexadecimal digits; makes it the first time."""
    return (await have_secret(store, NAME, _make, _is_sound, epoch))[_FIELD].hex()


def _make() -> Data:
    return {_FIELD: secrets.token_bytes(_BYTES)}


def _is_sound(data: Data) -> bool:
    return len(data.get(_FIELD, b"")) == _BYTES
