"""Which objects a list, a watch or a deletecollection is about."""

from dataclasses import dataclass

import msgspec

from ..errors import BadRequest
from ..objects.field_selectors import FieldRequirement, parse_field_selector
from ..objects.json import JsonObject
from ..objects.kind import Kind
from ..objects.selectors import EVERYTHING, Selector, parse_label_selector
from ..objects.stored import StoredObject
from ..objects.wire import document
from .request import Query

_object: msgspec.json.Decoder[JsonObject] = msgspec.json.Decoder(dict)
_META_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Namespace, labels and fields an object must have.

    Args:
        cheap: field terms answered from metadata and binding alone; costly: those that need the
            whole object.
    """

    kind: Kind
    namespace: str = ""
    labels: Selector = EVERYTHING
    cheap: tuple[FieldRequirement, ...] = ()
    costly: tuple[FieldRequirement, ...] = ()

    def matches(self, stored: StoredObject) -> bool:
        """Return whether the object is meant."""
        meta = stored.meta
        if self.namespace and meta.namespace != self.namespace:
            return False
        if self.labels.requirements and not self.labels.matches(meta.labels):
            return False
        if self.cheap and not all(t.matches(_quick(stored, t.field)) for t in self.cheap):
            return False
        return not self.costly or self._whole(document(stored, self.kind))

    def may_have_matched(self, stored: StoredObject) -> bool:
        """Return whether an object can have been meant before, whatever it was.

        Name and namespace never change, and rights to named objects rest on them.
        """
        meta = stored.meta
        if self.namespace and meta.namespace != self.namespace:
            return False
        fixed = (term for term in self.cheap if term.field in _META_FIELDS)
        return all(term.matches(_quick(stored, term.field)) for term in fixed)

    def _whole(self, obj: JsonObject) -> bool:
        return all(term.matches(self.kind.fields[term.field](obj)) for term in self.costly)

    @property
    def everything(self) -> bool:
        """Whether every object of the namespace is meant."""
        return self.labels.everything and not self.cheap and not self.costly

    @property
    def scope(self) -> str:
        """A text that is equal for equal selections."""
        terms = ",".join(map(str, (*self.cheap, *self.costly)))
        return f"{self.kind.resource}|{self.namespace}|{self.labels}|{terms}"


def select(kind: Kind, namespace: str, name: str, query: Query) -> Selection:
    """Return the selection of a request.

    Args:
        name: of a watch on one object, "" otherwise.

    Raises:
        BadRequest: a selector cannot be read, or names a field the kind is not selected by.
    """
    text = query.text("labelSelector")
    labels = parse_label_selector(text) if text else EVERYTHING
    terms = parse_field_selector(query.text("fieldSelector"))
    for term in terms:
        if term.field not in _META_FIELDS and term.field not in kind.fields:
            raise BadRequest(
                f'Unable to find "{kind.group_version}, Resource={kind.plural}" that match label '
                f'selector "{text}", field selector "{query.text("fieldSelector")}": field label '
                f"not supported: {term.field}"
            )
    if name:
        terms = (*terms, FieldRequirement("metadata.name", name))
    quick = _META_FIELDS | ({"spec.nodeName"} if kind.resource == "pods" else frozenset[str]())
    return Selection(
        kind,
        namespace,
        labels,
        tuple(term for term in terms if term.field in quick),
        tuple(term for term in terms if term.field not in quick),
    )


def _quick(stored: StoredObject, field: str) -> str:
    match field:
        case "metadata.name":
            return stored.meta.name
        case "metadata.namespace":
            return stored.meta.namespace
        case _:
            if stored.binding is not None:
                return stored.binding.node
            return _wished_node(stored)


def _wished_node(stored: StoredObject) -> str:
    """Return spec.nodeName of an unbound pod, which few have."""
    if b'"nodeName"' not in stored.body.json:
        return ""
    body = _object.decode(stored.body.json)
    spec = body.get("spec")
    node = spec.get("nodeName") if isinstance(spec, dict) else ""
    return node if isinstance(node, str) else ""
