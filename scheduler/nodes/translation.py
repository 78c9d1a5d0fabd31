"""From a pod and its containers, as Kubernetes writes them, to what a driver is given."""

from collections.abc import Iterator, Mapping
from itertools import takewhile
from posixpath import join
from typing import NamedTuple

from msgspec.structs import replace

from ..drivers import ContainerSpec, PidMode, PodIdentity, PortMapping, PullPolicy, SandboxSpec
from ..networks import PodNetwork
from ..objects import quantity
from ..objects.image_reference import default_pull_policy
from ..objects.meta import ObjectMeta
from ..objects.pod import Container, Pod, PodSpec, Volume, VolumeMount
from ..objects.volumes import HostPathSource, NfsSource
from ..volumes import EmptyDir, FilesVolume, HostPathVolume, Mount, NamedVolume, SandboxVolume
from .api_access import VOLUME as API_ACCESS
from .environment import expand, unknown_names
from .lifecycle import spec_hash
from .security import effective
from .volume_content import is_secret, is_written

_LONGEST_HOSTNAME, _LONGEST_FQDN = 63, 64


def sandbox_spec(
    pod: Pod, attempt: int, epoch: int, network: PodNetwork | None = None
) -> SandboxSpec:
    """Return the pod's sandbox.

    Args:
        epoch: of the leader that makes it.
        network: that the host is part of.
    """
    meta, spec = pod.meta, pod.spec
    host = spec.host_network
    cluster = _cluster_names(pod, network)
    options = dict(cluster.options)
    for each in spec.dns_config.options:
        options[each.name] = each.name if each.value is None else f"{each.name}:{each.value}"
    full = spec.set_hostname_as_fqdn and bool(spec.subdomain)
    return SandboxSpec(
        identity=PodIdentity(meta.uid, meta.namespace, meta.name, epoch),
        hostname=fqdn(spec, meta)[:_LONGEST_FQDN] if full else hostname(spec, meta.name),
        attempt=attempt,
        ports=()
        if host
        else tuple(
            PortMapping(p.container_port, p.host_port, p.protocol, p.host_ip)
            for container in (*spec.init_containers, *spec.containers)
            for p in container.ports
            if p.host_port
        ),
        volumes=tuple(_volumes(spec)),
        host_network=host,
        host_aliases=tuple((name, a.ip) for a in spec.host_aliases for name in a.hostnames),
        dns_servers=(*cluster.servers, *spec.dns_config.nameservers),
        dns_searches=(*cluster.searches, *_searches(spec)),
        dns_options=tuple(options.values()),
        domain="" if full else domain(spec, meta.namespace),  # an engine would append it
        host_ipc=spec.host_ipc,
        sysctls=tuple((s.name, s.value) for s in spec.security_context.sysctls),
        fs_group=spec.security_context.fs_group,
        subnet="" if host or network is None else network.subnet,
        api_access=API_ACCESS in spec.volumes,
    )


class _Resolving(NamedTuple):
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()  # by name, as resolv.conf(5) has them


def _cluster_names(pod: Pod, network: PodNetwork | None) -> _Resolving:
    """Return how a pod finds Services by name (kubelet's dnsPolicy)."""
    policy = pod.spec.dns_policy
    first = policy == "ClusterFirst" and not pod.spec.host_network
    if network is None or not (first or policy == "ClusterFirstWithHostNet"):
        return _Resolving()
    zone = network.zone
    searches = (f"{pod.meta.namespace}.svc.{zone}", f"svc.{zone}", zone)
    return _Resolving((network.resolver,), searches, (("ndots", "ndots:5"),))


def _searches(spec: PodSpec) -> tuple[str, ...]:
    """Return the domains to search; "." is none, for without any an engine takes the host's."""
    config = spec.dns_config
    return config.searches or ((".",) if spec.dns_policy == "None" else ())


def domain(spec: PodSpec, namespace: str) -> str:
    """Return the domain of a pod with a subdomain (cluster domain cluster.local), else ""."""
    return f"{spec.subdomain}.{namespace}.svc.cluster.local" if spec.subdomain else ""


def fqdn(spec: PodSpec, meta: ObjectMeta) -> str:
    """Return the fully qualified name of a pod with a subdomain."""
    return f"{hostname(spec, meta.name)}.{domain(spec, meta.namespace)}"


def hostname(spec: PodSpec, name: str) -> str:
    """Return the host name of a pod of that name."""
    return (spec.hostname or name)[:_LONGEST_HOSTNAME].rstrip("-.")


def container_spec(
    spec: PodSpec,
    container: Container,
    attempt: int,
    sandbox_attempt: int,
    env: tuple[tuple[str, str], ...],
) -> ContainerSpec:
    """Return one attempt of a container; $(NAME) in command and args is expanded from env.

    Args:
        spec: of its pod.
    """
    security = effective(spec, container)
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
        mounts=tuple(_mount(spec, m, env) for m in container.volume_mounts),
        cpu_request=_milli(requests, "cpu") or _milli(limits, "cpu"),
        cpu_limit=_milli(limits, "cpu"),
        memory_limit=quantity.value(str(limits.get("memory", 0))),
        stdin=container.stdin,
        stdin_once=container.stdin_once,
        tty=container.tty,
        stop_signal=container.lifecycle.stop_signal if container.lifecycle else "",
        pid=_pid_mode(spec),
        host_ipc=spec.host_ipc,
        user=security.user,
        groups=security.groups,
        privileged=security.privileged,
        read_only_root=security.read_only_root,
        capabilities_added=security.capabilities.add,
        capabilities_dropped=security.capabilities.drop,
        no_new_privileges=security.no_new_privileges,
        seccomp=security.seccomp,
        apparmor=security.apparmor,
        proc_unmasked=security.proc_unmasked,
        message_path=container.termination_message_path,
        position=_position(spec, container),
    )


