"""Names and labels: how a pod is found again on an engine, by whoever looks.

The name of a container or volume follows from the pod alone, so creating it is an atomic claim: of
two creates one answers 409. Kubernetes names have no underscore and no capitals, so the parts of a
name cannot run into each other and `POD` is no container's name.
"""

from collections.abc import Mapping

from scheduler.drivers import ContainerSpec, PodIdentity, SandboxSpec, SandboxStatus
from scheduler.foreign import Adopted
from scheduler.volumes import EmptyDir, FilesVolume, NamedVolume

_PREFIX = "ironfree.dev/"
CLUSTER = _PREFIX + "cluster"
"""Whose it is, for several installations may share an engine; absent on what older ones made."""
POD_UID = _PREFIX + "pod-uid"
POD_NAMESPACE = _PREFIX + "pod-namespace"
POD_NAME = _PREFIX + "pod-name"
EPOCH = _PREFIX + "epoch"
CONTAINER = _PREFIX + "container"
ATTEMPT = _PREFIX + "attempt"
SPEC_HASH = _PREFIX + "spec-hash"
SANDBOX = _PREFIX + "sandbox"
"""On an app: the id of the infra container whose namespaces it lives in."""

DEVICES = _PREFIX + "devices"
"""On an app: which devices of the host it was given, as JSON."""
CONTENT = _PREFIX + "content"
"""On a volume: its files are written by Ironfree, and no container writes into it."""

LASTING = _PREFIX + "lasting"
"""On a volume: it stays when its pods go."""

ADOPTED = _PREFIX + "adopted"
"""Not on the engine, but said of a container that was made by somebody else and is a pod's now."""
COMMITTED = _PREFIX + "committed"
"""On an image: it was made of a pod's container."""

RUNTIME = _PREFIX + "runtime"
"""On the infra container: the engine's name of the runtime, where it is not its default."""

API_ACCESS = _PREFIX + "api-access"
"""On the infra container: the pod's volumes include what its containers ask the API with."""

NETWORK = _PREFIX + "network"
"""On the container that serves the network of pods: of which image and on which port."""

INFRA = "POD"


def container_name(identity: PodIdentity, container: str, attempt: int) -> str:
    """The one name of an attempt of a container; `INFRA` for the sandbox."""
    pod = f"{identity.name}_{identity.namespace}_{identity.uid}"
    return f"ironfree_{container}_{pod}_{attempt}"


def volume_name(pod_uid: str, volume: str) -> str:
    """The one name of a pod's volume."""
    return f"ironfree_{pod_uid}_{volume}"


def engine_volume(pod_uid: str, volume: EmptyDir | FilesVolume | NamedVolume) -> str:
    """The one name of a volume that a pod mounts, be it the pod's or not."""
    lasting = volume.lasting if isinstance(volume, NamedVolume) else ""
    return lasting or volume_name(pod_uid, volume.name)


def belongs(labels: Mapping[str, str], cluster: str) -> bool:
    """Whether what has these labels is of installation `cluster`."""
    return labels.get(CLUSTER, "") in {"", cluster}


def is_ours(labels: Mapping[str, str], cluster: str) -> bool:
    """Whether the container with these labels was made by installation `cluster`."""
    return (POD_UID in labels or CLUSTER in labels) and belongs(labels, cluster)


def pod_labels(identity: PodIdentity, cluster: str) -> dict[str, str]:
    """Labels of everything that belongs to the pod."""
    return {
        **({CLUSTER: cluster} if cluster else {}),
        POD_UID: identity.uid,
        POD_NAMESPACE: identity.namespace,
        POD_NAME: identity.name,
        EPOCH: str(identity.epoch),
    }


def sandbox_labels(spec: SandboxSpec, cluster: str) -> dict[str, str]:
    """Labels of the infra container."""
    own = {CONTAINER: INFRA, ATTEMPT: str(spec.attempt)}
    if spec.runtime:
        own[RUNTIME] = spec.runtime
    if spec.api_access:
        own[API_ACCESS] = "true"
    return pod_labels(spec.identity, cluster) | own


def container_labels(sandbox: SandboxStatus, spec: ContainerSpec, cluster: str) -> dict[str, str]:
    """Labels of an app container in a sandbox."""
    return pod_labels(sandbox.identity, cluster) | {
        CONTAINER: spec.name,
        ATTEMPT: str(spec.attempt),
        SPEC_HASH: spec.spec_hash,
        SANDBOX: sandbox.id,
    }


def adopted_labels(container_id: str, adopted: Adopted, cluster: str) -> dict[str, str]:
    """Labels that a container would have, had it been made for its pod."""
    return pod_labels(adopted.identity, cluster) | {
        CONTAINER: adopted.container,
        ATTEMPT: "0",
        SPEC_HASH: adopted.spec_hash,
        SANDBOX: container_id,
        ADOPTED: "true",
    }


def identity_of(labels: Mapping[str, str]) -> PodIdentity:
    """The pod that labels name."""
    return PodIdentity(
        uid=labels.get(POD_UID, ""),
        namespace=labels.get(POD_NAMESPACE, ""),
        name=labels.get(POD_NAME, ""),
        epoch=number(labels, EPOCH),
    )


def number(labels: Mapping[str, str], key: str) -> int:
    """A label's number, 0 when it is absent or none (someone else may write labels)."""
    text = labels.get(key, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
