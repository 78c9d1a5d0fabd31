"""The keys that sign the cluster's tokens and certificates."""

import secrets
from dataclasses import dataclass

from ..cluster_secrets import Data, have_secret
from ..store.store import Store
from .authority import Authority
from .tokens import Tokens

TOKENS, AUTHORITY = "tokens", "ca"
_TOKEN_KEY, _CERTIFICATE, _KEY = "key", "ca.crt", "ca.key"
_BYTES = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs."""

    tokens: Tokens
    authority: Authority


async def have_keys(store: Store) -> Keys:
    """Return the cluster's keys; makes them the first time."""
    token = await have_secret(store, TOKENS, _token_key, _is_token_key)
    pair = await have_secret(store, AUTHORITY, _pair, _is_pair)
    return Keys(Tokens(token[_TOKEN_KEY]), Authority(pair[_CERTIFICATE], pair[_KEY]))


def _token_key() -> Data:
    return {_TOKEN_KEY: secrets.token_bytes(_BYTES)}


def _is_token_key(data: Data) -> bool:
    return len(data.get(_TOKEN_KEY, b"")) == _BYTES


def _pair() -> Data:
    certificate, key = Authority.make()
    return {_CERTIFICATE: certificate, _KEY: key}


def _is_pair(data: Data) -> bool:
    try:
        Authority(data[_CERTIFICATE], data[_KEY])
    except (KeyError, ValueError):
        return False
    return True
