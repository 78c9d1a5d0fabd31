"""What ended containers say about their end, from whichever place it is to be had."""

import pytest
from msgspec.structs import replace

from scheduler.drivers import ContainerStatus, EngineState, PodIdentity, PodObservation
from scheduler.errors import EngineRejected
from scheduler.nodes.termination_message import listen, told, unheard
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.pod import (
    Container,
    ContainerState,
    ContainerStateTerminated,
    Pod,
    PodContainerStatus,
    PodSpec,
    PodStatus,
)

ENDED = ContainerStatus("web", "c1", 0, "h", EngineState.EXITED, "web:1", exit_code=1)
FALLBACK = "FallbackToLogsOnError"


class Host:
    """Has a message and a log of one container."""

    def __init__(self, message=b"", log=(b"first\n", b"last\n")):
        self.message, self.log = message, log
        self.asked = []

    async def termination_message(self, container_id, path, most):
        self.asked.append((container_id, path))
        if isinstance(self.message, Exception):
            raise self.message
        return self.message[-most:]

    async def logs(self, container_id, options):
        assert (container_id, options.tail, options.follow) == ("c1", 80, False)
        for part in self.log:
            yield part


def pod(policy="File", count=1, status=None):
    web = Container("web", "web:1", termination_message_path="/end")
    others = (Container(f"c{n}", "c") for n in range(count - 1))
    containers = (replace(web, termination_message_policy=policy), *others)
    return Pod(
        ObjectMeta(name="web", namespace="default", uid="u1"),
        PodSpec(containers=containers),
        status or PodStatus(),
        "h1",
        1,
        b"",
    )


@pytest.mark.parametrize(
    ("policy", "message", "code", "said"),
    [
        ("File", b"why", 1, "why"),
        ("File", b"result", 0, "result"),
        ("File", b"", 1, ""),
        (FALLBACK, b"why", 1, "why"),
        (FALLBACK, b"", 1, "first\nlast\n"),
        (FALLBACK, b"", 0, ""),
        ("File", EngineRejected("gone", 404), 1, ""),
        ("File", b"\xff", 1, "�"),
    ],
)
async def test_it_comes_from_the_file_and_else_from_the_log_of_what_failed(
    policy, message, code, said
):
    host = Host(message)
    assert await listen(host, pod(policy), replace(ENDED, exit_code=code)) == said
    assert host.asked == [("c1", "/end")]


async def test_it_is_no_longer_than_kubelet_has_it():
    assert await listen(Host(b"a" * 5000 + b"b"), pod(), ENDED) == "a" * 4095 + "b"
    log = Host(log=(b"x" * 5000, b"y" * 100))
    assert await listen(log, pod(FALLBACK), ENDED) == "x" * 1948 + "y" * 100
    shared = await listen(Host(b"a" * 5000), pod(count=6), ENDED)
    assert len(shared) == 2048, "all of a pod share 12 KiB"


@pytest.mark.parametrize("last", [True, False])
async def test_what_was_shown_is_not_read_again(last):
    end = ContainerStateTerminated(exit_code=1, message="shown", container_id="docker://c1")
    state = ContainerState(terminated=end)
    status = PodContainerStatus("web", **{"last_state" if last else "state": state})
    host = Host(b"another's by now")
    shown = pod(status=PodStatus(container_statuses=(status,)))
    assert await listen(host, shown, ENDED) == "shown"
    assert host.asked == []


async def test_a_hosts_own_words_come_first():
    ended = replace(ENDED, message="the engine's")
    assert await listen(Host(b"mine"), pod(), ended) == "the engine's: mine"
    assert await listen(Host(b""), pod(), ended) == "the engine's"


def test_only_what_has_ended_is_asked_and_told_of():
    runs = replace(ENDED, id="c2", attempt=1, state=EngineState.RUNNING)
    seen = PodObservation(PodIdentity("u1", "default", "web"), None, (ENDED, runs))
    assert [each.id for each in unheard(seen, {})] == ["c1"]
    assert [*unheard(seen, {"c1": ""})] == []
    assert [each.message for each in told(seen, {"c1": "why"}).containers] == ["why", ""]
    assert told(None, {}) is None
