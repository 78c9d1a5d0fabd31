"""Defaults, checks and columns of the kinds that make pods."""

import copy
from datetime import UTC, datetime

import pytest

from scheduler.objects.kinds import REGISTRY
from scheduler.objects.kinds import job as job_kind
from scheduler.objects.meta import ObjectMeta

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LABELS = {"app": "web"}
CLAIM = {
    "metadata": {"name": "data"},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}


def template(restart=None, **spec):
    if restart:
        spec["restartPolicy"] = restart
    return {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "c", "image": "nginx"}], **spec},
    }


def workload(resource, **spec):
    """Return a good one of that resource, with these fields of the spec; None leaves one out."""
    made = {"template": template()}
    if resource.endswith(".apps"):
        made["selector"] = {"matchLabels": LABELS}
    if resource == "jobs.batch":
        made["template"] = template("Never")
    if resource == "cronjobs.batch":
        job = {"spec": {"template": template("OnFailure")}}
        made = {"schedule": "* * * * *", "jobTemplate": job}
    made.update(spec)
    kept = {key: value for key, value in made.items() if value is not None}
    return {"metadata": {"name": "web"}, "spec": copy.deepcopy(kept)}


def defaulted(resource, **spec):
    obj = workload(resource, **spec)
    REGISTRY.by_resource(resource).default(obj)
    return obj


def causes(resource, **spec):
    kind = REGISTRY.by_resource(resource)
    return {cause.field for cause in kind.validate(defaulted(resource, **spec))}


RESOURCES = (
    "replicasets.apps",
    "deployments.apps",
    "daemonsets.apps",
    "statefulsets.apps",
    "jobs.batch",
    "cronjobs.batch",
)


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_minimal_one_is_good_and_prints(resource):
    assert causes(resource) == set()
    obj = defaulted(resource)
    again = copy.deepcopy(obj)
    kind = REGISTRY.by_resource(resource)
    kind.default(again)
    assert again == obj
    cells = kind.printer.cells(obj, NOW)
    assert len(cells) == len(kind.printer.columns)
    assert cells[0] == "web"
    assert list(kind.warnings(obj)) == []


@pytest.mark.parametrize(
    ("resource", "path", "value"),
    [
        ("deployments.apps", ("replicas",), 1),
        ("deployments.apps", ("progressDeadlineSeconds",), 600),
        ("deployments.apps", ("strategy", "rollingUpdate", "maxSurge"), "25%"),
        ("daemonsets.apps", ("updateStrategy", "rollingUpdate", "maxUnavailable"), 1),
        ("statefulsets.apps", ("podManagementPolicy",), "OrderedReady"),
        ("statefulsets.apps", ("updateStrategy", "rollingUpdate", "partition"), 0),
        ("jobs.batch", ("completions",), 1),
        ("jobs.batch", ("parallelism",), 1),
        ("jobs.batch", ("backoffLimit",), 6),
        ("cronjobs.batch", ("concurrencyPolicy",), "Allow"),
        ("cronjobs.batch", ("jobTemplate", "spec", "backoffLimit"), 6),
        ("replicasets.apps", ("template", "spec", "restartPolicy"), "Always"),
    ],
)
def test_defaults(resource, path, value):
    found = defaulted(resource)["spec"]
    for part in path:
        found = found[part]
    assert found == value


SURGE = "spec.strategy.rollingUpdate.maxSurge"
UNAVAILABLE = "spec.strategy.rollingUpdate.maxUnavailable"
JOB = "spec.jobTemplate.spec"


def rolling(**numbers):
    return {"type": "RollingUpdate", "rollingUpdate": numbers}


