"""docs/pods.md says of every field what the API does with it."""

import json

import pytest

from docs.generate_pods import DOCUMENT, document, reached
from scheduler.objects import handlers, pod, security, volumes
from scheduler.objects.kinds.pod_support import TABLES, FieldSupport, Support, examine
from scheduler.objects.schema import load

# What the document has no table for is acted on as a whole: these views have every field of it.
VIEWS = {
    "NFSVolumeSource": volumes.NfsSource,
    "PersistentVolumeClaimVolumeSource": volumes.ClaimSource,
    "ObjectFieldSelector": volumes.FieldRef,
    "ResourceFieldSelector": volumes.ResourceFieldRef,
    "SecretProjection": volumes.SecretSource,
    "ConfigMapProjection": volumes.ConfigMapSource,
    "DownwardAPIProjection": volumes.DownwardSource,
    "ContainerPort": pod.ContainerPort,
    "EnvVar": pod.EnvVar,
    "ConfigMapKeySelector": pod.KeySelector,
    "SecretKeySelector": pod.KeySelector,
    "LocalObjectReference": pod.LocalObjectReference,
    "EnvFromSource": pod.EnvFromSource,
    "ConfigMapEnvSource": pod.EnvSource,
    "SecretEnvSource": pod.EnvSource,
    "ExecAction": handlers.ExecAction,
    "HTTPHeader": handlers.HTTPHeader,
    "TCPSocketAction": handlers.TCPSocketAction,
    "SleepAction": handlers.SleepAction,
    "ContainerRestartRule": handlers.RestartRule,
    "ContainerRestartRuleOnExitCodes": handlers.RestartRuleExitCodes,
    "SeccompProfile": security.Profile,
    "AppArmorProfile": security.Profile,
    "Sysctl": security.Sysctl,
    "PodDNSConfig": security.DNSConfig,
    "PodDNSConfigOption": security.DNSOption,
    "NodeAffinity": pod.NodeAffinity,
    "NodeSelector": pod.NodeSelector,
    "NodeSelectorTerm": pod.NodeSelectorTerm,
    "NodeSelectorRequirement": pod.NodeSelectorRequirement,
    "PreferredSchedulingTerm": pod.PreferredSchedulingTerm,
    "PodAffinity": pod.PodAffinity,
    "PodAntiAffinity": pod.PodAffinity,
    "PodAffinityTerm": pod.PodAffinityTerm,
    "WeightedPodAffinityTerm": pod.WeightedPodAffinityTerm,
    "LabelSelector": pod.LabelSelector,
    "LabelSelectorRequirement": pod.NodeSelectorRequirement,
    "Toleration": pod.Toleration,
    "HostAlias": pod.HostAlias,
    "PodReadinessGate": pod.ReadinessGate,
    "TopologySpreadConstraint": pod.TopologySpreadConstraint,
    "PodSchedulingGate": pod.SchedulingGate,
    "PodSchedulingGroup": pod.SchedulingGroup,
}
PARTS = sorted({message for message, _ in reached(TABLES)} - TABLES.keys())


def section(text, message):
    return text.split(f"## {message.rpartition('.')[2]}\n", 1)[1].split("\n## ")[0]


def test_the_document_is_what_the_code_says():
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "stale: run `make docs`"


@pytest.mark.parametrize("message", TABLES)
def test_every_field_is_told_once_with_what_becomes_of_it(message):
    rows = [line for line in section(document(), message).splitlines() if line.startswith("| `")]
    for name, entry in TABLES[message].items():
        (row,) = [row for row in rows if f"`{name}`" in row.split(" | ")[0]]
        word = {"enforced": "supported", "rejected": "rejected"}.get(entry.support)
        assert word is None or row.split(" | ")[1].startswith(word)
        assert entry.note in row
        assert all(json.dumps(value) in row for value in entry.harmless)


def test_where_a_field_is_follows_what_is_supported():
    text = document()
    assert "At `spec.containers[]`, `spec.initContainers[]`." in text
    assert "`spec.initContainers[].volumeMounts[]`" in section(text, "core.v1.VolumeMount")
    spec = {**TABLES["core.v1.PodSpec"], "initContainers": FieldSupport(Support.REJECTED, "no")}
    assert "spec.initContainers[]" not in document({**TABLES, "core.v1.PodSpec": spec})


def holding(path, value):
    """Return a pod spec that has the value at a path such as spec.containers[].env[]."""
    for part in reversed(path.split(".")[1:]):
        value = {part.removesuffix("[]"): [value] if part.endswith("[]") else value}
    return value


@pytest.mark.parametrize(
    ("message", "path"), [each for each in reached(TABLES) if each[0] in TABLES]
)
def test_the_api_finds_each_field_wherever_the_document_says_it_is(message, path):
    for name, entry in TABLES[message].items():
        if entry.support is not Support.ENFORCED:
            found = [*examine(holding(path, {name: "x"}), "spec")]
            assert found == [(f"{path.replace('[]', '[0]')}.{name}", entry)]


@pytest.mark.parametrize("message", PARTS)
def test_no_field_of_what_has_no_table_is_dropped_in_silence(message):
    view = VIEWS[message.rpartition(".")[2]]
    unread = load().message(message).fields.keys() - set(view.__struct_encode_fields__)
    assert unread <= {"apiVersion"}  # of a field reference; there is but one
