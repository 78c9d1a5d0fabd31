"""Stock kubectl on workloads, against the whole service with simulated hosts."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.timeout(150)

KUBECTL = Path(sys.executable).with_name("kubectl")


class Cluster:
    """A service, and kubectl pointed at it."""

    def __init__(self, service, directory):
        self.service = service
        self._environment = {**os.environ, "HOME": str(directory)}

    async def kubectl(self, *words, given=None):
        """Return what kubectl printed; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            *(KUBECTL, "--server", self.service.url, *words),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(given.encode() if given else None)
        assert process.returncode == 0, (words, err.decode(), out.decode(), self.service.output)
        return out.decode()

    async def apply(self, *objects):
        return await self.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(objects))

    async def get(self, path, **params):
        return (await self.service.get(path, **params)).get("items")

    async def pods(self, selector=""):
        found = await self.get("/api/v1/namespaces/default/pods", labelSelector=selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


@pytest.fixture
async def cluster(postgres, processes, tmp_path):
    service = await processes(postgres.url)
    await service.add_hosts(3)
    return Cluster(service, tmp_path)


def template(image="x:1", labels=None, **spec):
    resources = {"requests": {"cpu": "10m"}}
    return {
        "metadata": {"labels": labels or {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": image, "resources": resources}], **spec},
    }


def workload(kind, name="web", version="apps/v1", **spec):
    selecting = {"selector": {"matchLabels": {"app": name}}} if version == "apps/v1" else {}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**selecting, **spec},
    }


async def test_a_deployment_is_rolled_out_and_back(cluster):
    kubectl = cluster.kubectl
    rollout = ("rollout", "status", "deploy/web", "--timeout=50s")
    await cluster.apply(workload("Deployment", replicas=4, template=template()))
    assert "successfully rolled out" in await kubectl(*rollout)
    row = (await kubectl("get", "deploy")).splitlines()[1].split()
    assert row[:4] == ["web", "4/4", "4", "4"]
    await kubectl("set", "image", "deploy/web", "c=x:2")
    assert "successfully rolled out" in await kubectl(*rollout)
    history = await kubectl("rollout", "history", "deploy/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
    assert "x:1" in await kubectl("rollout", "history", "deploy/web", "--revision=1")
    await kubectl("rollout", "undo", "deploy/web")
    await kubectl(*rollout)
    history = await kubectl("rollout", "history", "deploy/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["2", "3"]
    await kubectl("rollout", "pause", "deploy/web")
    await kubectl("scale", "deploy/web", "--replicas=6")
    await kubectl("rollout", "resume", "deploy/web")
    await kubectl("rollout", "restart", "deploy/web")
    await kubectl(*rollout)
    pods = await cluster.pods("app=web")
    assert [pod["spec"]["containers"][0]["image"] for pod in pods] == ["x:1"] * 6
    restarted = "kubectl.kubernetes.io/restartedAt"
    assert all(restarted in pod["metadata"]["annotations"] for pod in pods)
    described = await kubectl("describe", "deploy/web")
    assert "ScalingReplicaSet" in described
    assert "NewReplicaSetAvailable" in described
    assert "deployment.apps/web" in await kubectl("get", "all")
    await kubectl("delete", "deploy/web", "--cascade=foreground", "--timeout=50s")
    assert await cluster.pods("app=web") == []
    assert await cluster.get("/apis/apps/v1/namespaces/default/replicasets") == []


async def test_agents_are_on_every_host_and_rolled_out(cluster):
    kubectl = cluster.kubectl
    rollout = ("rollout", "status", "ds/web", "--timeout=50s")
    await cluster.apply(workload("DaemonSet", template=template()))
    assert "successfully rolled out" in await kubectl(*rollout)
    pods = await cluster.pods("app=web")
    assert {pod["spec"]["nodeName"] for pod in pods} == {"h0", "h1", "h2"}
    await kubectl("set", "image", "ds/web", "c=x:2")
    assert "successfully rolled out" in await kubectl(*rollout)
    assert "x:1" in await kubectl("rollout", "history", "ds/web", "--revision=1")
    await kubectl("rollout", "undo", "ds/web")
    await kubectl(*rollout)
    images = [pod["spec"]["containers"][0]["image"] for pod in await cluster.pods("app=web")]
    assert images == ["x:1"] * 3
    assert (await kubectl("get", "ds")).splitlines()[1].split()[:6] == ["web", *["3"] * 5]
    await kubectl("drain", "h1", "--ignore-daemonsets", "--timeout=30s")
    assert len(await cluster.pods("app=web")) == 3


async def test_numbered_copies_are_rolled_out_and_scaled(cluster):
    kubectl = cluster.kubectl
    rollout = ("rollout", "status", "sts/web", "--timeout=50s")
    await cluster.apply(workload("StatefulSet", serviceName="web", replicas=3, template=template()))
    assert "complete: 3 new pods" in await kubectl(*rollout)
    await kubectl("set", "image", "sts/web", "c=x:2")
    assert "complete: 3 new pods" in await kubectl(*rollout)
    history = await kubectl("rollout", "history", "sts/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
    await kubectl("rollout", "undo", "sts/web")
    await kubectl(*rollout)
    pods = {p["metadata"]["name"]: p for p in await cluster.pods("app=web")}
    assert set(pods) == {"web-0", "web-1", "web-2"}
    assert {p["spec"]["containers"][0]["image"] for p in pods.values()} == {"x:1"}
    await kubectl("scale", "sts/web", "--replicas=1")
    await kubectl("wait", "pod/web-1", "pod/web-2", "--for=delete", "--timeout=50s")
    assert [p["metadata"]["name"] for p in await cluster.pods("app=web")] == ["web-0"]


async def test_jobs_are_made_watched_and_taken_away(cluster):
    kubectl = cluster.kubectl
    job = {"template": template("x:1", restartPolicy="Never"), "parallelism": 2, "completions": 2}
    await cluster.apply(workload("Job", "sum", "batch/v1", **job))
    await kubectl("wait", "job/sum", "--for=jsonpath={.status.ready}=2", "--timeout=50s")
    assert (await kubectl("get", "jobs")).splitlines()[1].split()[:3] == ["sum", "Running", "0/2"]
    await kubectl("create", "cronjob", "tick", "--image=x:1", "--schedule=@yearly")
    row = (await kubectl("get", "cronjobs")).splitlines()[1].split()
    assert row[:6] == ["tick", "@yearly", "<none>", "False", "0", "<none>"]
    await kubectl("create", "job", "once", "--from=cronjob/tick")
    await kubectl("wait", "job/once", "--for=jsonpath={.status.ready}=1", "--timeout=50s")
    await kubectl("delete", "cronjob/tick", "job/sum", "--timeout=50s")
    await kubectl("wait", "job/once", "--for=delete", "--timeout=50s")
    await kubectl("wait", "pods", "--all", "--for=delete", "--timeout=50s")
    assert await cluster.pods() == []
