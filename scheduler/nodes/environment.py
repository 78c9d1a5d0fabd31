"""A container's environment, with every reference resolved and $(NAME) expanded (kubelet's rules).

Pure: the caller loads the ConfigMaps and Secrets that `references` names. Values may be secret
and appear in no message.
"""

import base64
import binascii
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from ..objects import quantity
from ..objects.pod import Container, EnvFromSource, EnvVarSource, Pod
from ..objects.volumes import ResourceFieldRef

Data = Mapping[str, str | None]  # None: the value is not text

_ENTRY = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]\Z")
_TOKEN = re.compile(r"\$(?:\$|\(([^)]*)\))")
_NO_LINKS: Mapping[str, str] = {}


def no_links(_pod: Pod) -> Mapping[str, str]:
    """Return the variables of Services where none is served."""
    return _NO_LINKS


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """Why a container cannot be created yet (CreateContainerConfigError)."""

    message: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What field references may name beyond the pod object itself.

    Args:
        allocatable: of the node, for resource limits that are not set; quantities as written.
    """

    pod: Pod
    pod_ip: str
    host_ip: str
    service_account: str = "default"
    allocatable: Mapping[str, str | int | float] | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """The ConfigMaps and Secrets of the pod's namespace, by name; absent ones are missing."""

    config_maps: Mapping[str, Data]
    secrets: Mapping[str, Data]


@dataclass(frozen=True, slots=True)
class Reference:
    """A ConfigMap or Secret a container reads; kind is "ConfigMap" or "Secret"."""

    kind: str
    name: str


class ReferenceProblem(Exception):
    """Carries a ConfigProblem out of a resolution; its callers make it one."""


def references(container: Container) -> frozenset[Reference]:
    """Return every ConfigMap and Secret the container's environment names."""
    return frozenset(_references(container))


def _references(container: Container) -> Iterator[Reference]:
    for source in container.env_from:
        if source.config_map_ref is not None:
            yield Reference("ConfigMap", source.config_map_ref.name)
        if source.secret_ref is not None:
            yield Reference("Secret", source.secret_ref.name)
    for variable in container.env:
        if variable.value_from is None:
            continue
        if variable.value_from.config_map_key_ref is not None:
            yield Reference("ConfigMap", variable.value_from.config_map_key_ref.name)
        if variable.value_from.secret_key_ref is not None:
            yield Reference("Secret", variable.value_from.secret_key_ref.name)


def secret_data(encoded: Mapping[str, str]) -> Data:
    """Return a Secret's data decoded from base64; None for values that are not UTF-8 text."""
    return {key: _text(value) for key, value in encoded.items()}


