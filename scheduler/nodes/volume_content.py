"""The files of configMap, secret, downwardAPI and projected volumes. Pure.

The caller loads the objects that `sources` names. Contents may be secret and appear in no message.
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
)
from ..volumes import FilesVolume, VolumeFile
from .environment import ConfigProblem, PodFacts, ReferenceProblem, field_value, resource_value

Contents = Mapping[ObjectKey, Mapping[str, bytes]]
"""Of the objects there are: key → decoded data."""


@dataclass(frozen=True, slots=True)
class _Group:
    """One source inside a volume, with the mode of files that name none."""

    source: ConfigMapSource | SecretSource | DownwardSource
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


def _members(each: Projection) -> Iterator[ConfigMapSource | SecretSource | DownwardSource]:
    for source in (each.config_map, each.secret, each.downward_api):
        if source is not None:
            yield source


def written(pod: Pod) -> tuple[Volume, ...]:
    """Return the pod's volumes whose files Ironfree writes."""
    return tuple(volume for volume in pod.spec.volumes if is_written(volume))


def is_written(volume: Volume) -> bool:
    """Return whether Ironfree writes a volume's files."""
    sources = (volume.config_map, volume.secret, volume.downward_api, volume.projected)
    return any(source is not None for source in sources)


def sources(pod: Pod) -> frozenset[ObjectKey]:
    """Return every ConfigMap and Secret that the pod's volumes are made of."""
    groups = (group.source for volume in written(pod) for group in projections(volume))
    return frozenset(
        key for key in (_key(source, pod.meta.namespace) for source in groups) if key is not None
    )


def _key(
    source: ConfigMapSource | SecretSource | DownwardSource, namespace: str
) -> ObjectKey | None:
    match source:
        case ConfigMapSource():
            return ObjectKey("configmaps", namespace, source.name)
        case SecretSource():
            return ObjectKey("secrets", namespace, source.secret_name or source.name)
        case DownwardSource():
            return None


def version(pod: Pod, sandbox_attempt: int) -> str:
    """Return what a pod's written volumes depend on besides other objects; "" without any.

    A new sandbox has empty ones in memory, and labels and annotations may be in files.
    """
    volumes = written(pod)
    if not volumes:
        return ""
    groups = [group.source for volume in volumes for group in projections(volume)]
    meta = ""
    if any(isinstance(source, DownwardSource) for source in groups):
        text = json.dumps([pod.meta.labels, pod.meta.annotations], sort_keys=True)
        meta = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{sandbox_attempt}.{meta}"


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


def files_of(volume: Volume, facts: PodFacts, contents: Contents) -> FilesVolume | ConfigProblem:
    """Return a volume with its files, or why they cannot be had yet."""
    files: dict[str, VolumeFile] = {}
    memory = False
    try:
        for group in projections(volume):
            memory = memory or isinstance(group.source, SecretSource)
            for file in _files(group, facts, contents):
                files[file.path] = file
    except ReferenceProblem as problem:
        return ConfigProblem(str(problem))
    return FilesVolume(volume.name, tuple(files[path] for path in sorted(files)), memory)


def _files(group: _Group, facts: PodFacts, contents: Contents) -> Iterator[VolumeFile]:
    source = group.source
    if isinstance(source, DownwardSource):
        yield from _downward(source, group.mode, facts)
        return
    key = _key(source, facts.pod.meta.namespace)
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
        mode = group.mode if item.mode is None else item.mode
        yield VolumeFile(item.path, data[item.key], mode)


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
