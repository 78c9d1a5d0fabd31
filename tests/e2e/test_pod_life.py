"""A pod's life on a real engine, as the stock kubectl sees it."""

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.lab import Lab
from tests.e2e.lab.images import SHELL_IMAGE
from tests.e2e.service import Ironfree, eventually, is_ready

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ironfree(shared_ironfree: Ironfree) -> Ironfree:
    """One process for all tests here."""
    return shared_ironfree


def sh(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": SHELL_IMAGE, "command": ["sh", "-c", script], **more}


def run(ironfree: Ironfree, name: str, *containers: Any, **spec: Any) -> None:
    spec = {"terminationGracePeriodSeconds": 2, "containers": list(containers), **spec}
    metadata = {"name": name, "labels": {"run": name}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(pod))


def until(ironfree: Ironfree, name: str, test: Any, what: str) -> Any:
    def look() -> Any:
        pod = ironfree.get("pod", name)
        return pod if test(pod) else None

    try:
        return eventually(look, 40, what)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{ironfree.kubectl('describe', 'pod', name)}") from error


def phase(word: str) -> Any:
    return lambda pod: pod["status"].get("phase") == word


def state(pod: Any, name: str) -> Any:
    both = pod["status"].get("initContainerStatuses", []) + pod["status"]["containerStatuses"]
    return next(each for each in both if each["name"] == name)


def log(ironfree: Ironfree, name: str, container: str = "main") -> list[str]:
    return ironfree.kubectl("logs", name, "-c", container).split()


EMPTY = {"volumes": [{"name": "v", "emptyDir": {}}]}
MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
FOREVER = "trap 'echo end-$NAME >> /v/order; exit 0' TERM; while :; do sleep 0.1; done"


def test_containers_start_and_end_in_order(ironfree: Ironfree, lab: Lab):
    def app(name: str, **more: Any) -> Any:
        env = [{"name": "NAME", "value": name}]
        return sh(name, f"echo {name} >> /v/order; {FOREVER}", env=env, **MOUNT, **more)

    hooks = {
        "postStart": {"exec": {"command": ["sh", "-c", "sleep 0.3; echo hook >> /v/order"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo bye >> /v/order"]}},
    }
    side = {"restartPolicy": "Always"}
    inits = [
        app("side1", **side),
        sh("init", "echo init >> /v/order", **MOUNT),
        app("side2", **side),
    ]
    volumes = {"volumes": [{"name": "v", "hostPath": {"path": "/run/order"}}]}
    first = {**app("one"), "lifecycle": hooks}
    run(ironfree, "order", first, app("two"), initContainers=inits, **volumes)
    pod = until(ironfree, "order", is_ready, "it is ready")
    assert [s["started"] for s in pod["status"]["initContainerStatuses"]] == [True, False, True]
    assert ironfree.kubectl("get", "pod", "order", "--no-headers").split()[1:3] == [
        "4/4",
        "Running",
    ]
    ironfree.kubectl("delete", "pod", "order")
    node = pod["spec"]["nodeName"]
    host = lab.host(node)
    seen = host.run("run", "--rm", "-v", "/run/order:/v", SHELL_IMAGE, "cat", "/v/order").split()
    assert seen[:6] == ["side1", "init", "side2", "one", "hook", "two"]
    assert seen.index("bye") < seen.index("end-one")
    assert seen[-2:] == ["end-side2", "end-side1"]


def test_probes_restart_what_is_sick_and_flip_readiness(ironfree: Ironfree, lab: Lab):
    serve = "mkdir -p /www; touch /www/ok; exec httpd -f -p 8080 -h /www"
    quick = {"periodSeconds": 1, "failureThreshold": 1}
    get = {"httpGet": {"path": "/ok", "port": "web"}, **quick}
    ready = {"exec": {"command": ["test", "-e", "/www/ready"]}, **quick}
    web = sh(
        "main",
        serve,
        ports=[{"name": "web", "containerPort": 8080}],
        startupProbe={**get, "failureThreshold": 30},
        livenessProbe=get,
        readinessProbe=ready,
    )
    run(ironfree, "probed", web)
    ironfree.kubectl("expose", "pod", "probed", "--port", "80", "--target-port", "web")
    pod = until(ironfree, "probed", lambda p: p["status"].get("phase") == "Running", "runs")
    assert not is_ready(pod)
    address = pod["status"]["podIP"]

    def found() -> tuple[list[str], list[bool]]:
        """Where its Service says it is, in one object and in slices."""
        subsets = ironfree.get("endpoints", "probed").get("subsets", [])
        ready = [
            f"{a['ip']}:{p['port']}"
            for s in subsets
            for a in s.get("addresses", [])
            for p in s["ports"]
        ]
        chosen = ("-l", "kubernetes.io/service-name=probed")
        slices = ironfree.get("endpointslices", *chosen)["items"]
        return ready, [e["conditions"]["ready"] for s in slices for e in s["endpoints"]]

    eventually(lambda: found() == ([], [False]), what="the Service knows of no ready pod")
    main = state(pod, "main")["containerID"].removeprefix("docker://")
    host = lab.host(pod["spec"]["nodeName"])
    host.run("exec", main, "touch", "/www/ready")
    until(ironfree, "probed", is_ready, "the readiness probe succeeds")
    eventually(lambda: found() == ([f"{address}:8080"], [True]), what="the Service finds it")
    words = ironfree.kubectl("describe", "service", "probed")
    assert f"{address}:8080" in words
    host.run("exec", main, "rm", "/www/ready")
    until(ironfree, "probed", lambda p: not is_ready(p), "the readiness probe fails")
    eventually(lambda: found() == ([], [False]), what="the Service lets go of it")
    host.run("exec", main, "rm", "/www/ok")
    pod = until(
        ironfree,
        "probed",
        lambda p: (
            state(p, "main")["restartCount"] == 1 and state(p, "main")["state"].get("running")
        ),
        "the liveness probe restarts it",
    )
    words = ironfree.kubectl("describe", "pod", "probed")
    assert "Liveness probe failed: HTTP probe failed with statuscode: 404" in words
    assert "Container main failed liveness probe, will be restarted" in words


def test_gates_hooks_over_http_and_readiness_to_the_end(ironfree: Ironfree, lab: Lab):
    def get(path: str) -> Any:
        headers = [{"name": "X-Word", "value": path}]
        asked = {"host": lab.gateway, "port": port, "path": f"/{path}", "httpHeaders": headers}
        return {"httpGet": asked}

    gate = "example.com/fed"
    ends = "touch /draining; until test -e /go; do sleep 0.1; done; exit 0"
    ready = {"exec": {"command": ["test", "!", "-e", "/draining"]}}
    with listening(lab.gateway) as (port, heard):
        web = sh(
            "main",
            f"trap '{ends}' TERM; while :; do sleep 0.1; done",
            lifecycle={"postStart": get("begin"), "preStop": get("end")},
            readinessProbe={**ready, "periodSeconds": 1, "failureThreshold": 1},
        )
        gates = {"readinessGates": [{"conditionType": gate}], "terminationGracePeriodSeconds": 90}
        run(ironfree, "gated", web, **gates)
        ironfree.kubectl("expose", "pod", "gated", "--port=80")
        pod = until(
            ironfree,
            "gated",
            lambda p: condition(p, "ContainersReady").get("status") == "True",
            "its container is ready",
        )
        assert heard == [("/begin", "begin")]
        assert condition(pod, "Ready")["reason"] == "ReadinessGatesNotReady"
        fed = json.dumps({"status": {"conditions": [{"type": gate, "status": "True"}]}})
        ironfree.kubectl("patch", "pod", "gated", "--subresource=status", "-p", fed)
        until(ironfree, "gated", is_ready, "its gate is open")

        def conditions() -> Any:
            chosen = ("-l", "kubernetes.io/service-name=gated")
            slices = ironfree.get("endpointslices", *chosen)["items"]
            return [e["conditions"] for s in slices for e in s["endpoints"]]

        def told(**expected: bool) -> None:
            eventually(lambda: conditions() == [expected], what=f"its Service says {expected}")

        told(ready=True, serving=True, terminating=False)
        ironfree.kubectl("delete", "pod", "gated", "--wait=false")
        told(ready=False, serving=False, terminating=True)  # TERM made its probe fail
        assert heard[1:] == [("/end", "end")]
        main = state(pod, "main")["containerID"].removeprefix("docker://")
        lab.host(pod["spec"]["nodeName"]).run("exec", main, "touch", "/go")
        ironfree.kubectl("wait", "pod", "gated", "--for=delete", "--timeout=40s")


def condition(pod: Any, kind: str) -> Any:
    found = pod["status"].get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


@contextlib.contextmanager
def listening(address: str) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    """A web server; yields its port, and the path and X-Word of every request."""
    heard: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append((self.path, self.headers["X-Word"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], heard
        finally:
            server.shutdown()
            thread.join()


def test_who_a_container_runs_as_and_what_it_may_do(ironfree: Ironfree):
    look = (
        "id -u; id -g; id -G | tr ' ' '\\n' | sort -n | tr '\\n' ,; echo; "
        "touch /x 2>/dev/null && echo rw || echo ro; grep NoNewPrivs /proc/self/status | cut -f2; "
        "grep CapEff /proc/self/status | cut -f2; touch /v/x && stat -c %g:%a /v; "
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; hostname"
    )
    security = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    pod = {
        "runAsUser": 1000,
        "runAsGroup": 2000,
        "runAsNonRoot": True,
        "supplementalGroups": [4000],
        "fsGroup": 3000,
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "81"}],
    }
    named = {"hostname": "db", "subdomain": "shop", "setHostnameAsFQDN": True}
    main = sh("main", look, securityContext=security, **MOUNT)
    run(ironfree, "who", main, securityContext=pod, restartPolicy="Never", **named, **EMPTY)
    until(ironfree, "who", phase("Succeeded"), "it ends")
    words = log(ironfree, "who")
    assert words[:2] == ["1000", "2000"]
    assert set(words[2].strip(",").split(",")) >= {"2000", "3000", "4000"}
    assert words[3:] == [
        "ro",
        "1",
        "0" * 16,
        "3000:2777",
        "81",
        "db.shop.default.svc.cluster.local",
    ]
    nothing = {"capabilities": {"drop": ["all"]}}  # as some public manifests write it
    effective = sh("main", "grep CapEff /proc/self/status | cut -f2", securityContext=nothing)
    run(ironfree, "powerless", effective, restartPolicy="Never")
    until(ironfree, "powerless", phase("Succeeded"), "it ends")
    assert log(ironfree, "powerless") == ["0" * 16]
    run(ironfree, "root", sh("main", "true"), securityContext={"runAsNonRoot": True})
    pod = until(
        ironfree,
        "root",
        lambda p: (
            state(p, "main")["state"].get("waiting", {}).get("reason")
            == "CreateContainerConfigError"
        ),
        "it is refused",
    )
    message = state(pod, "main")["state"]["waiting"]["message"]
    assert message == "container has runAsNonRoot and image will run as root"


def test_how_pods_end(ironfree: Ironfree):
    hungry = "dd if=/dev/zero of=/dev/null bs=64M count=1"
    limits = {"resources": {"limits": {"memory": "16Mi"}}}
    run(ironfree, "oom", sh("main", hungry, **limits), restartPolicy="Never")
    run(ironfree, "late", sh("main", "sleep 100"), activeDeadlineSeconds=1)
    shared = {"shareProcessNamespace": True, "restartPolicy": "Never"}
    ps = "ps | grep -c '[p]ause'; echo done > /dev/termination-log"
    run(ironfree, "shared", sh("main", ps), **shared)
    pod = until(ironfree, "oom", phase("Failed"), "it is killed")
    assert state(pod, "main")["state"]["terminated"]["reason"] == "OOMKilled"
    pod = until(ironfree, "late", phase("Failed"), "its deadline passes")
    assert pod["status"]["reason"] == "DeadlineExceeded"
    pod = until(ironfree, "shared", phase("Succeeded"), "it sees the sandbox's process")
    assert state(pod, "main")["state"]["terminated"]["message"] == "done\n"
    assert log(ironfree, "shared") == ["1"]


def test_files_of_config_maps_and_secrets(ironfree: Ironfree):
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "look"},
        "data": {"colour": "blue", "gone": "soon"},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "stringData": {"word": "hush"},
    }
    fields = {"name": "metadata.name", "labels": "metadata.labels"}
    downward = {
        "items": [{"path": p, "fieldRef": {"fieldPath": field}} for p, field in fields.items()]
    }
    projected = {"sources": [{"configMap": {"name": "look"}}, {"downwardAPI": downward}]}
    volumes = [
        {"name": "config", "configMap": {"name": "look"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "all", "projected": projected},
    ]
    mounts = [
        {"name": "config", "mountPath": "/config"},
        {"name": "keys", "mountPath": "/keys"},
        {"name": "all", "mountPath": "/all"},
        {"name": "config", "mountPath": "/etc/colour", "subPath": "colour"},
    ]
    watch = (
        "cat /config/colour /keys/word /all/colour /all/name /etc/colour | tr '\\n' ' '; "
        "stat -Lc %a /keys/word; grep -c ' /keys tmpfs' /proc/mounts; "
        "touch /config/x 2>/dev/null || echo readonly; "
        "while grep -q blue /config/colour; do sleep 0.1; done; cat /config/colour; ls /config; "
        "cat /etc/colour; echo; sleep 1000"
    )
    run(ironfree, "files", sh("main", watch, volumeMounts=mounts), volumes=volumes)
    eventually(
        lambda: "FailedMount" in ironfree.kubectl("describe", "pod", "files"), what="it waits"
    )
    for obj in (config, secret):
        ironfree.kubectl("apply", "-f", "-", given=json.dumps(obj))
    until(ironfree, "files", is_ready, "it runs")
    eventually(lambda: "readonly" in log(ironfree, "files"), what="it has read its files")
    # On a disk, not in memory: an engine of this age that keeps containers alive forgets that.
    assert log(ironfree, "files") == ["bluehushbluefilesblue400", "0", "readonly"]
    config["data"] = {"colour": "green"}
    ironfree.kubectl("replace", "-f", "-", given=json.dumps(config))
    eventually(lambda: len(log(ironfree, "files")) == 5, what="it sees the change")
    assert log(ironfree, "files")[3:] == ["greencolour", "blue"], "a part stays as it was"
    secret["stringData"] = {"word": "loud"}
    ironfree.kubectl("replace", "-f", "-", given=json.dumps(secret))
    ironfree.kubectl("label", "pod", "files", "seen=too")

    def files() -> list[str]:
        words = ("cat", "/keys/word", "/all/labels")
        return ironfree.kubectl("exec", "files", "--", *words).split()

    eventually(
        lambda: files() == ['loudrun="files"', 'seen="too"'], what="it sees the other changes"
    )


def test_what_a_container_shares_with_its_host(ironfree: Ironfree, lab: Lab):
    look = (
        "cat /proc/1/comm; readlink /proc/self/ns/ipc; "
        "grep Seccomp: /proc/self/status | cut -f2; "
        "grep -q ' /proc/sys ' /proc/mounts && echo masked || echo open"
    )
    open_ = {"seccompProfile": {"type": "Unconfined"}, "procMount": "Unmasked"}
    once = {"restartPolicy": "Never"}
    own = sh("own", look), sh("open", look, securityContext=open_)
    run(ironfree, "apart", *own, **once)
    shared = {"hostPID": True, "hostIPC": True}
    run(ironfree, "free", sh("main", look), **shared, **once)
    powers = {"securityContext": {"privileged": True}}
    run(ironfree, "mighty", sh("main", "sleep 1000", **powers))
    for name in ("apart", "free"):
        until(ironfree, name, phase("Succeeded"), "it ends")
    machine = os.readlink("/proc/self/ns/ipc")  # for the lab's hosts have none of their own
    process, ipc, seccomp, masked = log(ironfree, "apart", "own")
    assert (process, seccomp, masked) == ("sh", "2", "masked")
    assert ipc != machine
    opened = ["sh", ipc, "0", "open"]
    assert log(ironfree, "apart", "open") == opened, "what it says, and nothing else"
    assert log(ironfree, "free") == ["tini-static", machine, "2", "masked"]

    def told() -> list[bool]:
        """What engines were told; a lab in a container has no such rights to give."""
        pods = [(host, c) for host in lab.hosts for c in host.containers() if "_mighty_" in c.name]
        made = [(h, c) for h, c in pods if c.labels["ironfree.dev/container"] == "main"]
        return [h.inspect(c.id)["HostConfig"]["Privileged"] for h, c in made]

    eventually(lambda: set(told()) == {True}, what="the engine is told of the privileged one")


def test_what_a_container_is_told_and_given(ironfree: Ironfree, lab: Lab):
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": {"colour": "blue", "1.conf": "one"},
    }
    ironfree.kubectl("apply", "-f", "-", given=json.dumps(config))
    env = [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {
            "name": "NONE",
            "valueFrom": {"configMapKeyRef": {"name": "no", "key": "x", "optional": True}},
        },
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
        {"name": "SUM", "value": "$(COLOUR)-$(P_colour)"},
    ]
    look = (
        "tr '\\0' '\\n' < /proc/1/environ | grep -E '^(P_|COLOUR|NONE|NODE|MEMORY|SUM)' | sort; "
        "id -u; id -g; "
        "grep -c ^search /etc/resolv.conf; grep ^nameserver /etc/resolv.conf | cut -d' ' -f2; "
        "grep -E ' (/dev/shm|/in/v) tmpfs ' /proc/mounts | tr ' ' ,"
    )
    every = [{"prefix": "P_", "configMapRef": {"name": "settings"}}]
    main = sh("main", look, env=env, envFrom=every)
    main["resources"] = {"limits": {"memory": "64Mi"}}
    main["volumeMounts"] = [
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "v", "mountPath": "in/v"},
    ]
    amounts = {"cpu": "1", "memory": "128Mi"}
    run(
        ironfree,
        "told",
        main,
        sh("idle", "true"),
        restartPolicy="Never",
        resources={"limits": amounts, "requests": amounts},
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.53"]},
        securityContext={"runAsGroup": 3000},
        volumes=[
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            {"name": "v", "emptyDir": {"medium": "Memory"}},
        ],
    )
    pod = until(ironfree, "told", phase("Succeeded"), "it ends")
    node = pod["spec"]["nodeName"]
    said = log(ironfree, "told")
    assert said[:6] == [
        "COLOUR=blue",
        f"MEMORY={64 << 20}",
        f"NODE={node}",
        "P_1.conf=one",
        "P_colour=blue",
        "SUM=blue-blue",
    ]
    assert said[6:10] == ["0", "3000", "0", "127.0.0.11"], "the engine's, which asks the pod's"
    shm, other = sorted(said[10:])
    assert shm.startswith("tmpfs,/dev/shm,tmpfs,rw")
    assert "size=8192k" in shm.split(",")
    assert other.startswith("tmpfs,/in/v,tmpfs,rw")
    assert pod["status"]["qosClass"] == "Guaranteed"
    shares = {
        container.labels["ironfree.dev/container"]: lab.host(node).inspect(container.id)
        for container in lab.host(node).containers()
    }
    assert shares["POD"]["HostConfig"]["Dns"] == ["192.0.2.53"]
    assert {name: shares[name]["HostConfig"]["CpuShares"] for name in ("main", "idle")} == {
        "main": 512,
        "idle": 512,
    }


def test_a_namespace_holds_its_pods_to_a_level(ironfree: Ironfree):
    label = "pod-security.kubernetes.io/enforce=baseline"
    ironfree.kubectl("label", "namespace", "default", label)
    bad = {"hostPID": True}
    with pytest.raises(AssertionError, match=r'violates PodSecurity "baseline:latest": host names'):
        run(ironfree, "bad", sh("main", "true"), **bad)
    run(ironfree, "good", sh("main", "sleep 100"))
    until(ironfree, "good", is_ready, "it runs")
