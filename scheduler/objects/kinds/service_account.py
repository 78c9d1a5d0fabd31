"""ServiceAccount (core/v1): the pull secrets and the tokens of the pods that name it."""

from datetime import datetime

from ..json import JsonObject
from ..kind import Cell, Column, Kind, Printer
from .fields import children
from .printing import AGE, NAME, age, name


def _cells(obj: JsonObject, now: datetime) -> tuple[Cell, ...]:
    return (name(obj), len(children(obj, "secrets")), age(obj, now))


KIND = Kind(
    kind="ServiceAccount",
    plural="serviceaccounts",
    message="core.v1.ServiceAccount",
    short_names=("sa",),
    printer=Printer(
        (NAME, Column("Secrets", "integer", description="Number of secrets."), AGE),
        _cells,
    ),
    has_status=False,
    subresources=("token",),
)