@pytest.mark.parametrize(
    ("resource", "spec", "fields"),
    [
        ("deployments.apps", {"selector": None}, {"spec.selector"}),
        ("deployments.apps", {"selector": {}}, {"spec.selector"}),
        (
            "deployments.apps",
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
            {"spec.selector"},
        ),
        (
            "deployments.apps",
            {"selector": {"matchLabels": {"app": "db"}}},
            {"spec.template.metadata.labels"},
        ),
        ("deployments.apps", {"template": None}, {"spec.template"}),
        ("deployments.apps", {"template": template("Never")}, {"spec.template.spec.restartPolicy"}),
        ("deployments.apps", {"replicas": -1}, {"spec.replicas"}),
        ("deployments.apps", {"minReadySeconds": 600}, {"spec.progressDeadlineSeconds"}),
        ("deployments.apps", {"strategy": {"type": "Blue"}}, {"spec.strategy.type"}),
        (
            "deployments.apps",
            {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
            {"spec.strategy.rollingUpdate"},
        ),
        ("deployments.apps", {"strategy": rolling(maxSurge="x%")}, {SURGE}),
        ("deployments.apps", {"strategy": rolling(maxUnavailable="101%")}, {UNAVAILABLE}),
        ("deployments.apps", {"strategy": rolling(maxSurge=0, maxUnavailable="0%")}, {UNAVAILABLE}),
        (
            "daemonsets.apps",
            {"updateStrategy": rolling(maxSurge=1, maxUnavailable=1)},
            {"spec.updateStrategy.rollingUpdate.maxSurge"},
        ),
        (
            "statefulsets.apps",
            {"volumeClaimTemplates": [CLAIM, CLAIM]},
            {"spec.volumeClaimTemplates[1].metadata.name"},
        ),
        (
            "statefulsets.apps",
            {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}},
            {"spec.persistentVolumeClaimRetentionPolicy.whenDeleted"},
        ),
        (
            "statefulsets.apps",
            {"updateStrategy": rolling(maxUnavailable=2)},
            {"spec.updateStrategy.rollingUpdate.maxUnavailable"},
        ),
        ("statefulsets.apps", {"ordinals": {"start": -1}}, {"spec.ordinals.start"}),
        ("jobs.batch", {"template": template("Always")}, {"spec.template.spec.restartPolicy"}),
        ("jobs.batch", {"completionMode": "Indexed", "parallelism": 1}, {"spec.completions"}),
        ("jobs.batch", {"backoffLimitPerIndex": 1}, {"spec.backoffLimitPerIndex"}),
        ("jobs.batch", {"managedBy": "example.com/other"}, {"spec.managedBy"}),
        (
            "jobs.batch",
            {"podFailurePolicy": {"rules": [{"action": "FailIndex"}]}},
            {"spec.podFailurePolicy.rules[0].action", "spec.podFailurePolicy.rules[0]"},
        ),
        ("cronjobs.batch", {"schedule": "* * *"}, {"spec.schedule"}),
        ("cronjobs.batch", {"schedule": "TZ=UTC * * * * *"}, {"spec.schedule"}),
        ("cronjobs.batch", {"timeZone": "Moon/Base"}, {"spec.timeZone"}),
        (
            "cronjobs.batch",
            {"jobTemplate": {"spec": {"template": template("Always")}}},
            {f"{JOB}.template.spec.restartPolicy"},
        ),
    ],
)
def test_what_is_refused(resource, spec, fields):
    assert causes(resource, **spec) == fields


@pytest.mark.parametrize(
    ("resource", "spec", "allowed"),
    [
        ("deployments.apps", {"selector": {"matchLabels": {"app": "db"}}}, False),
        ("deployments.apps", {"replicas": 9, "paused": True}, True),
        ("statefulsets.apps", {"serviceName": "other"}, False),
        ("statefulsets.apps", {"replicas": 9}, True),
        ("jobs.batch", {"completions": 4}, False),
        ("jobs.batch", {"template": template("OnFailure")}, False),
        ("jobs.batch", {"completions": 1, "parallelism": 4, "suspend": True}, True),
    ],
)
def test_what_may_change(resource, spec, allowed):
    kind = REGISTRY.by_resource(resource)
    found = list(kind.validate_update(defaulted(resource), defaulted(resource, **spec)))
    assert (found == []) is allowed


def test_a_job_selects_pods_by_its_uid_and_keeps_what_was_given_to_it():
    body = {"spec": workload("jobs.batch")["spec"]}
    job_kind.identify(ObjectMeta(name="sum", uid="u-1"), body)
    labels = body["spec"]["template"]["metadata"]["labels"]
    assert body["spec"]["selector"] == {
        "matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}
    }
    assert (labels["app"], labels["job-name"], labels["controller-uid"]) == ("web", "sum", "u-1")
    fresh = workload("jobs.batch", parallelism=5)
    kind = REGISTRY.by_resource("jobs.batch")
    kind.carry_over(body, fresh)
    assert fresh["spec"]["template"] == body["spec"]["template"]
    assert list(kind.validate_update(body, fresh)) == []


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({}, "Running"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, "Complete"),
        ({"conditions": [{"type": "FailureTarget", "status": "True"}]}, "FailureTarget"),
        ({"conditions": [{"type": "Suspended", "status": "False"}]}, "Running"),
    ],
)
def test_the_status_word_of_a_job(status, word):
    obj = {**defaulted("jobs.batch"), "status": status}
    assert REGISTRY.by_resource("jobs.batch").printer.cells(obj, NOW)[1] == word
