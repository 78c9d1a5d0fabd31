"""Pod requests add up as in Kubernetes (component-helpers, resource.PodRequests)."""

import msgspec
import pytest

from scheduler.errors import BadRequest
from scheduler.objects.pod import PodSpec
from scheduler.objects.pod_class import HostPort, host_ports
from scheduler.objects.resources import LARGEST, allocatable, pod_requests


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
