"""Who somebody is, what they may do, and how the service proves who it is itself.

Tokens of ServiceAccounts, the cluster's certificate authority, and the keys of both, which lie in
Secrets of kube-system. It must not know requests (api) or hosts (nodes).
"""

from .authority import Authority
from .keys import Keys, have_keys
from .tokens import Holder, IssuedToken, Tokens

__all__ = ["Authority", "Holder", "IssuedToken", "Keys", "Tokens", "have_keys"]
