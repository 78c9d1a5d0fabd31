"""Which resources the server has, under all the names people give them (from its discovery)."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ..errors import BadRequest, NotFound
from ..objects.json import Json, JsonObject
from .connection import JSON, Connection, child, entries, metadata

_AGGREGATED = f"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,{JSON}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as discovery describes it."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """As in an object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """As printed before an object's name: "pod", "dockerhost.ironfree.dev"."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, of an object, or of its subresource."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            path += f"/namespaces/{quote(namespace, safe='')}"
        path += f"/{self.plural}"
        if name:
            path += f"/{quote(name, safe='')}"
        return f"{path}/{subresource}" if subresource else path

    def answers_to(self, name: str) -> bool:
        """Tell whether a person means this resource: plural, singular, kind or short name."""
        plain = name.lower()
        if plain in {f"{self.plural}.{self.group}", f"{self.singular}.{self.group}"}:
            return True
        return plain in {self.plural, self.singular, self.kind.lower(), *self.short_names}


class Resources:
    """The server's resources. Ask `discover` for one."""

    def __init__(self, known: Sequence[Resource]) -> None:
        self._known = tuple(known)

    def named(self, name: str) -> Resource:
        """Return the resource of that name; NotFound says what there is."""
        for resource in self._known:
            if resource.answers_to(name):
                return resource
        known = ", ".join(sorted({resource.plural for resource in self._known}))
        raise NotFound(f'the server has no resource "{name}"; it has {known}')

    def of_object(self, obj: JsonObject) -> Resource:
        """Return the resource of an object's apiVersion and kind."""
        api_version, kind = obj.get("apiVersion"), obj.get("kind")
        if not isinstance(api_version, str) or not isinstance(kind, str):
            raise BadRequest("an object needs apiVersion and kind")
        for resource in self._known:
            if resource.api_version == api_version and resource.kind == kind:
                return resource
        raise NotFound(f"the server does not know {kind} of {api_version}")

    def category(self, name: str) -> list[Resource]:
        """Return the resources in a category such as "all", in the version that comes first."""
        found: dict[tuple[str, str], Resource] = {}
        for resource in self._known:
            if name in resource.categories:
                found.setdefault((resource.group, resource.plural), resource)
        return [*found.values()]

    def targets(self, words: Sequence[str]) -> list[tuple[Resource, str]]:
        """Read "pods", "pod a b", "pod/a rc/b", "pods,rc" or "all" as (resource, name or "")."""
        if any("/" in word for word in words):
            pairs = [word.partition("/") for word in words]
            if not all(kind and name for kind, _, name in pairs):
                raise BadRequest("give either KIND/NAME everywhere, or KIND and names")
            return [(self.named(kind), name) for kind, _, name in pairs]
        kinds, names = words[0], words[1:]
        found: list[Resource] = []
        for kind in kinds.split(","):
            found += self.category(kind) or [self.named(kind)]
        return [(resource, name) for resource in found for name in names or ("",)]


def discover(connection: Connection) -> Resources:
    """Ask the server what it serves (aggregated discovery, two requests)."""
    found: list[Resource] = []
    for path in ("/api", "/apis"):
        for group in entries(connection.get(path, accept=_AGGREGATED).get("items")):
            name = metadata(group).get("name", "")
            for version in entries(group.get("versions")):
                found += [
                    _resource(name, str(version.get("version")), entry)
                    for entry in entries(version.get("resources"))
                ]
    return Resources(found)


def _resource(group: str, version: str, entry: JsonObject) -> Resource:
    return Resource(
        group=group,
        version=version,
        plural=str(entry.get("resource")),
        singular=str(entry.get("singularResource") or entry.get("resource")),
        kind=str(child(entry, "responseKind").get("kind")),
        namespaced=entry.get("scope") == "Namespaced",
        short_names=_words(entry.get("shortNames")),
        categories=_words(entry.get("categories")),
    )


def _words(value: Json) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, list) else ()
