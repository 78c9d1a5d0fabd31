"""Stored objects as answers: whole, as rows of a Table, or their metadata only (meta/v1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from ..errors import BadRequest
from ..objects.json import Json
from ..objects.kind import Kind
from ..objects.stored import StoredObject
from ..objects.wire import compose, document
from .negotiation import Accepted, Form

_INCLUDE = ("", "Metadata", "Object", "None")
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the objects of one answer are written.

    Args:
        include: what a table's rows carry: "Metadata" (also ""), "Object" or "None".
    """

    kind: Kind
    accepted: Accepted
    include: str = ""

    @property
    def meta_version(self) -> str:
        """The apiVersion of tables and metadata objects."""
        return f"meta.k8s.io/{self.accepted.version}"

    def single(self, stored: StoredObject) -> bytes:
        """Return one object as an answer of its own."""
        match self.accepted.form:
            case Form.TABLE:
                return self.table([stored], str(stored.revision))
            case Form.METADATA | Form.METADATA_LIST:
                return self.metadata(stored)
            case _:
                return compose(stored, self.kind)

    def item(self, stored: StoredObject) -> bytes:
        """Return one object as an item of a list."""
        if self.accepted.form is Form.OBJECT:
            return compose(stored, self.kind)
        return self.metadata(stored)

    def list_head(self, revision: int, token: str = "", remaining: int = 0) -> bytes:
        """Return a list's text up to its first item."""
        meta: dict[str, Json] = {"resourceVersion": str(revision)}
        if token:
            meta["continue"] = token
            if remaining:
                meta["remainingItemCount"] = remaining
        if self.accepted.form is Form.OBJECT:
            kind, version = f"{self.kind.kind}List", self.kind.group_version
        else:
            kind, version = "PartialObjectMetadataList", self.meta_version
        return b'{"kind":"%s","apiVersion":"%s","metadata":%s,"items":[' % (
            kind.encode(),
            version.encode(),
            _encode(meta),
        )

    def metadata(self, stored: StoredObject) -> bytes:
        """Return the object's metadata as a PartialObjectMetadata."""
        meta = replace(stored.meta, resource_version=str(stored.revision))
        return b'{"kind":"PartialObjectMetadata","apiVersion":"%s","metadata":%s}' % (
            self.meta_version.encode(),
            _encode(meta),
        )

    def table(
        self,
        objects: Sequence[StoredObject],
        revision: str,
        token: str = "",
        remaining: int = 0,
        *,
        columns: bool = True,
    ) -> bytes:
        """Return a Table of the objects.

        Args:
            columns: False leaves the column definitions null, as later events of a watch do.
        """
        meta: dict[str, Json] = {"resourceVersion": revision}
        if token:
            meta["continue"] = token
            if remaining:
                meta["remainingItemCount"] = remaining
        return (
            b'{"kind":"Table","apiVersion":"%s","metadata":%s,"columnDefinitions":%s,"rows":[%s]}'
            % (
                self.meta_version.encode(),
                _encode(meta),
                _columns(self.kind) if columns else b"null",
                b",".join(self._rows(objects)),
            )
        )

    def _rows(self, objects: Sequence[StoredObject]) -> Iterator[bytes]:
        now = datetime.now(UTC)
        for stored in objects:
            shown = document(stored, self.kind.stored)
            cells = _encode(list(self.kind.printer.cells(shown, now)))
            if self.include == "None":
                yield b'{"cells":%s}' % cells
            elif self.include == "Object":
                yield b'{"cells":%s,"object":%s}' % (cells, compose(stored, self.kind))
            else:
                yield b'{"cells":%s,"object":%s}' % (cells, self.metadata(stored))


@lru_cache(maxsize=256)
def _columns_of(columns: tuple[tuple[str, str, str, str, int], ...]) -> bytes:
    return _encode(
        [
            {"name": name, "type": kind, "format": form, "description": text, "priority": rank}
            for name, kind, form, text, rank in columns
        ]
    )


def _columns(kind: Kind) -> bytes:
    return _columns_of(
        tuple((c.name, c.type, c.format, c.description, c.priority) for c in kind.printer.columns)
    )


def include_of(value: str) -> str:
    """Return a checked includeObject parameter.

    Raises:
        BadRequest: it is none of None, Metadata and Object.
    """
    if value not in _INCLUDE:
        raise BadRequest(
            f'includeObject: Invalid value: "{value[:32]}": must be "Metadata", "Object" or "None"'
        )
    return value
