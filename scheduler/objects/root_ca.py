"""The certificate of the cluster's CA: where it is kept, and the ConfigMaps that publish it."""

import sys
from base64 import b64decode

import msgspec

from .meta import ObjectMeta
from .stored import Body, ObjectKey, StoredObject

CONFIG_MAPS = "configmaps"
NAME = "kube-root-ca.crt"
"""Of the ConfigMap that every namespace has."""
KEY = ObjectKey("keys.ironfree.dev", "", "ca")
"""Where the certificate comes from."""
_FIELD = "ca.crt"


class ConfigMap(msgspec.Struct, frozen=True):
    """A ConfigMap of which only the metadata matters, unless it publishes the certificate.

    Args:
        certificate: the one in a ConfigMap of that NAME; "" where it has none, or other data too.
    """

    meta: ObjectMeta
    revision: int
    certificate: str = ""


class _Body(msgspec.Struct):
    data: dict[str, str] = {}


_body = msgspec.json.Decoder(_Body)


def config_map_view(stored: StoredObject) -> ConfigMap:
    """Return the typed view of a stored ConfigMap; equal certificates are the same string."""
    certificate = ""
    if stored.meta.name == NAME:
        data = _body.decode(stored.body.json).data
        certificate = sys.intern(data.get(_FIELD, "")) if len(data) == 1 else ""
    return ConfigMap(stored.meta, stored.revision, certificate)


def published(certificate: str) -> Body:
    """Return the body of the ConfigMap that publishes a certificate."""
    return Body(msgspec.json.encode({"data": {_FIELD: certificate}}))


def certificate_in(key: StoredObject) -> str:
    """Return the certificate (PEM) in a key of the cluster's, "" for none that can be read."""
    try:
        return b64decode(_body.decode(key.body.json).data.get(_FIELD, ""), validate=True).decode()
    except (msgspec.DecodeError, ValueError):
        return ""
