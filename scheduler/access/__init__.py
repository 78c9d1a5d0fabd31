"""Who somebody is, what they may do, and how the service proves who it is itself.

Tokens of ServiceAccounts, roles and what they allow, the cluster's certificate authority, and the
keys, which no client sees. It must not know requests (api) or hosts (nodes).
"""

from .authority import Authority
from .default_roles import DEFAULT_ROLES
from .identity import User
from .keys import Keys, have_keys
from .policy import Policy
from .tokens import Holder, IssuedToken, Reading, Tokens

__all__ = [
    "DEFAULT_ROLES",
    "Authority",
    "Holder",
    "IssuedToken",
    "Keys",
    "Policy",
    "Reading",
    "Tokens",
    "User",
    "have_keys",
]
