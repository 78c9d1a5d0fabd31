"""The files of configMap, secret, downwardAPI and projected volumes. Pure.

The caller loads the objects that `sources` names, and says how tokens are made. Contents may be
secret and appear in no message.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..objects.pod import Pod, Volume
from ..objects.stored import ObjectKey
from ..objects.volumes import (
    ConfigMapSource,
    DownwardSource,
    KeyToPath,
    Projection,
    SecretSource,
    TokenSource,
)
from ..volumes import FilesVolume, VolumeFile
from .environment import ConfigProblem, PodFacts, ReferenceProblem, field_value, resource_value
from .pod_tokens import NO_TOKENS, PodTokens
from .security import lone_user

ACCOUNTS = "serviceaccounts"
_OF_METADATA = ("metadata.labels", "metadata.annotations")
_OWN_MODE = 0o600

Contents = Mapping[ObjectKey, Mapping[str, bytes]]
"""Of the objects there are: key → decoded data."""


class CertificateProjection(Projection, frozen=True):
    """The certificate that the API is known by; never in the store, but put in by a host's agent.

    Args:
        path: of its file.
    """

    path: str = "ca.crt"


Source = ConfigMapSource | SecretSource | DownwardSource | TokenSource | CertificateProjection


@dataclass(frozen=True, slots=True)
class _Group:
    """One source inside a volume, with the mode of files that name none."""

    source: Source
    mode: int


def projections(volume: Volume) -> Iterator[_Group]:
    """Yield what a volume is made of; nothing for one whose files are not ours to write."""
    for source in (volume.config_map, volume.secret, volume.downward_api):
        if source is not None:
            yield _Group(source, source.default_mode)
    if volume.projected is not None:
        mode = volume.projected.default_mode
        for each in volume.projected.sources:
            yield from (_Group(source, mode) for source in _members(each))


def _members(each: Projection) -> Iterator[Source]:
    for source in (each.config_map, each.secret, each.downward_api, each.service_account_token):
        if source is not None:
            yield source
    if isinstance(each, CertificateProjection):
        yield each


def written(pod: Pod) -> tuple[Volume, ...]:
    """Return the pod's volumes whose files Ironfree writes."""
    return tuple(volume for volume in pod.spec.volumes if is_written(volume))


def is_written(volume: Volume) -> bool:
    """Return whether Ironfree writes a volume's files."""
    sources = (volume.config_map, volume.secret, volume.downward_api, volume.projected)
    return any(source is not None for source in sources)


def is_secret(volume: Volume) -> bool:
    """Return whether a volume has files that are never to be on a disk.

    Tokens may be: they end with their pod. After a restart under its containers an engine before
    Docker 25 neither mounts a volume in memory again as it was nor removes it, and nearly every
    pod has a token.
    """
    return any(isinstance(group.source, SecretSource) for group in projections(volume))


def sources(pod: Pod) -> frozenset[ObjectKey]:
    """Return every ConfigMap, Secret and ServiceAccount that the pod's volumes are made of."""
    groups = (group.source for volume in written(pod) for group in projections(volume))
    return frozenset(key for key in (_key(source, pod) for source in groups) if key is not None)


def token_sources(pod: Pod) -> list[TokenSource]:
    """Return the tokens in a pod's volumes."""
    groups = (group.source for volume in written(pod) for group in projections(volume))
    return [source for source in groups if isinstance(source, TokenSource)]


def account_name(pod: Pod) -> str:
    """Return the name of a pod's ServiceAccount."""
    return pod.spec.service_account_name or "default"


def _key(source: Source, pod: Pod) -> ObjectKey | None:
    namespace = pod.meta.namespace
    match source:
        case ConfigMapSource():
            return ObjectKey("configmaps", namespace, source.name)
        case SecretSource():
            return ObjectKey("secrets", namespace, source.secret_name or source.name)
        case TokenSource():
            return ObjectKey(ACCOUNTS, namespace, account_name(pod))
        case DownwardSource() | CertificateProjection():
            return None


def version(pod: Pod, sandbox_attempt: int, *, access: bool = False) -> str:
    """Return what a pod's written volumes depend on besides other objects; "" without any.

    A new sandbox has empty ones in memory, and labels and annotations may be in files.

    Args:
        access: the sandbox has the volume with what its containers ask the API with, too.
    """
    volumes = written(pod)
    if not volumes and not access:
        return ""
    groups = [group.source for volume in volumes for group in projections(volume)]
    meta = ""
    if any(isinstance(source, DownwardSource) and _has_metadata(source) for source in groups):
        text = json.dumps([pod.meta.labels, pod.meta.annotations], sort_keys=True)
        meta = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{sandbox_attempt}.{meta}"


