"""Typed views of the security contexts of pods and containers (core/v1)."""

from .view import View


class Capabilities(View, frozen=True):
    """core/v1 Capabilities, without the prefix CAP_."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class Profile(View, frozen=True):
    """core/v1 SeccompProfile and AppArmorProfile."""

    type: str = ""
    localhost_profile: str = ""


class SecurityContext(View, frozen=True):
    """core/v1 SecurityContext; None leaves the answer to the pod or the engine."""

    privileged: bool | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities = Capabilities()
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None
    proc_mount: str = ""


class Sysctl(View, frozen=True):
    """core/v1 Sysctl."""

    name: str
    value: str = ""


class PodSecurityContext(View, frozen=True):
    """core/v1 PodSecurityContext."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    fs_group: int | None = None
    sysctls: tuple[Sysctl, ...] = ()
    seccomp_profile: Profile | None = None
    app_armor_profile: Profile | None = None


class DNSOption(View, frozen=True):
    """core/v1 PodDNSConfigOption."""

    name: str = ""
    value: str | None = None


class DNSConfig(View, frozen=True):
    """core/v1 PodDNSConfig."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DNSOption, ...] = ()
