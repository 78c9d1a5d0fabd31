"""Reads the ConfigMaps and Secrets that volumes and environments are made of."""

from collections.abc import Mapping

import msgspec

from ..objects.pod import Container
from ..objects.stored import ObjectKey
from .environment import Data, Sources, references, secret_data
from .registry_logins import Objects
from .volume_content import decoded


async def object_data(objects: Objects, key: ObjectKey) -> Mapping[str, bytes] | None:
    """Return the decoded data of a ConfigMap or Secret, None when there is none."""
    stored = await objects.get(key)
    if stored is None:
        return None
    body = _data.decode(stored.body.json)
    return decoded(key.resource, body.data or {}, body.binary_data or {})


class _Data(msgspec.Struct, rename="camel"):
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = None


_data = msgspec.json.Decoder(_Data)


async def environment_sources(objects: Objects, namespace: str, container: Container) -> Sources:
    """Return what a container's environment names, as far as it is there."""
    config_maps: dict[str, Data] = {}
    secrets: dict[str, Data] = {}
    for reference in references(container):
        secret = reference.kind == "Secret"
        resource = "secrets" if secret else "configmaps"
        stored = await objects.get(ObjectKey(resource, namespace, reference.name))
        if stored is None:
            continue
        data = _data.decode(stored.body.json).data or {}
        if secret:
            secrets[reference.name] = secret_data(data)
        else:
            config_maps[reference.name] = dict[str, str | None](data)
    return Sources(config_maps, secrets)
