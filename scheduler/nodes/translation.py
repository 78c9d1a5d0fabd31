"""From a pod and its containers, as Kubernetes writes them, to what a driver is given."""

from collections.abc import Mapping

from ..drivers import (
    ContainerSpec,
    EmptyDir,
    Mount,
    PodIdentity,
    PortMapping,
    PullPolicy,
    SandboxSpec,
)
from ..objects import quantity
from ..objects.pod import Container, Pod, PodSpec
from .environment import expand
from .lifecycle import spec_hash

_LONGEST_HOSTNAME = 63


def sandbox_spec(pod: Pod, attempt: int, epoch: int) -> SandboxSpec:
    """Return the pod's sandbox.

    Args:
        epoch: of the leader that makes it.
    """
    meta, spec = pod.meta, pod.spec
    host = spec.host_network
    return SandboxSpec(
        identity=PodIdentity(meta.uid, meta.namespace, meta.name, epoch),
        hostname=hostname(spec, meta.name),
        attempt=attempt,
        ports=()
        if host
        else tuple(
            PortMapping(p.container_port, p.host_port, p.protocol, p.host_ip)
            for container in (*spec.init_containers, *spec.containers)
            for p in container.ports
            if p.host_port
        ),
        volumes=tuple(
            EmptyDir(
                v.name,
                v.empty_dir.medium,
                quantity.value(str(v.empty_dir.size_limit)) if v.empty_dir.size_limit else None,
            )
            for v in spec.volumes
            if v.empty_dir is not None
        ),
        host_network=host,
        host_aliases=tuple((name, a.ip) for a in spec.host_aliases for name in a.hostnames),
    )


def hostname(spec: PodSpec, name: str) -> str:
    """Return the host name of a pod of that name."""
    return (spec.hostname or name)[:_LONGEST_HOSTNAME].rstrip("-.")


def container_spec(
    container: Container, attempt: int, sandbox_attempt: int, env: tuple[tuple[str, str], ...]
) -> ContainerSpec:
    """Return one attempt of a container; $(NAME) in command and args is expanded from env."""
    requests, limits = container.resources.requests, container.resources.limits
    return ContainerSpec(
        name=container.name,
        image=container.image,
        attempt=attempt,
        spec_hash=spec_hash(container, sandbox_attempt),
        command=_expanded(container.command, env),
        args=_expanded(container.args, env),
        env=env,
        working_dir=container.working_dir,
        mounts=tuple(Mount(m.name, m.mount_path, m.read_only) for m in container.volume_mounts),
        cpu_request=_milli(requests, "cpu") or _milli(limits, "cpu"),
        cpu_limit=_milli(limits, "cpu"),
        memory_limit=quantity.value(str(limits.get("memory", 0))),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
    )


def pull_policy(container: Container) -> PullPolicy:
    """Return the container's pull policy; without one, Always for :latest (Kubernetes default)."""
    if container.image_pull_policy:
        return PullPolicy(container.image_pull_policy)
    reference = container.image.rpartition("/")[2]
    untagged = ":" not in reference and "@" not in reference
    latest = untagged or reference.endswith(":latest")
    return PullPolicy.ALWAYS if latest else PullPolicy.IF_NOT_PRESENT


def _expanded(
    words: tuple[str, ...] | None, env: tuple[tuple[str, str], ...]
) -> tuple[str, ...] | None:
    if words is None:
        return None
    values = dict(env)
    return tuple(expand(word, values) for word in words)


def _milli(amounts: Mapping[str, str | int | float], resource: str) -> int:
    return quantity.milli(str(amounts.get(resource, 0)))
