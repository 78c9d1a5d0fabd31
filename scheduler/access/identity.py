"""Who somebody is, as Kubernetes' user.Info: a name, a uid, groups, and more by key."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .tokens import Reading

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ACCOUNTS = "system:serviceaccounts"
_ACCOUNT = "system:serviceaccount:"
_NOTHING: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who asks.

    Args:
        uid: "" where nothing tells two of that name apart.
        extra: what else whoever let them in knows of them.
    """

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NOTHING)

    @property
    def unlimited(self) -> bool:
        """Whether everything is allowed, whatever roles say."""
        return MASTERS in self.groups


ANONYMOUS = User("system:anonymous", groups=(UNAUTHENTICATED,))
"""Who shows nothing."""


def account_name(namespace: str, account: str) -> str:
    """Return the name by which a ServiceAccount is a user."""
    return f"{_ACCOUNT}{namespace}:{account}"


def account_of(name: str) -> tuple[str, str] | None:
    """Return namespace and name of the ServiceAccount that is a user, None for other users."""
    if not name.startswith(_ACCOUNT):
        return None
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    return (namespace, account) if namespace and account and ":" not in account else None


def account_groups(namespace: str) -> tuple[str, ...]:
    """Return the groups of every ServiceAccount of a namespace."""
    return ACCOUNTS, f"{ACCOUNTS}:{namespace}"


def account_user(reading: Reading) -> User:
    """Return the user that a token of a ServiceAccount speaks for."""
    holder = reading.holder
    extra = {"authentication.kubernetes.io/credential-id": (f"JTI={reading.token_id}",)}
    if holder.pod:
        extra["authentication.kubernetes.io/pod-name"] = (holder.pod,)
        extra["authentication.kubernetes.io/pod-uid"] = (holder.pod_uid,)
    return User(
        account_name(holder.namespace, holder.account),
        holder.account_uid,
        (*account_groups(holder.namespace), AUTHENTICATED),
        extra,
    )
