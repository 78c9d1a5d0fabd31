"""Which fields of a pod Ironfree acts on, and what happens to the rest.

The one table behind rejections, warnings and the support matrix of the documentation. A field that
would change what runs, where, or as whom is rejected while it is not acted on; one that only
refines supervision or hardening draws a warning; nothing is dropped in silence.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ...errors import Cause
from ..json import Json, JsonObject
from .fields import child, children


class Support(StrEnum):
    """What Ironfree does with a field."""

    ENFORCED = "enforced"
    KEPT = "kept, without effect"
    WARNED = "accepted with a warning, without effect"
    REJECTED = "rejected"


@dataclass(frozen=True)
class FieldSupport:
    """How one field is treated.

    Args:
        note: why, or what a user should do instead.
        harmless: values that mean the same as leaving the field out; never reported.
    """

    support: Support
    note: str = ""
    harmless: tuple[Json, ...] = ()


_YES = FieldSupport(Support.ENFORCED)
_EMPTY: tuple[Json, ...] = (None, False, "", 0, [], {})


def _supported(note: str) -> FieldSupport:
    return FieldSupport(Support.ENFORCED, note)


def _kept(note: str) -> FieldSupport:
    return FieldSupport(Support.KEPT, note)


def _warn(note: str, *harmless: Json) -> FieldSupport:
    return FieldSupport(Support.WARNED, note, harmless)


def _reject(note: str, *harmless: Json) -> FieldSupport:
    return FieldSupport(Support.REJECTED, note, harmless)


Table = Mapping[str, FieldSupport]

POD_SPEC: Table = {
    "volumes": _YES,
    "containers": _YES,
    "restartPolicy": _YES,
    "terminationGracePeriodSeconds": _YES,
    "nodeSelector": _YES,
    "nodeName": _YES,
    "hostNetwork": _YES,
    "hostname": _YES,
    "affinity": _YES,
    "tolerations": _YES,
    "hostAliases": _YES,
    "priorityClassName": _YES,
    "priority": _YES,
    "preemptionPolicy": _YES,
    "overhead": _YES,
    "schedulingGates": _YES,
    "schedulingGroup": _YES,
    "topologySpreadConstraints": _YES,
    "resources": _supported("a limit holds for each container; requests are shared out to them"),
    "schedulerName": _YES,
    "serviceAccountName": _supported(
        "a pod waits on its host until the account exists, if it is to have a token"
    ),
    "serviceAccount": _supported("the older name of serviceAccountName"),
    "automountServiceAccountToken": _supported(
        "token, ca.crt and namespace are mounted by the host, so the volume is not shown; where "
        "the host is part of the network of pods, and not below a mount that can only be read"
    ),
    "enableServiceLinks": _supported(
        "where the host is part of the network of pods; of the API every container is told"
    ),
    "initContainers": _YES,
    "activeDeadlineSeconds": _YES,
    "hostPID": _YES,
    "hostIPC": _YES,
    "shareProcessNamespace": _YES,
    "runtimeClassName": _supported("the handler is a runtime of the engine"),
    "resourceClaims": _reject("dynamic resource allocation is not supported"),
    "ephemeralContainers": FieldSupport(
        Support.ENFORCED, "not when the pod is created: through pods/NAME/ephemeralcontainers"
    ),
    "hostnameOverride": _reject("set hostname instead"),
    "hostUsers": _warn("user namespaces are not made", True),
    "imagePullSecrets": _supported("else those of the pod's ServiceAccount"),
    "subdomain": _supported("the pod's own name; the domain is cluster.local"),
    "setHostnameAsFQDN": _YES,
    "dnsPolicy": _supported(
        "with Default, and where the host is no part of the network of pods, it is the host's "
        "resolver, whose options stay with None, too, unless dnsConfig has others"
    ),
    "dnsConfig": _supported(
        "what is given here comes behind the cluster's, and replaces the host's"
    ),
    "readinessGates": _YES,
    "evictionResponders": _warn("nobody is asked before an eviction"),
    "securityContext": _YES,
    "os": _YES,
}

_SECCOMP = _supported("the engine's default where none is set; no file of the host can be named")

POD_SECURITY: Table = {
    "runAsUser": _YES,
    "runAsGroup": _YES,
    "runAsNonRoot": _YES,
    "supplementalGroups": _YES,
    "fsGroup": _supported(
        "of emptyDir, files that are written, and Docker volumes when they are made; hostPath, "
        "local and nfs volumes stay as they are"
    ),
    "sysctls": _supported("those that the engine and the kernel keep apart for each pod"),
    "seccompProfile": _SECCOMP,
    "appArmorProfile": _YES,
    "fsGroupChangePolicy": _kept("only volumes of the pod itself are given to the group, when new"),
    "supplementalGroupsPolicy": _warn("the engine adds the image's own groups", "Merge"),
    "windowsOptions": _reject("only Linux runs here"),
    "seLinuxOptions": _warn("the engine's own labels are used"),
    "seLinuxChangePolicy": _warn("the engine's own labels are used"),
}

CONTAINER: Table = {
    "name": _YES,
    "image": _YES,
    "command": _YES,
    "args": _YES,
    "workingDir": _YES,
    "ports": _YES,
    "env": _YES,
    "envFrom": _YES,
    "resources": _YES,
    "volumeMounts": _YES,
    "imagePullPolicy": _YES,
    "stdin": _YES,
    "tty": _YES,
    "securityContext": _YES,
    "terminationMessagePath": _supported("for the first 32 containers of a pod"),
    "terminationMessagePolicy": _YES,
    "resizePolicy": _kept("resources are not changed in place"),
    "stdinOnce": _YES,
    "livenessProbe": _YES,
    "readinessProbe": _YES,
    "startupProbe": _YES,
    "lifecycle": _YES,
    "volumeDevices": _reject("block devices are not supported"),
    "restartPolicy": _YES,
    "restartPolicyRules": _YES,
}

PROBE: Table = {
    "exec": _supported("one that takes too long counts as failed, but goes on in its container"),
    "httpGet": _YES,
    "tcpSocket": _YES,
    "grpc": _YES,
    "initialDelaySeconds": _YES,
    "timeoutSeconds": _YES,
    "periodSeconds": _YES,
    "successThreshold": _YES,
    "failureThreshold": _YES,
    "terminationGracePeriodSeconds": _YES,
}

LIFECYCLE: Table = {"postStart": _YES, "preStop": _YES, "stopSignal": _YES}

HANDLER: Table = {"exec": _YES, "httpGet": _YES, "tcpSocket": _YES, "sleep": _YES}

HTTP_GET: Table = {
    "path": _YES,
    "port": _YES,
    "host": _YES,
    "scheme": _YES,
    "httpHeaders": _YES,
    "protocol": _reject("probes and hooks speak HTTP/1.1"),
}

GRPC: Table = {
    "port": _YES,
    "service": _YES,
    "mode": _reject("probes speak gRPC without TLS"),
}

_NOT_EPHEMERAL = _reject("may not be set for ephemeral containers")

EPHEMERAL_CONTAINER: Table = CONTAINER | {
    "targetContainerName": _YES,
    "ports": _NOT_EPHEMERAL,
    "livenessProbe": _NOT_EPHEMERAL,
    "readinessProbe": _NOT_EPHEMERAL,
    "startupProbe": _NOT_EPHEMERAL,
    "lifecycle": _NOT_EPHEMERAL,
    "resources": _NOT_EPHEMERAL,
    "resizePolicy": _NOT_EPHEMERAL,
    "restartPolicy": _NOT_EPHEMERAL,
    "restartPolicyRules": _NOT_EPHEMERAL,
}

_APP_ARMOR = _supported("also by the annotation of older versions, when the pod is made")

SECURITY: Table = {
    "privileged": _YES,
    "runAsUser": _YES,
    "runAsGroup": _YES,
    "runAsNonRoot": _YES,
    "readOnlyRootFilesystem": _YES,
    "allowPrivilegeEscalation": _YES,
    "capabilities": _YES,
    "seccompProfile": _SECCOMP,
    "appArmorProfile": _APP_ARMOR,
    "procMount": _YES,
    "windowsOptions": _reject("only Linux runs here"),
    "seLinuxOptions": _warn("the engine's own labels are used"),
}

CAPABILITIES: Table = {"add": _YES, "drop": _YES}

POD_OS: Table = {"name": _reject("only Linux runs here", "linux")}

_HUGE_PAGES = "huge pages are counted; an engine cannot limit them"

RESOURCES: Table = {
    "limits": _supported(f"{_HUGE_PAGES}; disk is looked at now and then, without logs"),
    "requests": _supported(_HUGE_PAGES),
    "claims": _reject("dynamic resource allocation is not supported"),
}

_NO_VOLUME = _reject("volumes of this type cannot be mounted")
_ROOTS = _reject("files belong to root, and to the fsGroup")

VOLUME: Table = {
    "name": _YES,
    "emptyDir": _YES,
    "hostPath": _YES,
    "configMap": _YES,
    "secret": _YES,
    "projected": _YES,
    "downwardAPI": _YES,
    "persistentVolumeClaim": _YES,
    "ephemeral": _NO_VOLUME,
    "image": _NO_VOLUME,
    "csi": _NO_VOLUME,
    "nfs": _supported("by the engine's local driver; the host needs an NFS client"),
    "iscsi": _NO_VOLUME,
    "fc": _NO_VOLUME,
    "flexVolume": _NO_VOLUME,
    "gitRepo": _NO_VOLUME,
    "awsElasticBlockStore": _NO_VOLUME,
    "azureDisk": _NO_VOLUME,
    "azureFile": _NO_VOLUME,
    "cephfs": _NO_VOLUME,
    "cinder": _NO_VOLUME,
    "flocker": _NO_VOLUME,
    "gcePersistentDisk": _NO_VOLUME,
    "glusterfs": _NO_VOLUME,
    "photonPersistentDisk": _NO_VOLUME,
    "portworxVolume": _NO_VOLUME,
    "quobyte": _NO_VOLUME,
    "rbd": _NO_VOLUME,
    "scaleIO": _NO_VOLUME,
    "storageos": _NO_VOLUME,
    "vsphereVolume": _NO_VOLUME,
}

EMPTY_DIR: Table = {
    "medium": _supported("empty or Memory; huge pages cannot be mounted"),
    "sizeLimit": _supported("of a volume on disk it is looked at now and then"),
    "mode": _warn("volumes have mode 0777", 0o777),
}

HOST_PATH: Table = {
    "path": _YES,
    "type": _supported("except FileOrCreate; that something is there is checked, not what it is"),
}

CONFIG_MAP_VOLUME: Table = {
    "name": _YES,
    "items": _YES,
    "defaultMode": _YES,
    "optional": _YES,
    "defaultUser": _ROOTS,
}

SECRET_VOLUME: Table = {
    "secretName": _YES,
    "items": _YES,
    "defaultMode": _YES,
    "optional": _YES,
    "defaultUser": _ROOTS,
}

DOWNWARD_VOLUME: Table = {"items": _YES, "defaultMode": _YES, "defaultUser": _ROOTS}

DOWNWARD_FILE: Table = {
    "path": _YES,
    "fieldRef": _YES,
    "resourceFieldRef": _YES,
    "mode": _YES,
    "user": _ROOTS,
}

KEY_TO_PATH: Table = {"key": _YES, "path": _YES, "mode": _YES, "user": _ROOTS}

PROJECTED: Table = {"sources": _YES, "defaultMode": _YES, "defaultUser": _ROOTS}

PROJECTION: Table = {
    "secret": _YES,
    "downwardAPI": _YES,
    "configMap": _YES,
    "serviceAccountToken": _YES,
    "clusterTrustBundle": _reject("there are no trust bundles"),
    "podCertificate": _reject("no certificates are made"),
}

TOKEN_PROJECTION: Table = {
    "path": _YES,
    "audience": _YES,
    "expirationSeconds": _YES,
    "user": _reject("it follows from runAsUser"),
}

_PART = _supported(
    "of emptyDir, hostPath and claims on engines with API 1.45 (Docker 26) or newer; what is "
    "missing becomes a directory"
)

VOLUME_MOUNT: Table = {
    "name": _YES,
    "mountPath": _YES,
    "readOnly": _YES,
    "subPath": _PART,
    "subPathExpr": _PART,
    "mountPropagation": _supported("of hostPath volumes without subPath"),
    "recursiveReadOnly": _reject("mounts are not made recursively read-only", "Disabled"),
    "bindMountOptions": _reject("mount options are not set"),
}

ENV_SOURCE: Table = {
    "fieldRef": _YES,
    "resourceFieldRef": _YES,
    "configMapKeyRef": _YES,
    "secretKeyRef": _YES,
    "fileKeyRef": _reject("variables are not read from files"),
}

AFFINITY: Table = {
    "nodeAffinity": _YES,
    "podAffinity": _YES,
    "podAntiAffinity": _YES,
}

# message of the schema → its table; docs/pods.md is made of it (`make docs`), and a test compares
# it with the schema
TABLES: Mapping[str, Table] = {
    "core.v1.PodSpec": POD_SPEC,
    "core.v1.PodSecurityContext": POD_SECURITY,
    "core.v1.Container": CONTAINER,
    "core.v1.Probe": PROBE,
    "core.v1.Lifecycle": LIFECYCLE,
    "core.v1.LifecycleHandler": HANDLER,
    "core.v1.HTTPGetAction": HTTP_GET,
    "core.v1.GRPCAction": GRPC,
    "core.v1.EphemeralContainer": EPHEMERAL_CONTAINER,
    "core.v1.SecurityContext": SECURITY,
    "core.v1.Capabilities": CAPABILITIES,
    "core.v1.ResourceRequirements": RESOURCES,
    "core.v1.Volume": VOLUME,
    "core.v1.EmptyDirVolumeSource": EMPTY_DIR,
    "core.v1.HostPathVolumeSource": HOST_PATH,
    "core.v1.ConfigMapVolumeSource": CONFIG_MAP_VOLUME,
    "core.v1.SecretVolumeSource": SECRET_VOLUME,
    "core.v1.ProjectedVolumeSource": PROJECTED,
    "core.v1.VolumeProjection": PROJECTION,
    "core.v1.ServiceAccountTokenProjection": TOKEN_PROJECTION,
    "core.v1.DownwardAPIVolumeSource": DOWNWARD_VOLUME,
    "core.v1.DownwardAPIVolumeFile": DOWNWARD_FILE,
    "core.v1.KeyToPath": KEY_TO_PATH,
    "core.v1.VolumeMount": VOLUME_MOUNT,
    "core.v1.EnvVarSource": ENV_SOURCE,
    "core.v1.Affinity": AFFINITY,
    "core.v1.PodOS": POD_OS,
}

Finding = tuple[str, FieldSupport]


def examine(spec: JsonObject, path: str) -> Iterator[Finding]:
    """Yield every field of a pod spec that is present and not enforced, with its path.

    Args:
        path: of the spec, e.g. "spec" or "spec.template.spec".
    """
    yield from _look(POD_SPEC, spec, path)
    yield from _look(POD_SECURITY, child(spec, "securityContext"), f"{path}.securityContext")
    yield from _look(AFFINITY, child(spec, "affinity"), f"{path}.affinity")
    yield from _look(POD_OS, child(spec, "os"), f"{path}.os")
    yield from _look(RESOURCES, child(spec, "resources"), f"{path}.resources")
    for index, volume in enumerate(children(spec, "volumes")):
        where = f"{path}.volumes[{index}]"
        for name in volume:  # an empty source is a source too: secret: {}
            entry = VOLUME.get(name, _NO_VOLUME)
            if entry.support is not Support.ENFORCED:
                yield f"{where}.{name}", entry
        yield from _look(EMPTY_DIR, child(volume, "emptyDir"), f"{where}.emptyDir")
        yield from _sources(volume, where)
        yield from _look(PROJECTED, child(volume, "projected"), f"{where}.projected")
        for number, each in enumerate(children(child(volume, "projected"), "sources")):
            here = f"{where}.projected.sources[{number}]"
            for name in each:  # an empty source is a source too
                entry = PROJECTION.get(name, _NO_VOLUME)
                if entry.support is not Support.ENFORCED:
                    yield f"{here}.{name}", entry
            yield from _sources(each, here)
            token = child(each, "serviceAccountToken")
            yield from _look(TOKEN_PROJECTION, token, f"{here}.serviceAccountToken")
    for key, table in (
        ("initContainers", CONTAINER),
        ("containers", CONTAINER),
        ("ephemeralContainers", EPHEMERAL_CONTAINER),
    ):
        for index, container in enumerate(children(spec, key)):
            where = f"{path}.{key}[{index}]"
            yield from _look(table, container, where)
            yield from _container(container, where)


def _sources(holder: JsonObject, path: str) -> Iterator[Finding]:
    """Look at what files are made of, in a volume or in one source of a projected one."""
    for kind, table, items in (
        ("configMap", CONFIG_MAP_VOLUME, KEY_TO_PATH),
        ("secret", SECRET_VOLUME, KEY_TO_PATH),
        ("downwardAPI", DOWNWARD_VOLUME, DOWNWARD_FILE),
    ):
        source = child(holder, kind)
        yield from _look(table, source, f"{path}.{kind}")
        for index, item in enumerate(children(source, "items")):
            yield from _look(items, item, f"{path}.{kind}.items[{index}]")


def _container(container: JsonObject, path: str) -> Iterator[Finding]:
    security = child(container, "securityContext")
    yield from _look(SECURITY, security, f"{path}.securityContext")
    capabilities = child(security, "capabilities")
    yield from _look(CAPABILITIES, capabilities, f"{path}.securityContext.capabilities")
    yield from _look(RESOURCES, child(container, "resources"), f"{path}.resources")
    yield from _actions(container, path)
    for index, mount in enumerate(children(container, "volumeMounts")):
        yield from _look(VOLUME_MOUNT, mount, f"{path}.volumeMounts[{index}]")
    for index, variable in enumerate(children(container, "env")):
        source = child(variable, "valueFrom")
        yield from _look(ENV_SOURCE, source, f"{path}.env[{index}].valueFrom")


def _actions(container: JsonObject, path: str) -> Iterator[Finding]:
    """Look at what probes and hooks do."""
    lifecycle = child(container, "lifecycle")
    for holder, where, names in (
        (container, path, ("livenessProbe", "readinessProbe", "startupProbe")),
        (lifecycle, f"{path}.lifecycle", ("postStart", "preStop")),
    ):
        for name in names:
            action = child(holder, name)
            yield from _look(HTTP_GET, child(action, "httpGet"), f"{where}.{name}.httpGet")
            yield from _look(GRPC, child(action, "grpc"), f"{where}.{name}.grpc")


def _look(table: Table, obj: JsonObject, path: str) -> Iterator[Finding]:
    for name, value in obj.items():
        entry = table.get(name)
        if entry is None or entry.support is Support.ENFORCED:
            continue
        absent = any(
            value is each or (value == each and type(value) is type(each)) for each in _EMPTY
        )
        if not (absent and not _meaningful_zero(name, value)) and value not in entry.harmless:
            yield f"{path}.{name}", entry


def _meaningful_zero(name: str, value: Json) -> bool:
    """Return whether an empty value still says something: user 0, no privilege escalation."""
    number = isinstance(value, int) and not isinstance(value, bool)
    return number or (value is False and name in {"allowPrivilegeEscalation", "hostUsers"})


def rejections(spec: JsonObject, path: str) -> Iterable[Cause]:
    """Yield a cause per field whose neglect would change what the pod means."""
    for where, entry in examine(spec, path):
        if entry.support is Support.REJECTED:
            yield Cause(
                where, f"Forbidden: not supported by Ironfree: {entry.note}", "FieldValueForbidden"
            )


def warnings(spec: JsonObject, path: str) -> Iterable[str]:
    """Yield a sentence per field that is accepted but has no effect."""
    for where, entry in examine(spec, path):
        if entry.support is Support.WARNED:
            yield f"{where}: has no effect in Ironfree: {entry.note}"
