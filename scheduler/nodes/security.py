"""The security context a container runs under: its own, where it says nothing the pod's. Pure.

Source: kubelet's DetermineEffectiveSecurityContext and verifyRunAsNonRoot.
"""

from dataclasses import dataclass

from ..objects.pod import Container, PodSpec
from ..objects.security import Capabilities, Profile


@dataclass(frozen=True, slots=True)
class Effective:
    """What a driver is told; see drivers.ContainerSpec."""

    user: str
    groups: tuple[int, ...]
    privileged: bool
    read_only_root: bool
    no_new_privileges: bool
    capabilities: Capabilities
    seccomp: str
    apparmor: str
    proc_unmasked: bool


def effective(spec: PodSpec, container: Container) -> Effective:
    """Return a container's security context."""
    pod, own = spec.security_context, container.security_context
    user, group = _identity(spec, container)
    groups = pod.supplemental_groups
    if pod.fs_group is not None:
        groups = (*groups, pod.fs_group)
    return Effective(
        user="" if user is None else str(user) if group is None else f"{user}:{group}",
        groups=tuple(dict.fromkeys(groups)),
        privileged=bool(own.privileged),
        read_only_root=bool(own.read_only_root_filesystem),
        no_new_privileges=own.allow_privilege_escalation is False,
        capabilities=own.capabilities,
        seccomp=_profile(own.seccomp_profile or pod.seccomp_profile),
        apparmor=_profile(own.app_armor_profile or pod.app_armor_profile),
        proc_unmasked=own.proc_mount == "Unmasked",
    )


def _identity(spec: PodSpec, container: Container) -> tuple[int | None, int | None]:
    pod, own = spec.security_context, container.security_context
    return (
        own.run_as_user if own.run_as_user is not None else pod.run_as_user,
        own.run_as_group if own.run_as_group is not None else pod.run_as_group,
    )


def lone_user(spec: PodSpec) -> int | None:
    """Return whom all containers of a pod run as, None if they differ or one does not say."""
    users = {_identity(spec, each)[0] for each in (*spec.init_containers, *spec.containers)}
    return users.pop() if len(users) == 1 else None


def lone_group(spec: PodSpec, container: Container) -> int | None:
    """Return the group that a container is to have beside its image's user, None for no such."""
    user, group = _identity(spec, container)
    return group if user is None else None


def with_group(image_user: str, group: int) -> str:
    """Return whom to run as, for an engine takes a group beside a user only ("" is root)."""
    return f"{image_user.partition(':')[0] or 0}:{group}"


def _profile(profile: Profile | None) -> str:
    if profile is None or profile.type == "RuntimeDefault":
        return ""
    return profile.localhost_profile if profile.type == "Localhost" else "unconfined"


def runs_as_non_root(spec: PodSpec, container: Container) -> bool:
    """Return whether a container must not run as root."""
    own = container.security_context.run_as_non_root
    return bool(spec.security_context.run_as_non_root if own is None else own)


def root_problem(user: str) -> str:
    """Return why a container that must not run as root cannot be started, "" when it can.

    Args:
        user: whom it would run as: the spec's, or the image's ("" is root).
    """
    name = user.partition(":")[0]
    if not name.isdecimal():
        if name in {"", "root"}:
            return "container has runAsNonRoot and image will run as root"
        return (
            f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify "
            "user is non-root"
        )
    return "container's runAsUser breaks non-root policy" if int(name) == 0 else ""
