"""The Pod Security Standards: what a pod may ask for at each level. Pure.

Source: Kubernetes, Pod Security Standards and k8s.io/pod-security-admission (checks as of "latest",
messages shortened). Levels stand in labels of the namespace; other versions than "latest" are
judged as "latest", which is never laxer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..json import Json, JsonObject
from .fields import child, children, number, text, texts

PREFIX = "pod-security.kubernetes.io/"
PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")
MODES = ("enforce", "audit", "warn")

_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
_SYSCTLS = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ]
)
_VOLUMES = frozenset(
    [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ]
)
_SELINUX = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")

Check = Callable[[JsonObject], Iterator[str]]


def level_of(labels: Mapping[str, str], mode: str) -> str:
    """Return the level a namespace's labels set for a mode, "privileged" without one."""
    level = labels.get(PREFIX + mode, PRIVILEGED)
    return level if level in LEVELS else RESTRICTED  # as upstream: what is unreadable is strictest


def violations(spec: JsonObject, level: str) -> list[str]:
    """Return what of a pod spec the level forbids, a sentence a check; [] when it conforms."""
    checks: tuple[Check, ...] = ()
    if level in {BASELINE, RESTRICTED}:
        checks = _BASELINE
    if level == RESTRICTED:
        checks += _RESTRICTED
    return [sentence for check in checks for sentence in check(spec)]


def complaint(spec: JsonObject, level: str) -> str:
    """Return what is wrong as one phrase, "" when the spec conforms."""
    found = violations(spec, level)
    return f'PodSecurity "{level}:latest": {", ".join(found)}' if found else ""


def containers(spec: JsonObject) -> list[JsonObject]:
    """Return every container of a pod spec."""
    keys = ("initContainers", "containers", "ephemeralContainers")
    return [container for key in keys for container in children(spec, key)]


def _security(container: JsonObject) -> JsonObject:
    return child(container, "securityContext")


def _named(found: Sequence[JsonObject]) -> str:
    names = ", ".join(f'"{text(container, "name")}"' for container in found)
    return f"container{'s' if len(found) > 1 else ''} {names}"


def _where(spec: JsonObject, bad: Callable[[JsonObject], bool]) -> list[JsonObject]:
    return [container for container in containers(spec) if bad(container)]


# --- baseline -------------------------------------------------------------------------------


def _host_namespaces(spec: JsonObject) -> Iterator[str]:
    found = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    if found:
        yield f"host namespaces ({', '.join(found)})"


def _privileged(spec: JsonObject) -> Iterator[str]:
    found = _where(spec, lambda c: bool(_security(c).get("privileged")))
    if found:
        yield f"privileged ({_named(found)} must not set securityContext.privileged=true)"


def _added(container: JsonObject) -> list[str]:
    return texts(child(_security(container), "capabilities"), "add")


def _capabilities(spec: JsonObject) -> Iterator[str]:
    found = _where(spec, lambda c: any(name not in _CAPABILITIES for name in _added(c)))
    if found:
        bad = sorted({name for c in found for name in _added(c)} - _CAPABILITIES)
        listed = ", ".join(f'"{name}"' for name in bad)
        yield (
            f"non-default capabilities ({_named(found)} must not include {listed} in "
            "securityContext.capabilities.add)"
        )


def _host_paths(spec: JsonObject) -> Iterator[str]:
    found = [text(v, "name") for v in children(spec, "volumes") if v.get("hostPath") is not None]
    if found:
        listed = ", ".join(f'"{name}"' for name in found)
        yield f"hostPath volumes (volume{'s' if len(found) > 1 else ''} {listed})"


def _host_ports(spec: JsonObject) -> Iterator[str]:
    found = _where(spec, lambda c: any(number(p, "hostPort") for p in children(c, "ports")))
    if found:
        ports = sorted({number(p, "hostPort") for c in found for p in children(c, "ports")} - {0})
        listed = ", ".join(map(str, ports))
        yield f"hostPort ({_named(found)} uses hostPort{'s' * (len(ports) > 1)} {listed})"


def _host_addresses(spec: JsonObject) -> Iterator[str]:
    def bad(container: JsonObject) -> bool:
        lifecycle = child(container, "lifecycle")
        handlers = [child(container, name) for name in _HANDLERS]
        handlers += [child(lifecycle, name) for name in ("postStart", "preStop")]
        hosts = [
            text(child(h, kind), "host") for h in handlers for kind in ("httpGet", "tcpSocket")
        ]
        return any(hosts)

    found = _where(spec, bad)
    if found:
        yield f"probe or lifecycle host ({_named(found)} uses probe or lifecycle host)"


