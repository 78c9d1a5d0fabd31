"""Every field of a pod has its place in the support table."""

import pytest

from scheduler.objects.kinds.pod_support import TABLES, Support, examine, rejections, warnings
from scheduler.objects.schema import load


@pytest.mark.parametrize("message", sorted(TABLES))
def test_no_field_is_forgotten(message):
    assert set(load().message(message).fields) == set(TABLES[message])


@pytest.mark.parametrize("message", sorted(TABLES))
def test_what_has_no_effect_says_why(message):
    for name, entry in TABLES[message].items():
        assert entry.support is Support.ENFORCED or entry.note, name


def test_empty_values_are_not_reported():
    spec = {"resourceClaims": [], "hostnameOverride": "", "hostUsers": True}
    assert list(examine(spec, "spec")) == []


def test_a_zero_that_says_something_is_reported():
    assert list(warnings({"hostUsers": False}, "spec")) == [
        "spec.hostUsers: has no effect in Ironfree: user namespaces are not made"
    ]
    spec = {"volumes": [{"name": "v", "emptyDir": {"mode": 0}}]}
    assert len(list(warnings(spec, "spec"))) == 1


def test_paths_lead_to_the_field():
    spec = {
        "volumes": [{"name": "a"}, {"name": "b", "iscsi": {}}],
        "containers": [
            {
                "volumeMounts": [{"name": "a", "recursiveReadOnly": "Enabled"}],
                "env": [{"name": "v", "valueFrom": {"fileKeyRef": {"key": "k"}}}],
                "securityContext": {"windowsOptions": {"hostProcess": True}},
            }
        ],
    }
    assert {cause.field for cause in rejections(spec, "t.spec")} == {
        "t.spec.volumes[1].iscsi",
        "t.spec.containers[0].volumeMounts[0].recursiveReadOnly",
        "t.spec.containers[0].env[0].valueFrom.fileKeyRef",
        "t.spec.containers[0].securityContext.windowsOptions",
    }
