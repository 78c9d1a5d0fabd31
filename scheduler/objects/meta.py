"""Object metadata as every kind has it (Kubernetes meta/v1 ObjectMeta)."""

import os
from datetime import UTC, datetime

import msgspec

NO_MANAGED_FIELDS = msgspec.Raw(b"")
"""The absence of managedFields. Only this very object is left out when encoding."""


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """Who owns an object; the owner's deletion collects it (meta/v1 OwnerReference)."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True, gc=False
):
    """Typed metadata (meta/v1 ObjectMeta). Change it with msgspec.structs.replace.

    `managed_fields` stays undecoded JSON: only server-side apply reads it.
    """

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    managed_fields: msgspec.Raw = NO_MANAGED_FIELDS

    def controller_owner(self) -> OwnerReference | None:
        """Return the owner that controls this object, if any (meta/v1 GetControllerOf)."""
        for owner in self.owner_references:  # a generator would cost three times as much
            if owner.controller:
                return owner
        return None


def now_seconds() -> datetime:
    """Return the present as Kubernetes writes times: UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def new_uid() -> str:
    """Return a random UUID, version 4 (RFC 9562), as text; a third of uuid.uuid4's time."""
    return _uuid4(os.urandom(16).hex())


def new_uids(count: int) -> list[str]:
    """Return so many of them, drawn at once: most of the time goes into asking the kernel."""
    drawn = os.urandom(16 * count).hex()
    return [_uuid4(drawn[at : at + 32]) for at in range(0, len(drawn), 32)]


def _uuid4(h: str) -> str:
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"
