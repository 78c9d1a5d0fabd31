"""Variables of Services."""

import msgspec

from scheduler.network.links import links
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.service import service_view
from scheduler.objects.stored import Body, StoredObject


def service(name, **spec):
    meta = ObjectMeta(name=name, namespace="default", uid=name)
    body = Body(msgspec.json.encode({"spec": spec}))
    return service_view(StoredObject("services", meta, 1, 1, body, b""))


def test_they_are_kubelets():
    redis = service(
        "redis-master",
        clusterIP="10.0.0.11",
        ports=[
            {"port": 6379, "protocol": "TCP", "name": "db-1"},
            {"port": 53, "protocol": "UDP", "name": "dns"},
        ],
    )
    headless = service("peers", clusterIP="None", ports=[{"port": 1}])
    assert links([redis, headless]) == {
        "REDIS_MASTER_SERVICE_HOST": "10.0.0.11",
        "REDIS_MASTER_SERVICE_PORT": "6379",
        "REDIS_MASTER_SERVICE_PORT_DB_1": "6379",
        "REDIS_MASTER_SERVICE_PORT_DNS": "53",
        "REDIS_MASTER_PORT": "tcp://10.0.0.11:6379",
        "REDIS_MASTER_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_MASTER_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_MASTER_PORT_6379_TCP_PORT": "6379",
        "REDIS_MASTER_PORT_6379_TCP_ADDR": "10.0.0.11",
        "REDIS_MASTER_PORT_53_UDP": "udp://10.0.0.11:53",
        "REDIS_MASTER_PORT_53_UDP_PROTO": "udp",
        "REDIS_MASTER_PORT_53_UDP_PORT": "53",
        "REDIS_MASTER_PORT_53_UDP_ADDR": "10.0.0.11",
    }


def test_the_api_is_told_of_besides_unless_there_is_another_of_its_name():
    port = [{"port": 443, "protocol": "TCP"}]
    api = service("kubernetes", clusterIP="10.96.0.1", ports=port)
    web = service("web", clusterIP="10.96.0.20", ports=port)
    found = links([web], api)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert found == links([api, web])
    assert links([], None) == {}
    own = service("kubernetes", clusterIP="10.96.0.30", ports=port)
    assert links([own], api) == links([own])
