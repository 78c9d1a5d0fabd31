"""Volumes, claims and storage classes as they are known, for snapshots. Pure."""

from collections.abc import MutableMapping
from typing import TypeVar

from ..objects.storage import (
    CLAIMS,
    CLASSES,
    VOLUMES,
    Claim,
    NamedClass,
    PersistentVolume,
    Storage,
    claim_view,
    class_view,
    volume_view,
)
from ..objects.stored import ObjectKey, StoredObject

RESOURCES = (VOLUMES, CLAIMS, CLASSES)

K = TypeVar("K")
V = TypeVar("V")


class StorageTable:
    """Takes over objects one by one; says nothing of any before it has been told to."""

    def __init__(self) -> None:
        self._claims: dict[tuple[str, str], Claim] = {}
        self._volumes: dict[str, PersistentVolume] = {}
        self._classes: dict[str, NamedClass] = {}
        self._known = False
        self._frozen: Storage | None = None

    def begin(self) -> None:
        """From now on, what is not here does not exist."""
        self._known = True

    def set(self, key: ObjectKey, stored: StoredObject | None) -> None:
        """Take over an object of one of RESOURCES; None forgets it."""
        self._frozen = None
        if key.resource == CLAIMS:
            _put(self._claims, (key.namespace, key.name), stored and claim_view(stored))
        elif key.resource == VOLUMES:
            _put(self._volumes, key.name, stored and volume_view(stored))
        else:
            _put(self._classes, key.name, stored and class_view(stored))

    def freeze(self) -> Storage | None:
        """Return all of it as it is now."""
        if self._frozen is None and self._known:
            self._frozen = Storage(dict(self._claims), dict(self._volumes), dict(self._classes))
        return self._frozen


def _put(table: MutableMapping[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
