"""GET pods/{name}/log through a host."""

import pytest

from scheduler.errors import EngineRejected, HostUnreachable

pytestmark = pytest.mark.asyncio(loop_scope="module")


class LoggingHost:
    """A host whose containers have said something."""

    def __init__(self, *chunks, error=None):
        self.chunks, self.error, self.asked = chunks, error, []

    async def logs(self, container_id, options):
        self.asked.append((container_id, options))
        for chunk in self.chunks:
            yield chunk
        if self.error is not None:
            raise self.error


async def started(api, ns, pod, **state):
    node = f"node-{ns}"
    amounts = {"cpu": "1", "memory": "1Gi", "pods": "5"}
    await api.post(
        "/api/v1/nodes", {"metadata": {"name": node}, "status": {"allocatable": amounts}}
    )
    path = f"/api/v1/namespaces/{ns}/pods/web"
    await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    await api.post(f"{path}/binding", {"target": {"kind": "Node", "name": node}})
    status = {"name": "c", "ready": True, "restartCount": 0, "image": "x", "imageID": "", **state}
    await api.call(
        "PATCH",
        f"{path}/status",
        {"status": {"phase": "Running", "containerStatuses": [status]}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    return node, path + "/log"


async def test_output_is_streamed(api, ns, pod):
    node, path = await started(api, ns, pod, containerID="docker://abc")
    host = api.hosts.known[node] = LoggingHost(b"one\n", b"two\n")
    answer = await api.get(path, tailLines="5", timestamps="true", sinceSeconds="60")
    assert (answer.code, answer.body) == (200, "one\ntwo\n")
    assert answer.headers["Content-Type"] == "text/plain"
    container, options = host.asked[0]
    assert container == "abc"
    assert (options.tail, options.timestamps, options.follow) == (5, True, False)
    assert (await api.kubectl("-n", ns, "logs", "web")) == "one\ntwo\n"


async def test_what_cannot_be_read_is_said(api, ns, pod):
    node, path = await started(api, ns, pod, containerID="docker://abc")
    assert (await api.get(path)).code == 503  # the host is not connected
    api.hosts.known[node] = LoggingHost(error=HostUnreachable("no answer"))
    assert (await api.get(path)).code == 503
    api.hosts.known[node] = LoggingHost(error=EngineRejected("no such container", 404))
    answer = await api.get(path)
    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")
    for query in (
        {"container": "x"},
        {"tailLines": "-1"},
        {"sinceTime": "noon"},
        {"previous": "true"},
        {"limitBytes": "0"},
    ):
        assert (await api.get(path, **query)).code == 400


async def test_a_pod_without_a_node_has_no_logs(api, ns, pod):
    await api.post(f"/api/v1/namespaces/{ns}/pods", pod())
    answer = await api.get(f"/api/v1/namespaces/{ns}/pods/web/log")
    expected = "pod web does not have a host assigned"
    assert (answer.code, answer.body["message"]) == (400, expected)
    assert expected in (await api.kubectl("-n", ns, "logs", "web", check=False)).err


async def test_a_container_that_has_not_started(api, ns, pod):
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
    _node, path = await started(api, ns, pod, **waiting)
    answer = await api.get(path)
    expected = 'container "c" in pod "web" is waiting to start: ImagePullBackOff'
    assert (answer.code, answer.body["message"]) == (400, expected)
    assert (await api.get(f"/api/v1/namespaces/{ns}/pods/none/log")).code == 404
