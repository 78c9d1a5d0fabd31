"""Hosts as `ironfree plan --add` takes them."""

import pytest

from scheduler.cli.plan import added
from scheduler.errors import BadRequest


def test_a_host_has_resources_labels_and_a_count():
    hosts = list(added("big=cpu:8,memory:32Gi,label:topology.kubernetes.io/zone:a,2"))
    assert [host["metadata"]["name"] for host in hosts] == ["big-0", "big-1"]
    assert hosts[0]["metadata"]["labels"] == {
        "kubernetes.io/hostname": "big-0",
        "topology.kubernetes.io/zone": "a",
    }
    offer = {"pods": "110", "cpu": "8", "memory": "32Gi"}
    assert hosts[1]["status"]["allocatable"] == offer
    (one,) = added("h9=cpu:4,pods:20,nvidia.com/gpu:2")
    assert one["metadata"]["name"] == "h9"
    assert one["status"]["allocatable"] == {"pods": "20", "cpu": "4", "nvidia.com/gpu": "2"}


@pytest.mark.parametrize(
    "text", ["big", "Big=cpu:8", "b=cpu", "b=cpu:", "b=0", "b=cpu:1,1001", "="]
)
def test_what_cannot_be_a_host_is_refused(text):
    with pytest.raises(BadRequest, match="--add"):
        list(added(text))