def _profile_type(at: JsonObject, key: str) -> str:
    return text(child(at, key), "type")


def _unconfined(spec: JsonObject) -> Iterator[str]:
    for key, word in (("appArmorProfile", "appArmorProfile"), ("seccompProfile", "seccompProfile")):
        everywhere = [_profile_type(child(spec, "securityContext"), key)]
        everywhere += [_profile_type(_security(c), key) for c in containers(spec)]
        if "Unconfined" in everywhere:
            yield f'{word} (pod or container must not set {word}.type to "Unconfined")'


def _selinux(spec: JsonObject) -> Iterator[str]:
    for at in (spec, *containers(spec)):
        options = child(child(at, "securityContext"), "seLinuxOptions")
        bad = text(options, "user") or text(options, "role")
        if bad or text(options, "type") not in _SELINUX:
            yield "seLinuxOptions (pod or container sets forbidden securityContext.seLinuxOptions)"
            return


def _proc_mount(spec: JsonObject) -> Iterator[str]:
    found = _where(spec, lambda c: text(_security(c), "procMount") not in {"", "Default"})
    if found:
        yield f'procMount ({_named(found)} must not set securityContext.procMount to "Unmasked")'


def _sysctls(spec: JsonObject) -> Iterator[str]:
    named = [text(each, "name") for each in children(child(spec, "securityContext"), "sysctls")]
    bad = [name for name in named if name not in _SYSCTLS]
    if bad:
        yield f"forbidden sysctls ({', '.join(bad)})"


# --- restricted -----------------------------------------------------------------------------


def _volume_types(spec: JsonObject) -> Iterator[str]:
    bad = [
        (text(volume, "name"), kind)
        for volume in children(spec, "volumes")
        for kind in volume
        if kind != "name" and kind not in _VOLUMES
    ]
    if bad:
        listed = ", ".join(f'volume "{name}" uses restricted volume type "{k}"' for name, k in bad)
        yield f"restricted volume types ({listed})"


def _escalation(spec: JsonObject) -> Iterator[str]:
    found = _where(spec, lambda c: _security(c).get("allowPrivilegeEscalation") is not False)
    if found:
        yield (
            f"allowPrivilegeEscalation != false ({_named(found)} must set "
            "securityContext.allowPrivilegeEscalation=false)"
        )


def _falls_back(spec: JsonObject, container: JsonObject, key: str) -> Json:
    own = _security(container).get(key)
    return own if own is not None else child(spec, "securityContext").get(key)


def _non_root(spec: JsonObject) -> Iterator[str]:
    found = _where(spec, lambda c: _falls_back(spec, c, "runAsNonRoot") is not True)
    if found:
        yield (
            f"runAsNonRoot != true (pod or {_named(found)} must set "
            "securityContext.runAsNonRoot=true)"
        )
    at = [child(spec, "securityContext"), *map(_security, containers(spec))]
    if any(each.get("runAsUser") == 0 for each in at):
        yield "runAsUser=0 (pod or container must not set runAsUser=0)"


def _seccomp(spec: JsonObject) -> Iterator[str]:
    def bad(container: JsonObject) -> bool:
        own = _profile_type(_security(container), "seccompProfile")
        level = own or _profile_type(child(spec, "securityContext"), "seccompProfile")
        return level not in {"RuntimeDefault", "Localhost"}

    found = _where(spec, bad)
    if found:
        yield (
            f"seccompProfile (pod or {_named(found)} must set securityContext.seccompProfile.type "
            'to "RuntimeDefault" or "Localhost")'
        )


def _drops(spec: JsonObject) -> Iterator[str]:
    def keeps(container: JsonObject) -> bool:
        return "ALL" not in texts(child(_security(container), "capabilities"), "drop")

    def adds(container: JsonObject) -> bool:
        return any(name != "NET_BIND_SERVICE" for name in _added(container))

    if found := _where(spec, keeps):
        yield (
            f"unrestricted capabilities ({_named(found)} must set "
            'securityContext.capabilities.drop=["ALL"])'
        )
    if found := _where(spec, adds):
        yield f"unrestricted capabilities ({_named(found)} may only add NET_BIND_SERVICE)"


_BASELINE: tuple[Check, ...] = (
    _host_namespaces,
    _privileged,
    _capabilities,
    _host_paths,
    _host_ports,
    _host_addresses,
    _unconfined,
    _selinux,
    _proc_mount,
    _sysctls,
)
_RESTRICTED: tuple[Check, ...] = (_volume_types, _escalation, _non_root, _seccomp, _drops)
