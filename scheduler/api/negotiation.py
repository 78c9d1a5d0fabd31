"""Which form of answer a client wants, by its Accept header."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from .status_errors import NotAcceptable

_META_VERSIONS = frozenset({"v1", "v1beta1"})


class Form(StrEnum):
    """What an object is answered as."""

    OBJECT = "object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"
    DISCOVERY = "APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first entry of an Accept header that can be served.

    Args:
        version: of meta.k8s.io for tables and metadata ("v1", "v1beta1").
    """

    form: Form
    version: str = "v1"


PLAIN = Accepted(Form.OBJECT)


@lru_cache(maxsize=512)
def accepted(header: str, *, discovery: bool = False) -> Accepted:
    """Return what to answer.

    Args:
        header: the Accept header, "" when absent.
        discovery: on /api and /apis, where aggregated discovery may be asked for.

    Raises:
        NotAcceptable: no entry can be served as JSON.
    """
    if not header.strip():
        return PLAIN
    for entry in header.split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        if media.lower() not in {"application/json", "application/*", "*/*"}:
            continue
        pairs = [p.partition("=") for p in parameters]
        found = _form({key: value for key, _, value in pairs}, discovery=discovery)
        if found is not None:
            return found
    raise NotAcceptable(
        "only the following media types are accepted: application/json, "
        "application/json;as=Table;g=meta.k8s.io;v=v1, "
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    )


def _form(parameters: dict[str, str], *, discovery: bool) -> Accepted | None:
    kind = parameters.get("as", "")
    if not kind:
        return PLAIN
    version, group = parameters.get("v", ""), parameters.get("g", "")
    if kind == Form.DISCOVERY:
        known = discovery and version == "v2" and "profile" not in parameters
        return Accepted(Form.DISCOVERY, version) if known else None
    if kind in {Form.TABLE, Form.METADATA, Form.METADATA_LIST} and not discovery:
        known = group == "meta.k8s.io" and version in _META_VERSIONS
        return Accepted(Form(kind), version) if known else None
    return None
