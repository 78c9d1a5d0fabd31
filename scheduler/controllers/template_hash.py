"""When two pod templates are the same, and a short name for each. Pure."""

import hashlib
from functools import lru_cache

import msgspec

from ..objects.json import JsonObject
from ..objects.kinds.pod_defaults import default_pod_spec
from ..objects.names import SUFFIX_ALPHABET
from ..objects.pod_owner import PodTemplate, TemplateMeta

HASH = "pod-template-hash"
"""Label of a Deployment's ReplicaSets and their pods."""
_LENGTH = 10


def template_hash(template: PodTemplate, collisions: int) -> str:
    """Return the name of a template.

    Args:
        collisions: how often another template had the same name.
    """
    said = identity(template) + str(collisions).encode()
    value = int.from_bytes(hashlib.blake2b(said, digest_size=8).digest())
    text = ""
    for _ in range(_LENGTH):
        value, digit = divmod(value, len(SUFFIX_ALPHABET))
        text += SUFFIX_ALPHABET[digit]
    return text


def identity(template: PodTemplate) -> bytes:
    """Return what is equal for equal templates: without the label HASH, with defaults filled in."""
    meta = template.metadata
    labels = {key: value for key, value in meta.labels.items() if key != HASH}
    said = msgspec.json.encode(
        TemplateMeta(labels, meta.annotations, meta.finalizers), order="deterministic"
    )
    return said + _canonical(bytes(template.spec))


@lru_cache(maxsize=4096)
def _canonical(spec: bytes) -> bytes:
    value: JsonObject = msgspec.json.decode(spec)
    default_pod_spec(value)
    return msgspec.json.encode(value, order="deterministic")
