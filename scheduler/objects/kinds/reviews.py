"""Reviews of who somebody is (authentication.k8s.io) and what he may do (authorization.k8s.io).

They are computed and kept by nobody.
"""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Kind, Printer
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj),)


def _review(kind: str, room: str, *, namespaced: bool = False) -> Kind:
    return Kind(
        kind=kind,
        plural=f"{kind.lower()}s",
        message=f"{room}.v1.{kind}",
        group=f"{room}.k8s.io",
        namespaced=namespaced,
        printer=Printer((NAME,), _cells),
        has_status=False,
        computed=True,
        verbs=("create",),
    )


IDENTITY = _review("SelfSubjectReview", "authentication")
TOKEN = _review("TokenReview", "authentication")
OWN_ACCESS = _review("SelfSubjectAccessReview", "authorization")
OWN_RULES = _review("SelfSubjectRulesReview", "authorization")
ACCESS = _review("SubjectAccessReview", "authorization")
LOCAL_ACCESS = _review("LocalSubjectAccessReview", "authorization", namespaced=True)
