"""What the garbage collector does with one object, given what became of its owners. Pure.

Kubernetes' garbage collector: attemptToDeleteItem, processDeletingDependentsItem and orphaning.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from ..objects.deletion import FOREGROUND, ORPHAN, DeletionRequest
from ..objects.meta import ObjectMeta, OwnerReference

_OURS = "ironfree.dev/"  # prefix of the finalizers that Ironfree itself sets


class Owner(Enum):
    """What became of an owner."""

    SOLID = "it exists"
    WAITING = "it is deleted in the foreground and waits for this object"
    ABSENT = "it is gone"


@dataclass(frozen=True, slots=True)
class Collection:
    """What to do with an object: nothing, forget some of its owners, or delete it.

    Args:
        meta: without the owners that are gone, when others remain.
        delete: how, when none remains.
    """

    meta: ObjectMeta | None = None
    delete: DeletionRequest | None = None


def collect(
    meta: ObjectMeta,
    owners: Mapping[str, Owner],
    has_dependents: Callable[[], bool],
) -> Collection:
    """Return what to do with an object that is not being deleted.

    Args:
        owners: fate by uid of every owner.
        has_dependents: whether the object owns others in its turn.
    """
    if not meta.owner_references:
        return Collection()
    fates = set(owners.values())
    if fates == {Owner.SOLID}:
        return Collection()
    if Owner.SOLID in fates:
        kept = tuple(o for o in meta.owner_references if owners[o.uid] is Owner.SOLID)
        return Collection(meta=replace(meta, owner_references=kept))
    if ORPHAN in meta.finalizers:
        return Collection(delete=DeletionRequest(propagation="Orphan"))
    waited_for = Owner.WAITING in fates and has_dependents()
    foreground = FOREGROUND in meta.finalizers or waited_for
    return Collection(
        delete=DeletionRequest(propagation="Foreground" if foreground else "Background")
    )


def blocks(dependent: ObjectMeta, owner_uid: str) -> bool:
    """Tell whether an object keeps its owner from going in the foreground."""
    return any(o.uid == owner_uid and o.block_owner_deletion for o in dependent.owner_references)


def without_owner(meta: ObjectMeta, uid: str) -> ObjectMeta:
    """Return the metadata without the owner of that uid."""
    kept = tuple(o for o in meta.owner_references if o.uid != uid)
    return replace(meta, owner_references=kept)


def in_foreground(meta: ObjectMeta) -> bool:
    """Tell whether an object is being deleted after its dependents.

    Our own finalizers come first, unlike others in Kubernetes: until a DockerHost is empty its Node
    must stay, or the Node's pods would be replaced while they still run.
    """
    held = any(finalizer.startswith(_OURS) for finalizer in meta.finalizers)
    return meta.deletion_timestamp is not None and FOREGROUND in meta.finalizers and not held


def in_orphaning(meta: ObjectMeta) -> bool:
    """Tell whether an object is being deleted and leaves its dependents behind."""
    return meta.deletion_timestamp is not None and ORPHAN in meta.finalizers


def owners_let_go(old: ObjectMeta | None, new: ObjectMeta | None) -> tuple[OwnerReference, ...]:
    """Return the owners that the object no longer has or no longer blocks."""
    if old is None:
        return ()
    now = {o.uid: o for o in new.owner_references} if new is not None else {}
    return tuple(
        o
        for o in old.owner_references
        if o.uid not in now or (o.block_owner_deletion and not now[o.uid].block_owner_deletion)
    )
