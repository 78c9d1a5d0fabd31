"""Typed views of the sources of volumes that Ironfree mounts (core/v1)."""

import msgspec

from .view import View


class FieldRef(View, frozen=True):
    """core/v1 ObjectFieldSelector."""

    field_path: str


class ResourceFieldRef(View, frozen=True):
    """core/v1 ResourceFieldSelector."""

    resource: str
    container_name: str = ""
    divisor: str = "0"


class KeyToPath(View, frozen=True):
    """core/v1 KeyToPath."""

    key: str
    path: str
    mode: int | None = None


class ConfigMapSource(View, frozen=True):
    """core/v1 ConfigMapVolumeSource and ConfigMapProjection."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class SecretSource(View, frozen=True):
    """core/v1 SecretVolumeSource, and SecretProjection with its other name for the name."""

    secret_name: str = ""
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int = 0o644
    optional: bool = False


class DownwardFile(View, frozen=True):
    """core/v1 DownwardAPIVolumeFile."""

    path: str
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    mode: int | None = None


class DownwardSource(View, frozen=True):
    """core/v1 DownwardAPIVolumeSource and DownwardAPIProjection."""

    items: tuple[DownwardFile, ...] = ()
    default_mode: int = 0o644


class TokenSource(View, frozen=True):
    """core/v1 ServiceAccountTokenProjection; audience "" is the API."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class Projection(View, frozen=True):
    """core/v1 VolumeProjection: one member is set."""

    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)
    service_account_token: TokenSource | None = None


class ProjectedSource(View, frozen=True):
    """core/v1 ProjectedVolumeSource."""

    sources: tuple[Projection, ...] = ()
    default_mode: int = 0o644


class HostPathSource(View, frozen=True):
    """core/v1 HostPathVolumeSource."""

    path: str
    type: str = ""


class ClaimSource(View, frozen=True):
    """core/v1 PersistentVolumeClaimVolumeSource."""

    claim_name: str
    read_only: bool = False


class NfsSource(View, frozen=True):
    """core/v1 NFSVolumeSource."""

    server: str
    path: str
    read_only: bool = False
    mount_options: tuple[str, ...] = ()  # of a PersistentVolume


class LocalSource(View, frozen=True):
    """core/v1 LocalVolumeSource."""

    path: str


class CsiSource(View, frozen=True):
    """core/v1 CSIPersistentVolumeSource."""

    driver: str
    volume_handle: str = ""
    read_only: bool = False
