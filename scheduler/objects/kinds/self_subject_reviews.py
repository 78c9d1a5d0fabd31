"""Reviews of the asking client: who it is (authentication.k8s.io), what it may do (authorization).

They are computed and kept by nobody.
"""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Kind, Printer
from .printing import NAME, name


def _cells(obj: JsonObject, _now: datetime) -> tuple[Cell, ...]:
    return (name(obj),)


def _review(kind: str, room: str) -> Kind:
    return Kind(
        kind=kind,
        plural=f"{kind.lower()}s",
        message=f"{room}.v1.{kind}",
        group=f"{room}.k8s.io",
        namespaced=False,
        printer=Printer((NAME,), _cells),
        has_status=False,
        computed=True,
        verbs=("create",),
    )


IDENTITY = _review("SelfSubjectReview", "authentication")
ACCESS = _review("SelfSubjectAccessReview", "authorization")
RULES = _review("SelfSubjectRulesReview", "authorization")
