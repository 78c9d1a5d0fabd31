"""Credentials for registries, from Secrets of a namespace and from the service itself."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from ..images import RegistryCredentials
from ..objects.image_reference import ImageReference
from ..objects.pod import LocalObjectReference, View
from ..objects.stored import ObjectKey, StoredObject
from .config_json import ConfigJson
from .keyring import DockerConfig, Keyring, secret_config
from .volume_content import decoded


class Objects(Protocol):
    """Reads objects of the store."""

    async def get(self, key: ObjectKey) -> StoredObject | None:
        """Return one object, or None."""
        ...


class RegistryLogins:
    """One per leader.

    Args:
        own: the service's own credentials.
    """

    def __init__(self, objects: Objects, own: ConfigJson) -> None:
        self._objects = objects
        self._own = own

    async def for_pull(
        self, namespace: str, secrets: Iterable[str], reference: ImageReference
    ) -> tuple[tuple[RegistryCredentials, ...], list[str]]:
        """Return what to try for an image, Secrets before the service's own; and missing Secrets.

        Args:
            secrets: names of Secrets of the namespace.
        """
        keyring, missing = await self.keyring(namespace, secrets)
        given = keyring.lookup(reference.repository)
        return tuple(dict.fromkeys((*given, *await self._own.lookup(reference)))), missing

    async def keyring(self, namespace: str, secrets: Iterable[str]) -> tuple[Keyring, list[str]]:
        """Return the credentials in Secrets, and the names of those that are absent or none."""
        configs: list[DockerConfig] = []
        missing: list[str] = []
        for name in secrets:
            config = await self._secret(ObjectKey("secrets", namespace, name))
            if config is None:
                missing.append(name)
            else:
                configs.append(config)
        return Keyring(configs), missing

    async def of_account(self, namespace: str, account: str) -> tuple[str, ...]:
        """Return the names of a ServiceAccount's imagePullSecrets."""
        stored = await self._objects.get(ObjectKey("serviceaccounts", namespace, account))
        references = _account.decode(stored.body.json).image_pull_secrets if stored else ()
        return names_of(references)

    async def secret(self, namespace: str, name: str) -> tuple[str, dict[str, bytes]] | None:
        """Return type and data of a Secret, None when there is none."""
        stored = await self._objects.get(ObjectKey("secrets", namespace, name))
        if stored is None:
            return None
        body = _secret_body.decode(stored.body.json)
        return body.type, decoded("secrets", body.data, {})

    async def _secret(self, key: ObjectKey) -> DockerConfig | None:
        found = await self.secret(key.namespace, key.name)
        return None if found is None else secret_config(*found)


def names_of(references: Iterable[LocalObjectReference]) -> tuple[str, ...]:
    """Return the names that references have, once each."""
    return tuple(dict.fromkeys(each.name for each in references if each.name))


class _Account(View, frozen=True):
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()


class _SecretBody(msgspec.Struct):
    type: str = ""
    data: dict[str, str] = {}


_account = msgspec.json.Decoder(_Account)
_secret_body = msgspec.json.Decoder(_SecretBody)
