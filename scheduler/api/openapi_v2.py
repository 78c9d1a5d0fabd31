"""The least OpenAPI v2 that lets kubectl apply a `kind: List`.

kubectl validates a List itself, and for that reads /openapi/v2 in protobuf (gnostic's
openapi.v2.Document) however good /openapi/v3 is. The document names every kind and says nothing of
its fields: the items are then validated here, by fieldValidation, as single objects are.
"""

from collections.abc import Iterable

from ..objects.kind import Kind

CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_ACCEPTED = "application/com.github.proto-openapi.spec.v2"


def wanted(accept: str) -> bool:
    """Tell whether an Accept header asks for the protobuf form."""
    return _ACCEPTED in accept


def document(kinds: Iterable[Kind]) -> bytes:
    """Return the document as protobuf.

    Numbers are those of gnostic's OpenAPIv2.proto: Document 1 swagger, 2 info, 8 paths,
    9 definitions; Definitions 1 entries; NamedSchema 1 name, 2 value; Schema 31 vendor extensions;
    NamedAny 1 name, 2 value; Any 2 YAML text; Info 1 title, 2 version.
    """
    info = _text(1, "Ironfree") + _text(2, "v1")
    definitions = b"".join(_part(1, _definition(kind)) for kind in kinds)
    return b"".join((_text(1, "2.0"), _part(2, info), _part(8, b""), _part(9, definitions)))


def _definition(kind: Kind) -> bytes:
    names = f'- group: "{kind.group}"\n  kind: {kind.kind}\n  version: {kind.version}\n'
    extension = _text(1, "x-kubernetes-group-version-kind") + _part(2, _text(2, names))
    return _text(1, kind.message) + _part(2, _part(31, extension))


def _text(number: int, value: str) -> bytes:
    return _part(number, value.encode())


def _part(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
