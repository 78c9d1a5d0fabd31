"""What a kind declares about itself, and the registry that finds kinds by any of their names."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ..errors import Cause
from .json import Json, JsonObject
from .meta import ObjectMeta

Cell = str | int | bool


@dataclass(frozen=True)
class Column:
    """One printed column (meta/v1 TableColumnDefinition); priority > 0 is for wide output."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class Printer:
    """How a kind prints as a Table.

    Args:
        columns: in order, Name first.
        cells: one object's cells, given the object as JSON and the present time.
    """

    columns: tuple[Column, ...]
    cells: Callable[[JsonObject, datetime], Sequence[Cell]]


def no_defaults(_obj: JsonObject) -> None:
    """Leave the object as it is."""


def no_status(_obj: JsonObject) -> JsonObject | None:
    """Start without a status."""
    return None


def no_carry_over(_old: JsonObject, _new: JsonObject) -> None:
    """Keep nothing."""


def no_causes(_obj: JsonObject) -> Iterable[Cause]:
    """Complain of nothing."""
    return ()


def no_update_causes(_old: JsonObject, _new: JsonObject) -> Iterable[Cause]:
    """Complain of nothing."""
    return ()


@dataclass(frozen=True)
class Scale:
    """Where /scale finds its numbers, as dotted paths (autoscaling/v1 Scale)."""

    replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    selector: str = "spec.selector"


@dataclass(frozen=True)
class Portion:
    """A subresource that reads the whole object and writes one field of it.

    Args:
        field: of the spec.
        validate: given the old and the new object, yields a cause per bad change of the field.
    """

    field: str
    validate: Callable[[JsonObject, JsonObject], Iterable[Cause]]


@dataclass(frozen=True)
class Conversion:
    """How a further version of a kind is served of objects that are kept in another one.

    Args:
        stored: the version that is kept; it defaults, validates and prints.
        outward: returns a stored document as one of this version.
        inward: returns a document of this version as one that is stored, given the present one,
            of which it keeps what this version cannot say; None for a new or an applied one.
    """

    stored: "Kind"
    outward: Callable[[JsonObject], JsonObject]
    inward: Callable[[JsonObject, JsonObject | None], JsonObject]


@dataclass(frozen=True)
class Kind:
    """Everything the API needs to serve a kind.

    Args:
        message: its message in the schema, e.g. "core.v1.Pod".
        default: fills defaults in place on every write; sees spec-shaped JSON that passed the
            schema check.
        complete: fills in place, once, when the object is made, what depends on its own metadata;
            before defaults.
        identify: fills in place of the body of a new object what depends on its name and uid, once
            it has them.
        initial_status: the status a new object starts with, given the object after defaults.
        validate: yields a cause per bad field, after defaults.
        validate_creation: yields a cause per field that only updates may set.
        validate_status: yields a cause per bad field of a status that a client writes.
        carry_over: given the old and the new object, keeps in place what the server once chose
            and an update leaves out.
        validate_update: yields a cause per field that may not change so.
        warnings: yields sentences about fields that are accepted but have no effect here.
        fields: field selectors beyond metadata.name and metadata.namespace: name → value reader.
        portions: subresources that write one field, by name.
        interned: bodies repeat between objects, so they are stored once by digest.
        has_status: /status exists and main-resource writes ignore .status.
        name_rule: "subdomain", "label" or "service" (DNS-1123/1035), or "path" (a path's segment).
        builtin: a Kubernetes kind (strategic merge patch allowed).
        computed: answered at once instead of stored: a creation with a status, a get or list with
            what is measured.
        conversion: of a version that is served beside the one that is kept.
    """

    kind: str
    plural: str
    message: str
    printer: Printer
    group: str = ""
    version: str = "v1"
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    default: Callable[[JsonObject], None] = no_defaults
    complete: Callable[[JsonObject], None] = no_defaults
    identify: Callable[[ObjectMeta, JsonObject], None] | None = None
    initial_status: Callable[[JsonObject], JsonObject | None] = no_status
    validate: Callable[[JsonObject], Iterable[Cause]] = no_causes
    validate_creation: Callable[[JsonObject], Iterable[Cause]] = no_causes
    validate_status: Callable[[JsonObject], Iterable[Cause]] = no_causes
    carry_over: Callable[[JsonObject, JsonObject], None] = no_carry_over
    validate_update: Callable[[JsonObject, JsonObject], Iterable[Cause]] = no_update_causes
    warnings: Callable[[JsonObject], Iterable[str]] = lambda _obj: ()
    fields: Mapping[str, Callable[[JsonObject], str]] = field(
        default_factory=dict[str, Callable[[JsonObject], str]]
    )
    interned: bool = False
    has_status: bool = True
    scale: Scale | None = None
    subresources: tuple[str, ...] = ()
    portions: Mapping[str, Portion] = field(default_factory=dict[str, Portion])
    name_rule: str = "subdomain"
    builtin: bool = True
    computed: bool = False
    conversion: Conversion | None = None
    verbs: tuple[str, ...] = (
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    )

    @property
    def stored(self) -> "Kind":
        """The version in which objects are kept; most often this one."""
        return self.conversion.stored if self.conversion is not None else self

    @property
    def resource(self) -> str:
        """The store's name of the kind: "pods", "dockerhosts.ironfree.dev"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_version(self) -> str:
        """The apiVersion: "v1", "ironfree.dev/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version


class KindRegistry:
    """Finds kinds by path, by apiVersion and kind, or by store resource. Immutable."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.kinds = tuple(kinds)
        self._by_path = {(k.group, k.version, k.plural): k for k in self.kinds}
        self._by_gvk = {(k.group_version, k.kind): k for k in self.kinds}
        self._by_resource = {k.resource: k.stored for k in self.kinds}

    def by_path(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind served at that path, or None."""
        return self._by_path.get((group, version, plural))

    def by_gvk(self, api_version: str, kind: str) -> Kind | None:
        """Return the kind of an object's apiVersion and kind, or None."""
        return self._by_gvk.get((api_version, kind))

    def by_resource(self, resource: str) -> Kind:
        """Return the kind of a store resource as it is kept; KeyError is a bug."""
        return self._by_resource[resource]


def field_at(obj: Json, path: str) -> Json:
    """Return the value at a dotted path, or None where anything on the way is absent."""
    for part in path.split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(part)
    return obj


def text_at(path: str) -> Callable[[JsonObject], str]:
    """Return a reader of the text at a dotted path, "" when absent (for field selectors)."""

    def read(obj: JsonObject) -> str:
        value = field_at(obj, path)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    return read
