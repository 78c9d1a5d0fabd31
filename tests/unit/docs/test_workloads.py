"""The examples of docs/workloads.md are accepted as they are."""

import re
from pathlib import Path

import pytest
import yaml

from scheduler.objects import checking
from scheduler.objects.kinds import REGISTRY

TEXT = (Path(__file__).parents[3] / "docs" / "workloads.md").read_text()
EXAMPLES = [
    each
    for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    for each in yaml.safe_load_all(block)
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each["kind"])
def test_an_example_is_accepted(example):
    kind = REGISTRY.by_gvk(example["apiVersion"], example["kind"])
    assert checking.check(kind.message, example) == []
    kind.default(example)
    assert list(kind.validate(example)) == []
    assert list(kind.warnings(example)) == []


def test_there_is_an_example_of_most_kinds():
    kinds = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}
    kinds |= {"HorizontalPodAutoscaler", "ResourceQuota"}
    assert {each["kind"] for each in EXAMPLES} == kinds
