"""What the containers of a pod find to ask the API with: token, ca.crt and namespace. Pure.

As Kubernetes' ServiceAccount admission has it, but put in by the host's agent when it makes the
sandbox: what the store has of pods that were made alike stays alike.
"""

from posixpath import join, normpath

import msgspec
from msgspec.structs import replace

from ..objects.meta import ObjectMeta
from ..objects.pod import Container, Pod, PodSpec, Volume, VolumeMount
from ..objects.stored import ObjectKey, StoredObject
from ..objects.view import View
from ..objects.volumes import (
    DownwardFile,
    DownwardSource,
    FieldRef,
    ProjectedSource,
    Projection,
    TokenSource,
)
from .environment import ConfigProblem
from .volume_content import ACCOUNTS, CertificateProjection, account_name, is_written

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_ABOVE = frozenset(
    [
        *("/", "/var", "/var/run", "/var/run/secrets", "/var/run/secrets/kubernetes.io"),
        *("/run", "/run/secrets", "/run/secrets/kubernetes.io"),  # where /var/run leads
    ]
)

VOLUME = Volume(
    "kube.api.access",  # no volume of a pod's own can have such a name
    projected=ProjectedSource(
        (
            Projection(service_account_token=TokenSource("token", expiration_seconds=86_400)),
            CertificateProjection(),
            Projection(
                downward_api=DownwardSource(
                    (DownwardFile("namespace", FieldRef("metadata.namespace")),)
                )
            ),
        )
    ),
)


class Account(msgspec.Struct, frozen=True, gc=False):
    """A ServiceAccount, as far as it bears on its pods' volumes.

    Args:
        automount: None where it says nothing.
    """

    meta: ObjectMeta
    automount: bool | None = None


class _Body(View, frozen=True):
    automount_service_account_token: bool | None = None


_body = msgspec.json.Decoder(_Body)


def account_view(stored: StoredObject) -> Account:
    """Return the typed view of a ServiceAccount."""
    meta = ObjectMeta(name=stored.meta.name, namespace=stored.meta.namespace, uid=stored.meta.uid)
    return Account(meta, _body.decode(stored.body.json).automount_service_account_token)


def account_key(pod: Pod) -> ObjectKey:
    """Return the key of a pod's ServiceAccount."""
    return ObjectKey(ACCOUNTS, pod.meta.namespace, account_name(pod))


def no_account(pod: Pod) -> ConfigProblem:
    """Return the problem of a pod whose ServiceAccount does not exist."""
    return ConfigProblem(f'serviceaccount "{account_name(pod)}" not found')


def may_have_access(spec: PodSpec) -> bool:
    """Return whether a pod's containers are to have access if its account does not object."""
    if spec.automount_service_account_token is False:
        return False
    return any(_lacks(spec, each) for each in (*spec.init_containers, *spec.containers))


def has_access(spec: PodSpec, account: Account) -> bool:
    """Return whether a pod's containers are to have access."""
    said = spec.automount_service_account_token
    said = account.automount if said is None else said
    return said is not False and may_have_access(spec)


def with_access(pod: Pod) -> Pod:
    """Return a pod with the volume, and its mount in every container that has nothing there."""
    spec = pod.spec
    return replace(
        pod,
        spec=replace(
            spec,
            volumes=(*spec.volumes, VOLUME),
            init_containers=tuple(_mounting(spec, each) for each in spec.init_containers),
            containers=tuple(_mounting(spec, each) for each in spec.containers),
        ),
    )


def _mounting(spec: PodSpec, container: Container) -> Container:
    if not _lacks(spec, container):
        return container
    mount = VolumeMount(VOLUME.name, MOUNT_PATH, read_only=True)
    return replace(container, volume_mounts=(*container.volume_mounts, mount))


def _lacks(spec: PodSpec, container: Container) -> bool:
    """Return whether nothing is mounted there, and something can be.

    Below what can only be read an engine cannot make the directory to mount it on.
    """
    for mount in container.volume_mounts:
        path = normpath(join("/", mount.mount_path))
        if path == MOUNT_PATH or (path in _ABOVE and _only_read(spec, mount)):
            return False
    return True


def _only_read(spec: PodSpec, mount: VolumeMount) -> bool:
    return mount.read_only or any(
        is_written(each) for each in spec.volumes if each.name == mount.name
    )
