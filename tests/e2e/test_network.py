"""Services and names on real hosts: pods find each other wherever they run."""

from urllib.request import urlopen

import pytest

from tests.e2e.lab import Host, Lab
from tests.e2e.recovery import Recovery
from tests.e2e.service import Ironfree, eventually

pytestmark = pytest.mark.timeout(180)

# Two pods of a shop, apart from each other, behind an address, and somebody who asks.
SHOP = """
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  type: NodePort
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: web}]
---
apiVersion: v1
kind: Service
metadata: {name: shops}
spec:
  clusterIP: None
  selector: {app: shop}
  ports: [{name: http, port: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: shop}
spec:
  serviceName: shops
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - labelSelector: {matchLabels: {app: shop}}
            topologyKey: kubernetes.io/hostname
      containers:
      - name: web
        image: lab-shell:v1
        command: [sh, -c, 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www']
        ports: [{containerPort: 8080, name: web}]
        readinessProbe: {httpGet: {path: /, port: web}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: asker, labels: {app: asker}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: asker, image: 'lab-shell:v1', command: [sleep, '100000']}]
"""
ASK = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {} {} | tail -1"


@pytest.fixture
def shop(ironfree: Ironfree) -> Ironfree:
    """Two shops on two hosts and an asker."""
    ironfree.kubectl("apply", "-f", "-", given=SHOP)
    ironfree.running(2, "app=shop")
    ironfree.running(1, "app=asker")
    return ironfree


def ask(ironfree: Ironfree, where: str, port: int = 80) -> str:
    """GET / from within the asker."""
    return ironfree.kubectl("exec", "asker", "--", "sh", "-c", ASK.format(where, port)).strip()


def all_answer(ironfree: Ironfree, where: str, port: int = 80) -> bool:
    """Whether both shops are heard of within a few questions."""
    return {ask(ironfree, where, port) for _ in range(8)} >= {"shop-0", "shop-1"}


def test_a_service_is_found_by_name_address_and_variables(shop: Ironfree, lab: Lab):
    for name in ("shop", "shop.default", "shop.default.svc.cluster.local"):
        eventually(lambda name=name: all_answer(shop, name), what=f"{name} leads to both")
    address = shop.get("service", "shop")["spec"]["clusterIP"]
    assert ask(shop, address) in {"shop-0", "shop-1"}
    known = shop.kubectl("exec", "shop-0", "--", "env")
    assert f"SHOP_SERVICE_HOST={address}" in known.split()


def test_pods_of_a_stateful_set_are_found_one_by_one(shop: Ironfree):
    for name in ("shop-0", "shop-1"):
        eventually(
            lambda name=name: ask(shop, f"{name}.shops", 8080) == name, what=f"{name} answers"
        )
    assert all_answer(shop, "shops", 8080)
    looked = shop.kubectl("exec", "asker", "--", "nslookup", "shops.default.svc.cluster.local")
    addresses = {pod["status"]["podIP"] for pod in shop.pods("app=shop")}
    assert all(address in looked for address in addresses)


def serving_hosts(lab: Lab) -> list[str]:
    """The network server of every host, by id."""
    found = [each for host in lab.hosts for each in host.containers(dialers=True)]
    return [
        each.id for each in found if "ironfree-network" in each.name and each.state == "running"
    ]


def test_a_port_of_nodes_is_open_on_every_host(shop: Ironfree, lab: Lab):
    (port,) = shop.get("service", "shop")["spec"]["ports"]

    def said(host: Host) -> str:
        with urlopen(f"http://{host.address}:{port['nodePort']}/", timeout=5) as answer:
            return answer.read().decode().strip()

    for host in lab.hosts:
        eventually(lambda host=host: {said(host) for _ in range(8)} == {"shop-0", "shop-1"})


def test_it_goes_on_without_ironfree_and_is_told_by_the_next(shop: Ironfree, lab: Lab):
    eventually(lambda: all_answer(shop, "shop"), what="both answer")
    servers = sorted(serving_hosts(lab))
    (asker,) = shop.pods("app=asker")
    host = lab.host(asker["spec"]["nodeName"])
    shop.kill()
    container = asker["status"]["containerStatuses"][0]["containerID"].removeprefix("docker://")
    inside = ("exec", container, "sh", "-c", ASK.format("shop", 80))
    assert {host.run(*inside).strip() for _ in range(8)} == {"shop-0", "shop-1"}
    shop.start()
    shop.kubectl("scale", "statefulset/shop", "--replicas=1")
    eventually(lambda: {ask(shop, "shop") for _ in range(4)} == {"shop-0"}, what="one is left")
    assert sorted(serving_hosts(lab)) == servers, "nobody was started anew"


def test_a_host_without_power_is_passed_over(shop: Ironfree, lab: Lab):
    eventually(lambda: all_answer(shop, "shop"), what="both answer")
    (asker,) = shop.pods("app=asker")
    near = asker["spec"]["nodeName"]
    far = next(p for p in shop.pods("app=shop") if p["spec"]["nodeName"] != near)
    lab.host(far["spec"]["nodeName"]).power_off()
    others = {"shop-0", "shop-1"} - {far["metadata"]["name"]}
    assert {ask(shop, "shop") for _ in range(4)} == others, "before anybody has noticed"


def test_a_network_server_that_dies_is_there_again(shop: Ironfree, lab: Lab, recovery: Recovery):
    eventually(lambda: all_answer(shop, "shop"), what="both answer")
    (asker,) = shop.pods("app=asker")
    host = lab.host(asker["spec"]["nodeName"])
    (server,) = [c for c in host.containers(dialers=True) if "ironfree-network" in c.name]
    host.kill(server.id)
    with recovery("the network server was killed"):
        eventually(lambda: all_answer(shop, "shop"), what="both answer")


def test_a_port_that_the_host_has_published_is_still_the_services(shop: Ironfree, lab: Lab):
    (asker,) = shop.pods("app=asker")
    host = lab.host(asker["spec"]["nodeName"])
    serve = "mkdir /www; echo foreign > /www/index.html; exec httpd -f -h /www"
    published = ("-p", "80:80", "--label", "foreign", "lab-shell:v1", "sh", "-c", serve)
    host.run("run", "-d", *published)

    def said() -> str:
        with urlopen(f"http://{host.address}/", timeout=5) as answer:
            return answer.read().decode().strip()

    eventually(lambda: said() == "foreign", what="whoever asks the host gets what it has published")
    assert {ask(shop, "shop") for _ in range(8)} == {"shop-0", "shop-1"}
    shop.kubectl("scale", "statefulset/shop", "--replicas=0")
    eventually(lambda: ask(shop, "shop") == "", what="nobody else answers for a Service")


def test_nothing_is_left_of_a_host_that_goes(shop: Ironfree, lab: Lab):
    host = lab.hosts[0]
    shop.kubectl("delete", "dockerhost", host.name, seconds=60)
    left = [each.name for each in host.containers(dialers=True)]
    assert not [name for name in left if "dialer" not in name]
    assert "ironfree" not in host.run("network", "ls", "--format", "{{.Name}}")