def _text(encoded: str) -> str | None:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def resolve(
    container: Container,
    facts: PodFacts,
    sources: Sources,
    links: Mapping[str, str] = _NO_LINKS,
) -> tuple[tuple[str, str], ...] | ConfigProblem:
    """Return the container's variables in order, or why they cannot be had yet.

    Links to Services come first, then envFrom, then env; a later entry of a name replaces an
    earlier one. Every key is a variable name of Kubernetes 1.34: validation allows no others.
    """
    values = dict(links)
    try:
        for source in container.env_from:
            values.update(_from_source(source, facts, sources))
        for variable in container.env:
            if variable.value_from is not None and not variable.value:
                value = _from_reference(variable.value_from, container, facts, sources)
            else:
                value = expand(variable.value, values)
            if value is not None:
                values.pop(variable.name, None)
                values[variable.name] = value
    except ReferenceProblem as problem:
        return ConfigProblem(str(problem))
    return tuple(values.items())


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; $$ is a dollar sign; unknown names stay as they are."""

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        return values.get(name, match[0])

    return _TOKEN.sub(replacement, text)


def unknown_names(text: str, values: Collection[str]) -> tuple[str, ...]:
    """Return the variables in a text that there are not."""
    return tuple(dict.fromkeys(name for name in _named(text) if name not in values))


def secrets_in_arguments(container: Container) -> tuple[str, ...]:
    """Return the variables in a container's arguments whose values come from Secrets.

    Which variables a Secret as a whole makes is not known without reading it, so every one counts
    that bears its prefix and is not given otherwise.
    """
    prefixes = [each.prefix for each in container.env_from if each.secret_ref is not None]
    known: dict[str, bool] = {}

    def is_secret(name: str) -> bool:
        return known.get(name, any(name.startswith(prefix) for prefix in prefixes))

    for variable in container.env:
        if variable.value_from is not None and not variable.value:
            known[variable.name] = variable.value_from.secret_key_ref is not None
        else:
            known[variable.name] = any(map(is_secret, _named(variable.value)))
    said = (name for argument in container.args or () for name in _named(argument))
    return tuple(dict.fromkeys(filter(is_secret, said)))


def _named(text: str) -> Iterator[str]:
    return (match[1] for match in _TOKEN.finditer(text) if match[1] is not None)


def _from_source(source: EnvFromSource, facts: PodFacts, sources: Sources) -> dict[str, str]:
    kind, ref, known = "configmap", source.config_map_ref, sources.config_maps
    if ref is None:
        kind, ref, known = "secret", source.secret_ref, sources.secrets
    if ref is None:
        return {}
    data = known.get(ref.name)
    if data is None:
        if ref.optional:
            return {}
        raise ReferenceProblem(f'{kind} "{ref.name}" not found')
    found: dict[str, str] = {}
    for key, value in data.items():
        if value is None:
            raise ReferenceProblem(_not_text(key, kind, facts, ref.name))
        found[source.prefix + key] = value
    return found


def _from_reference(
    source: EnvVarSource, container: Container, facts: PodFacts, sources: Sources
) -> str | None:
    if source.field_ref is not None:
        return field_value(source.field_ref.field_path, facts)
    if source.resource_field_ref is not None:
        return resource_value(source.resource_field_ref, container.name, facts)
    for kind, title, ref, known in (
        ("configmap", "ConfigMap", source.config_map_key_ref, sources.config_maps),
        ("secret", "Secret", source.secret_key_ref, sources.secrets),
    ):
        if ref is None:
            continue
        data = known.get(ref.name)
        if data is None:
            if ref.optional:
                return None
            raise ReferenceProblem(f'{kind} "{ref.name}" not found')
        if ref.key not in data:
            if ref.optional:
                return None
            namespace = facts.pod.meta.namespace
            raise ReferenceProblem(f"couldn't find key {ref.key} in {title} {namespace}/{ref.name}")
        value = data[ref.key]
        if value is None:
            raise ReferenceProblem(_not_text(ref.key, kind, facts, ref.name))
        return value
    return ""


def _not_text(key: str, kind: str, facts: PodFacts, name: str) -> str:
    return (
        f"key {key} of {kind} {facts.pod.meta.namespace}/{name} is not UTF-8 text, so it cannot "
        "be an environment variable"
    )


_FIELDS: Mapping[str, Callable[[PodFacts], str]] = {
    "metadata.name": lambda f: f.pod.meta.name,
    "metadata.namespace": lambda f: f.pod.meta.namespace,
    "metadata.uid": lambda f: f.pod.meta.uid,
    "spec.nodeName": lambda f: f.pod.node,
    "spec.serviceAccountName": lambda f: f.service_account,
    "status.podIP": lambda f: f.pod_ip,
    "status.podIPs": lambda f: f.pod_ip,
    "status.hostIP": lambda f: f.host_ip,
    "status.hostIPs": lambda f: f.host_ip,
}


def field_value(path: str, facts: PodFacts) -> str:
    """Return a field of the pod.

    Raises:
        ReferenceProblem: there is no such field.
    """
    reader = _FIELDS.get(path)
    if reader is not None:
        return reader(facts)
    entry = _ENTRY.match(path)
    if entry is None:
        raise ReferenceProblem(f"fieldPath {path} is not supported")
    meta = facts.pod.meta
    return (meta.labels if entry[1] == "labels" else meta.annotations).get(entry[2], "")


def resource_value(ref: ResourceFieldRef, container: str, facts: PodFacts) -> str:
    """Return a limit or request, in units of the divisor and rounded up.

    Args:
        container: whose, where the reference does not say.

    Raises:
        ReferenceProblem: there is no such container or resource.
    """
    name = ref.container_name or container
    spec = facts.pod.spec
    every = (*spec.containers, *spec.init_containers)
    target = next((c for c in every if c.name == name), None)
    if target is None:
        raise ReferenceProblem(
            f"resourceFieldRef names container {name}, which the pod does not have"
        )
    kind, _, resource = ref.resource.partition(".")
    if kind not in {"limits", "requests"} or not resource:
        raise ReferenceProblem(f"resource {ref.resource} is not supported")
    amounts = target.resources.limits if kind == "limits" else target.resources.requests
    amount = amounts.get(resource)
    if amount is None and kind == "limits":
        amount = (facts.allocatable or {}).get(resource)
    divisor = quantity.parse(str(ref.divisor)) or Decimal(1)
    value = quantity.parse(str(amount if amount is not None else 0)) / divisor
    return str(int(value.to_integral_value(rounding=ROUND_CEILING)))
