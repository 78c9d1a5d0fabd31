"""Cells that volumes, claims and storage classes print the same way (kubectl's conventions)."""

from ..json import JsonObject
from ..kind import Column
from .fields import child, text, texts

UNSET = "<unset>"
_SHORT = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
ACCESS_MODES = tuple(_SHORT)

CAPACITY = Column("Capacity", description="How much it holds.")
MODES = Column("Access Modes", description="How it can be mounted.")
STATUS = Column("Status", description="Its phase.")
CLASS = Column("StorageClass", description="The StorageClass it is of.")
ATTRIBUTES = Column("VolumeAttributesClass", description="The VolumeAttributesClass it has.")
MODE = Column("VolumeMode", priority=1, description="Filesystem or Block.")


def modes(obj: JsonObject) -> str:
    """Return accessModes in short, in kubectl's order."""
    given = texts(obj, "accessModes")
    return ",".join(short for mode, short in _SHORT.items() if mode in given)


def phase(obj: JsonObject) -> str:
    """Return the phase, Terminating for what is being deleted."""
    if child(obj, "metadata").get("deletionTimestamp"):
        return "Terminating"
    return text(child(obj, "status"), "phase")


def storage(amounts: JsonObject) -> str:
    """Return the amount of storage, "" where none is said."""
    amount = amounts.get("storage")
    return "" if amount is None else str(amount)
