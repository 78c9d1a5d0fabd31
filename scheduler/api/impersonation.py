"""Asking as somebody else (`kubectl --as`): who may, and who one is then.

Source: Kubernetes' user impersonation.
"""

from collections.abc import Iterator
from urllib.parse import unquote

from multidict import CIMultiDictProxy, istr

from ..access.identity import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    User,
    account_groups,
    account_of,
)
from ..access.rbac import Attributes
from ..errors import BadRequest
from .authorization import Authorizer

# found without being lowered first: every request is looked at
_USER, _GROUP, _UID = istr("Impersonate-User"), istr("Impersonate-Group"), istr("Impersonate-Uid")
_EXTRA = "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"

Headers = CIMultiDictProxy[str]


def asked(headers: Headers) -> bool:
    """Return whether a request is to be taken as somebody else's."""
    return _USER in headers or _GROUP in headers or _UID in headers


async def impersonated(authorizer: Authorizer, user: User, headers: Headers) -> User:
    """Return who a user wants to be.

    Raises:
        BadRequest: nobody is named. Forbidden: the user may not be that one.
    """
    wanted = _wanted(headers)
    for attributes in _needed(wanted):
        await authorizer.check(user, attributes)
    return User(wanted.name, wanted.uid, _all_groups(wanted), wanted.extra)


def _wanted(headers: Headers) -> User:
    """Return who the headers name, groups only as they say."""
    name = headers.get(_USER, "")
    if not name:
        raise BadRequest(f"{_GROUP} and {_UID} need {_USER}: without it nobody is impersonated")
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            key = unquote(header.lower().removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    return User(name, headers.get(_UID, ""), tuple(headers.getall(_GROUP, ())), extra)


def _needed(wanted: User) -> Iterator[Attributes]:
    """Yield every right that it takes to be somebody."""
    account = account_of(wanted.name)
    if account is not None:
        yield Attributes("impersonate", account[0], "", "serviceaccounts", name=account[1])
    else:
        yield Attributes("impersonate", resource="users", name=wanted.name)
    for group in wanted.groups:
        yield Attributes("impersonate", resource="groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Attributes("impersonate", "", _AUTHENTICATION, "userextras", key, value)
    if wanted.uid:
        yield Attributes("impersonate", "", _AUTHENTICATION, "uids", name=wanted.uid)


def _all_groups(wanted: User) -> tuple[str, ...]:
    """Return the groups one is in then: a ServiceAccount's own unless others are named."""
    account = account_of(wanted.name)
    groups = wanted.groups
    if account is not None and not groups:
        groups = account_groups(account[0])
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    anonymous = wanted.name == ANONYMOUS.name
    return (*groups, UNAUTHENTICATED if anonymous else AUTHENTICATED)
