"""The Pod Security Standards, check by check."""

import pytest

from scheduler.objects.kinds.pod_security import complaint, level_of, violations

SAFE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def spec(container=None, **fields):
    return {"containers": [{"name": "c", **(container or {})}], **fields}


def safe(**changes):
    return {"securityContext": {**SAFE, **changes}}


BASELINE = [
    (spec(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
    (spec({"securityContext": {"privileged": True}}), "privileged"),
    (spec({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}), '"NET_ADMIN"'),
    (spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
    (spec({"ports": [{"containerPort": 1, "hostPort": 80}]}), "uses hostPort 80"),
    (spec({"livenessProbe": {"tcpSocket": {"port": 1, "host": "h"}}}), "lifecycle host"),
    (spec(securityContext={"seccompProfile": {"type": "Unconfined"}}), "seccompProfile"),
    (spec({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}), "appArmorProfile"),
    (spec(securityContext={"seLinuxOptions": {"type": "spc_t"}}), "seLinuxOptions"),
    (spec({"securityContext": {"procMount": "Unmasked"}}), "procMount"),
    (spec(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}), "kernel.msgmax"),
    ({"initContainers": [{"name": "i", "securityContext": {"privileged": True}}]}, '"i"'),
]
RESTRICTED = [
    (spec(safe(), volumes=[{"name": "n", "nfs": {}}]), "restricted volume types"),
    (spec(safe(allowPrivilegeEscalation=True)), "allowPrivilegeEscalation != false"),
    (spec(safe(runAsNonRoot=None)), "runAsNonRoot != true"),
    (spec(safe(runAsUser=0)), "runAsUser=0"),
    (spec(safe(seccompProfile=None)), "seccompProfile"),
    (spec(safe(capabilities={})), "unrestricted capabilities"),
    (spec(safe(capabilities={"drop": ["ALL"], "add": ["CHOWN"]})), "NET_BIND_SERVICE"),
]


@pytest.mark.parametrize(("bad", "words"), BASELINE)
def test_baseline(bad, words):
    (said,) = violations(bad, "baseline")
    assert words in said
    assert violations(bad, "privileged") == []
    assert any(words in each for each in violations(bad, "restricted"))


@pytest.mark.parametrize(("bad", "words"), RESTRICTED)
def test_restricted(bad, words):
    (said,) = violations(bad, "restricted")
    assert words in said
    assert violations(bad, "baseline") == []


def test_what_conforms():
    assert violations(spec(), "baseline") == []
    assert violations(spec(safe()), "restricted") == []
    pod = {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost"}}
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert violations(spec({"securityContext": own}, securityContext=pod), "restricted") == []
    assert complaint(spec(), "baseline") == ""


def test_labels_set_levels_and_nonsense_is_strict():
    prefix = "pod-security.kubernetes.io/"
    labels = {f"{prefix}enforce": "baseline", f"{prefix}warn": "nonsense"}
    assert level_of(labels, "enforce") == "baseline"
    assert level_of(labels, "warn") == "restricted"
    assert level_of(labels, "audit") == "privileged"


def test_a_token_in_a_volume_is_allowed_at_every_level():
    token = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
    asking = spec(safe(), volumes=[{"name": "v", "projected": token}])
    assert violations(asking, "restricted") == []
