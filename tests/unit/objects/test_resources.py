"""Pod requests add up as in Kubernetes (component-helpers, resource.PodRequests)."""

import msgspec
import pytest

from scheduler.errors import BadRequest
from scheduler.objects.pod import PodSpec
from scheduler.objects.pod_class import HostPort, host_ports
from scheduler.objects.resources import LARGEST, allocatable, is_extended, pod_requests


def container(name="c", restart=None, **requests):
    made = {"name": name, "resources": {"requests": requests}}
    return made | ({"restartPolicy": restart} if restart else {})


def requests(containers=(), init=(), **spec):
    spec |= {"containers": list(containers), "initContainers": list(init)}
    return pod_requests(msgspec.convert(spec, PodSpec))


def test_containers_add_up():
    total = requests([container(cpu="250m", memory="1Gi"), container(cpu="1", memory="1M")])
    assert total.amounts == {"cpu": 1250, "memory": 2**30 + 10**6, "pods": 1}


def test_fractions_are_rounded_up():
    total = requests([container(cpu="0.0001", memory="100m")])
    assert total.amounts == {"cpu": 1, "memory": 1, "pods": 1}


def test_init_containers_count_where_they_need_more():
    total = requests(
        [container(cpu="1", memory="1Gi")], [container(cpu="3"), container(memory="512Mi")]
    )
    assert total.amounts == {"cpu": 3000, "memory": 2**30, "pods": 1}


def test_sidecars_run_beside_what_comes_after_them():
    sidecar = container(restart="Always", cpu="500m")
    total = requests([container(cpu="1")], [container(cpu="1200m"), sidecar, container(cpu="1")])
    assert total.amounts["cpu"] == 1500
    total = requests([container(cpu="1")], [sidecar, container(cpu="2")])
    assert total.amounts["cpu"] == 2500


def test_pod_level_requests_replace_and_overhead_adds():
    total = requests(
        [container(cpu="1", memory="1Gi")],
        resources={"requests": {"cpu": "3"}},
        overhead={"cpu": "100m"},
    )
    assert total.amounts == {"cpu": 3100, "memory": 2**30, "pods": 1}


def test_scores_assume_something_for_containers_that_request_nothing():
    total = requests([container(), container(cpu="1")])
    assert (total.amounts, total.assumed_cpu) == ({"cpu": 1000, "pods": 1}, 1100)
    assert total.assumed_memory == 2 * 200 * 2**20


def test_an_absurd_request_never_fits_an_absurd_offer():
    asked = requests([container(memory="900E")]).amounts["memory"]
    assert asked > allocatable({"memory": "999E"})["memory"] == LARGEST
    assert allocatable({"memory": "-1"})["memory"] == 0


def test_an_unreadable_quantity_is_an_error():
    with pytest.raises(BadRequest):
        requests([container(cpu="much")])


def test_host_ports_of_containers_and_sidecars():
    def with_port(**port):
        return container() | {"ports": [{"containerPort": 1, **port}]}

    spec = {
        "containers": [with_port(hostPort=80), with_port(), with_port(hostPort=80)],
        "initContainers": [
            with_port(hostPort=81) | {"restartPolicy": "Always"},
            with_port(hostPort=82),
        ],
    }
    ports = host_ports(msgspec.convert(spec, PodSpec))
    assert ports == (HostPort("TCP", 80, "0.0.0.0"), HostPort("TCP", 81, "0.0.0.0"))


