"""Typed view of DockerHost (ironfree.dev/v1) and the address a driver is given.

A host reached over TLS names a Secret in namespace kube-system with keys ca.crt, tls.crt and
tls.key (PEM), as `kubernetes.io/tls` secrets with a CA have them.
"""

import base64
import binascii
import re
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from ..drivers import HostAddress, TlsMaterial
from ..errors import ConfigurationError
from ..objects import quantity
from ..objects.kinds.host_limit_validation import MOST_DEVICES
from ..objects.maintenance import DOCKER_HOSTS
from ..objects.meta import ObjectMeta
from ..objects.node import Taint
from ..objects.pod import Condition, View
from ..objects.stored import ObjectKey, StoredObject

RESOURCE = DOCKER_HOSTS
TLS_NAMESPACE = "kube-system"
FINALIZER = "ironfree.dev/containers"
"""Keeps a deleted DockerHost until its containers are gone."""
EXAMINE = "ironfree.dev/examine"
"""Annotation of a DockerHost: a new value has the host examined, and is then in its status."""
SYSTEM = ObjectKey("namespaces", "", "kube-system")
"""Exists once per installation, so its uid is the installation's id."""
BY_ENGINE = "engine"
GPU = "nvidia.com/gpu"
_USER = re.compile(r"//[^/@]*@")


class DeviceResource(View, frozen=True):
    """ironfree.v1.DeviceResource."""

    name: str
    ids: tuple[str, ...] = ()


class DockerHostSpec(View, frozen=True):
    """ironfree.v1.DockerHostSpec."""

    address: str = ""
    driver: str = "docker"
    tls_secret_name: str = ""
    labels: dict[str, str] = {}
    zone: str = ""
    capacity: dict[str, str | int | float] = {}
    reserved: dict[str, str | int | float] = {}
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    options: dict[str, str] = {}
    pod_pids_limit: int = 0
    swap_behavior: str = ""
    swap: str | int | float = 0
    ulimits: dict[str, str] = {}
    devices: tuple[DeviceResource, ...] = ()
    eviction_hard: dict[str, str] = {}
    eviction_minimum_reclaim: dict[str, str] = {}
    eviction_pressure_transition_seconds: int = 300


class DockerHostStatus(View, frozen=True):
    """ironfree.v1.DockerHostStatus."""

    conditions: tuple[Condition, ...] = ()
    node_name: str = ""
    engine_version: str = ""
    api_version: str = ""
    observed_generation: int = 0
    maintenance_time: datetime | None = None


class DockerHost(msgspec.Struct, frozen=True):
    """A host as the node agents see it."""

    meta: ObjectMeta
    spec: DockerHostSpec
    stored: StoredObject

    @property
    def name(self) -> str:
        """The host's name, which is its Node's."""
        return self.meta.name

    @property
    def status(self) -> DockerHostStatus:
        """The status as stored."""
        raw = self.stored.status
        return _status.decode(raw) if raw else DockerHostStatus()

    @property
    def deleting(self) -> bool:
        """Whether it is to go."""
        return self.meta.deletion_timestamp is not None

    @property
    def examine(self) -> str:
        """The latest demand that it be examined."""
        return self.meta.annotations.get(EXAMINE, "")

    @property
    def held(self) -> bool:
        """Whether it has the finalizer that waits for its containers."""
        return FINALIZER in self.meta.finalizers

    def connects_like(self, other: "DockerHost") -> bool:
        """Return whether an open connection to the other is one to this, for the same purpose."""
        same = self.meta.uid == other.meta.uid and self.deleting == other.deleting
        same = same and devices_of(self) == devices_of(other)
        return same and all(
            getattr(self.spec, field) == getattr(other.spec, field)
            for field in ("address", "driver", "tls_secret_name", "options")
        )


def devices_of(host: DockerHost) -> dict[str, tuple[str, ...]]:
    """Return the devices a host declares, by resource; GPUs that are only counted have numbers."""
    found = {each.name: each.ids for each in host.spec.devices}
    count = host.spec.capacity.get(GPU)
    if GPU not in found and count is not None:
        found[GPU] = tuple(map(str, range(min(quantity.value(str(count)), MOST_DEVICES))))
    return found


def engine_of(host: DockerHost) -> str:
    """Return what tells a host's engine from others as far as the address says: equal is same."""
    address = host.spec.address.partition("?")[0].rstrip("/")
    address = _USER.sub("//", address)  # it is shown, and may have a password
    return f"{host.spec.driver} {address}"


def engines_of(host: DockerHost) -> list[str]:
    """Return the host's engine, for an index."""
    return [engine_of(host)]


class _Body(msgspec.Struct):
    spec: DockerHostSpec = DockerHostSpec()


class _SecretBody(msgspec.Struct):
    data: dict[str, str] = {}


_body = msgspec.json.Decoder(_Body)
_status = msgspec.json.Decoder(DockerHostStatus)
_secret = msgspec.json.Decoder(_SecretBody)


def docker_host_view(stored: StoredObject) -> DockerHost:
    """Return the typed view of a stored DockerHost."""
    return DockerHost(stored.meta, _body.decode(stored.body.json).spec, stored)


def tls_key(host: DockerHost) -> ObjectKey | None:
    """Return the key of the Secret with the host's certificates, None when it uses no TLS."""
    name = host.spec.tls_secret_name
    return ObjectKey("secrets", TLS_NAMESPACE, name) if name else None


def host_address(
    host: DockerHost, secret: StoredObject | None, system: StoredObject | None
) -> HostAddress:
    """Return what the driver is given.

    Args:
        system: the namespace SYSTEM.

    Raises:
        ConfigurationError: the namespace or the Secret is absent, or the Secret lacks a key.
    """
    if system is None:
        raise ConfigurationError(
            f"namespace {SYSTEM.name} not found; its uid tells this installation's containers "
            "from others': restart the service, which creates it"
        )
    tls = None
    if host.spec.tls_secret_name:
        tls = _tls(host, secret)
    return HostAddress(
        host.name,
        host.spec.address,
        tls,
        host.spec.options,
        cluster=system.meta.uid,
        devices=devices_of(host),
    )


def _tls(host: DockerHost, secret: StoredObject | None) -> TlsMaterial:
    name = f"{TLS_NAMESPACE}/{host.spec.tls_secret_name}"
    if secret is None:
        raise ConfigurationError(
            f'secret "{name}" not found; DockerHost {host.name} names it in spec.tlsSecretName: '
            "create it with keys ca.crt, tls.crt and tls.key"
        )
    data = _secret.decode(secret.body.json).data
    missing = [key for key in ("ca.crt", "tls.crt", "tls.key") if not data.get(key)]
    if missing:
        raise ConfigurationError(
            f'secret "{name}" of DockerHost {host.name} lacks {", ".join(missing)}: add PEM texts '
            "under keys ca.crt, tls.crt and tls.key"
        )
    try:
        return TlsMaterial(*(base64.b64decode(data[k]) for k in ("ca.crt", "tls.crt", "tls.key")))
    except binascii.Error as error:
        raise ConfigurationError(f'secret "{name}" holds data that is not base64') from error


def url_ip(url: str) -> str:
    """Return the host part of a tcp address, the loopback address for anything local."""
    return urlsplit(url).hostname or "127.0.0.1" if url.startswith("tcp://") else "127.0.0.1"