def _position(spec: PodSpec, container: Container) -> int:
    """Return its place in the pod, which ephemeral containers that come later do not change."""
    every = (*spec.init_containers, *spec.containers, *spec.ephemeral_containers)
    return next((at for at, each in enumerate(every) if each.name == container.name), 0)


def _volumes(spec: PodSpec) -> Iterator[SandboxVolume]:
    """Yield what the sandbox has mounted, whose places must not change while it lives.

    The token's volume comes first: an engine may have only the first ones written to, and what a
    claim stands for may change the places of others. Directories of the host come last, but for
    claimed ones: earlier versions had no others.
    """
    later: list[HostPathVolume] = []
    for each in _in_order(spec):
        made = _volume(spec, each)
        if isinstance(made, HostPathVolume) and each.persistent_volume_claim is None:
            later.append(made)
        elif made is not None:
            yield made
    yield from later


def _in_order(spec: PodSpec) -> list[Volume]:
    return sorted(spec.volumes, key=lambda volume: volume != API_ACCESS)


def before_claims(pod: Pod) -> Pod:
    """Return a pod with those volumes alone whose places do not depend on what claims stand for."""
    kept = takewhile(lambda volume: volume.persistent_volume_claim is None, _in_order(pod.spec))
    return replace(pod, spec=replace(pod.spec, volumes=tuple(kept)))


def _volume(spec: PodSpec, volume: Volume) -> SandboxVolume | None:
    """Return what the sandbox has mounted of a volume, None for nothing."""
    empty = volume.empty_dir
    if empty is not None:
        size = quantity.value(str(empty.size_limit)) if empty.size_limit else None
        return EmptyDir(volume.name, empty.medium, size)
    if is_written(volume):
        return FilesVolume(volume.name, memory=is_secret(volume))
    if volume.nfs is not None:
        return NamedVolume(volume.name, options=_nfs(volume.nfs))
    if volume.csi is not None:
        return NamedVolume(volume.name, volume.csi.volume_handle)
    if volume.host_path is not None and _is_in_parts(spec, volume):
        return HostPathVolume(volume.name, volume.host_path.path, _is_made(volume.host_path))
    return None


def _is_in_parts(spec: PodSpec, volume: Volume) -> bool:
    """Return whether a container has a part of a volume mounted (ephemeral ones may not)."""
    mounts = (
        mount
        for container in (*spec.init_containers, *spec.containers)
        for mount in container.volume_mounts
    )
    return any(m.name == volume.name and (m.sub_path or m.sub_path_expr) for m in mounts)


def _is_made(path: HostPathSource) -> bool:
    return path.type in {"", "DirectoryOrCreate"}


def _nfs(source: NfsSource) -> tuple[tuple[str, str], ...]:
    """Return a mount as the engine's local driver is told of it."""
    server = f"[{source.server}]" if ":" in source.server else source.server
    options = ",".join((f"addr={source.server}", *source.mount_options))
    return (("type", "nfs"), ("device", f"{server}:{source.path}"), ("o", options))


def _only_read(volume: Volume) -> bool:
    sources = (volume.persistent_volume_claim, volume.nfs, volume.csi)
    return is_written(volume) or any(each is not None and each.read_only for each in sources)


def _mount(spec: PodSpec, mount: VolumeMount, env: tuple[tuple[str, str], ...]) -> Mount:
    volume = next((v for v in spec.volumes if v.name == mount.name), None)
    source = volume.host_path if volume is not None else None
    claimed = volume is not None and volume.persistent_volume_claim is not None
    return Mount(
        volume=mount.name,
        path=join("/", mount.mount_path),
        read_only=mount.read_only or (volume is not None and _only_read(volume)),
        sub_path=expand(mount.sub_path_expr, dict(env)) or mount.sub_path,
        host_path=source.path if source is not None else "",
        create=source is not None and _is_made(source),
        propagation="" if mount.mount_propagation == "None" else mount.mount_propagation,
        lasting=volume.csi.volume_handle if volume is not None and volume.csi is not None else "",
        group=spec.security_context.fs_group or 0 if source is None or claimed else 0,
    )


def part_problem(container: Container, env: tuple[tuple[str, str], ...]) -> str:
    """Return why it is not known what of its volumes a container is to see, "" if it is."""
    for mount in container.volume_mounts:
        unknown = unknown_names(mount.sub_path_expr, dict(env))
        if unknown:
            return (
                f"subPathExpr {mount.sub_path_expr} of volume {mount.name} names "
                f"{', '.join(unknown)}, which the container's environment does not have"
            )
    return ""


def _pid_mode(spec: PodSpec) -> PidMode:
    if spec.host_pid:
        return PidMode.HOST
    return PidMode.POD if spec.share_process_namespace else PidMode.CONTAINER


def pull_policy(container: Container) -> PullPolicy:
    """Return the container's pull policy, or Kubernetes' default for its image."""
    return PullPolicy(container.image_pull_policy or default_pull_policy(container.image))


def _expanded(
    words: tuple[str, ...] | None, env: tuple[tuple[str, str], ...]
) -> tuple[str, ...] | None:
    if words is None:
        return None
    values = dict(env)
    return tuple(expand(word, values) for word in words)


def _milli(amounts: Mapping[str, str | int | float], resource: str) -> int:
    return quantity.milli(str(amounts.get(resource, 0)))