SIDECAR = "Always"
CASES = [
    # (containers, init containers as (restart policy, requests), further fields, cpu, memory)
    ([], [], {}, 0, 0),
    ([{"cpu": "1"}, {"cpu": "2"}], [], {}, 3000, 0),
    ([{"cpu": "1"}], [(None, {"cpu": "3"}), (None, {"cpu": "2"})], {}, 3000, 0),
    ([{"cpu": "4"}], [(None, {"cpu": "3"})], {}, 4000, 0),
    ([{"cpu": "1"}], [(SIDECAR, {"cpu": "2"})], {}, 3000, 0),
    ([{"cpu": "1"}], [(SIDECAR, {"cpu": "2"}), (SIDECAR, {"cpu": "3"})], {}, 6000, 0),
    ([{"cpu": "1"}], [(SIDECAR, {"cpu": "2"}), (None, {"cpu": "3"})], {}, 5000, 0),
    ([{"cpu": "1"}], [(None, {"cpu": "3"}), (SIDECAR, {"cpu": "2"})], {}, 3000, 0),
    (
        [{"cpu": "1"}],
        [(SIDECAR, {"cpu": "2"}), (None, {"cpu": "5"}), (SIDECAR, {"cpu": "3"})],
        {},
        7000,
        0,
    ),
    ([{"cpu": "1"}], [(None, {"cpu": "3"}), (SIDECAR, {"memory": "5"})], {}, 3000, 5),
    ([{"cpu": "1"}], [("OnFailure", {"cpu": "3"})], {}, 3000, 0),
    # overhead is on top of whatever counts, and counts alone
    ([{"cpu": "1"}], [(None, {"cpu": "3"})], {"overhead": {"cpu": "1", "memory": "7"}}, 4000, 7),
    ([], [], {"overhead": {"memory": "7"}}, 0, 7),
    # pod-level requests for cpu, memory and huge pages stand for all containers
    ([{"cpu": "1"}], [], {"resources": {"requests": {"cpu": "5"}}}, 5000, 0),
    ([{"cpu": "5"}], [], {"resources": {"requests": {"cpu": "1"}}}, 1000, 0),
    ([{"cpu": "5"}], [(None, {"cpu": "9"})], {"resources": {"requests": {"cpu": "6"}}}, 6000, 0),
    ([{"cpu": "5"}], [], {"resources": {"requests": {"memory": "6"}}}, 5000, 6),
    ([{"cpu": "5"}], [], {"resources": {"requests": {"cpu": "0"}}}, 0, 0),
    ([{"cpu": "5"}], [], {"resources": {"limits": {"cpu": "9", "memory": "9"}}}, 5000, 0),
    ([{"cpu": "5"}], [], {"resources": {}}, 5000, 0),
    (
        [{"cpu": "5"}],
        [],
        {"resources": {"requests": {"cpu": "6"}}, "overhead": {"cpu": "1"}},
        7000,
        0,
    ),
    # exact sums, rounded up once
    ([{"cpu": "0.4m"}, {"cpu": "0.6m"}], [], {}, 1, 0),
    ([{"cpu": "0.4m"}, {"cpu": "0.7m"}], [], {}, 2, 0),
    ([{"memory": "500m"}, {"memory": "1500m"}], [], {}, 0, 2),
    ([{"cpu": "1n"}], [], {}, 1, 0),
    ([{"cpu": "-1"}, {"cpu": "3"}], [], {}, 2000, 0),
    ([{"cpu": 2}, {"cpu": 0.5}], [], {}, 2500, 0),
]


@pytest.mark.parametrize(("containers", "init", "more", "cpu", "memory"), CASES)
def test_what_a_pod_requests(containers, init, more, cpu, memory):
    found = requests(
        [container(**each) for each in containers],
        [container(restart=restart, **each) for restart, each in init],
        **more,
    )
    assert found.amounts.get("cpu", 0) == cpu
    assert found.amounts.get("memory", 0) == memory
    assert found.amounts["pods"] == 1


def test_amounts_are_in_the_order_of_the_reasons():
    asked = {"x/b": "1", "memory": "1", "x/a": "1", "ephemeral-storage": "1", "cpu": "1"}
    names = ["pods", "cpu", "memory", "ephemeral-storage", "x/a", "x/b"]
    assert list(requests([container(**asked)]).amounts) == names


@pytest.mark.parametrize(
    ("name", "extended"),
    [
        ("example.com/gpu", True),
        ("nvidia.com/gpu", True),
        ("cpu", False),
        ("gpu", False),
        ("hugepages-2Mi", False),
        ("kubernetes.io/thing", False),
        ("node.kubernetes.io/thing", False),
        ("requests.example.com/gpu", False),
        ("example.com/not a name", False),
        ("a/b/c", False),
    ],
)
def test_extended_resources(name, extended):
    assert is_extended(name) is extended
