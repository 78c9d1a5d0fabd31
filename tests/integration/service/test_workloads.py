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