def _has_metadata(source: DownwardSource) -> bool:
    """Return whether files have what may change of a pod's metadata."""
    fields = (item.field_ref.field_path for item in source.items if item.field_ref is not None)
    return any(field.startswith(_OF_METADATA) for field in fields)


def decoded(resource: str, data: Mapping[str, str], binary: Mapping[str, str]) -> dict[str, bytes]:
    """Return the values of a ConfigMap or Secret as bytes; what is no base64 is empty."""
    encoded = data if resource == "secrets" else binary
    values: dict[str, bytes] = {}
    if resource != "secrets":
        values = {key: value.encode() for key, value in data.items()}
    for key, value in encoded.items():
        try:
            values[key] = base64.b64decode(value, validate=True)
        except binascii.Error:
            values[key] = b""
    return values


def files_of(
    volume: Volume,
    facts: PodFacts,
    contents: Contents,
    tokens: PodTokens | ConfigProblem = NO_TOKENS,
) -> FilesVolume | ConfigProblem:
    """Return a volume with its files, or why they cannot be had yet.

    Args:
        tokens: makes the pod's tokens; or why there are none.
    """
    files: dict[str, VolumeFile] = {}
    try:
        for group in projections(volume):
            for file in _files(group, facts, contents, tokens):
                files[file.path] = file
    except ReferenceProblem as problem:
        return ConfigProblem(str(problem))
    ordered = tuple(files[path] for path in sorted(files))
    return FilesVolume(volume.name, ordered, memory=is_secret(volume))


def _files(
    group: _Group, facts: PodFacts, contents: Contents, tokens: PodTokens | ConfigProblem
) -> Iterator[VolumeFile]:
    source = group.source
    match source:
        case DownwardSource():
            yield from _downward(source, group.mode, facts)
        case TokenSource() | CertificateProjection():
            if isinstance(tokens, ConfigProblem):
                raise ReferenceProblem(tokens.message)
            if isinstance(source, TokenSource):
                yield _token_file(source, group.mode, facts.pod, tokens)
            else:
                yield VolumeFile(source.path, tokens.api.certificate, group.mode)
        case ConfigMapSource() | SecretSource():
            yield from _data_files(source, group.mode, facts.pod, contents)


def _token_file(source: TokenSource, mode: int, pod: Pod, tokens: PodTokens) -> VolumeFile:
    """Return a token's file: for one user or group alone where a pod has such (kubelet)."""
    user = lone_user(pod.spec)
    if user is not None or pod.spec.security_context.fs_group is not None:
        mode = _OWN_MODE
    return VolumeFile(source.path, tokens.token(source), mode, user or 0)


def _data_files(
    source: ConfigMapSource | SecretSource, mode: int, pod: Pod, contents: Contents
) -> Iterator[VolumeFile]:
    key = _key(source, pod)
    assert key is not None
    word = "secret" if key.resource == "secrets" else "configmap"
    data = contents.get(key)
    if data is None:
        if source.optional:
            return
        raise ReferenceProblem(f'{word} "{key.name}" not found')
    items = source.items or tuple(KeyToPath(name, name) for name in data)
    for item in items:
        if item.key not in data:
            if source.optional:
                continue
            raise ReferenceProblem(f"{word} {key.name} has no key {item.key}")
        own = mode if item.mode is None else item.mode
        yield VolumeFile(item.path, data[item.key], own)


def _downward(source: DownwardSource, mode: int, facts: PodFacts) -> Iterator[VolumeFile]:
    for item in source.items:
        if item.field_ref is not None:
            text = _whole_map(item.field_ref.field_path, facts)
            text = field_value(item.field_ref.field_path, facts) if text is None else text
        elif item.resource_field_ref is not None:
            text = resource_value(item.resource_field_ref, "", facts)
        else:
            continue
        yield VolumeFile(item.path, text.encode(), mode if item.mode is None else item.mode)


def _whole_map(path: str, facts: PodFacts) -> str | None:
    """Return all labels or annotations, one line each; None for another field."""
    meta = facts.pod.meta
    entries = {"metadata.labels": meta.labels, "metadata.annotations": meta.annotations}.get(path)
    if entries is None:
        return None
    lines = (f"{key}={json.dumps(entries[key], ensure_ascii=False)}" for key in sorted(entries))
    return "\n".join(lines)
