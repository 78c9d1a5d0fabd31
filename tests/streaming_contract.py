"""What every driver that offers streams does; called for each with a container that runs."""

import pytest

from scheduler.errors import EngineRejected
from scheduler.streams import STDOUT, Ends, MeteredHost, StreamingHost


async def read_all(process):
    """Return stdout, and the exit code."""
    said = b""
    while (part := await process.read()) is not None:
        stream, data = part
        said += data if stream == STDOUT else b""
    return said, await process.exit_code()


async def check_streams(host, container_id):
    """Run commands in the container, with and without input."""
    assert isinstance(host, StreamingHost)
    async with host.exec(container_id, ("echo", "a", "b"), Ends()) as process:
        assert await read_all(process) == (b"a b\n", 0)
    async with host.exec(container_id, ("sh", "-c", "exit 3"), Ends()) as process:
        await process.write(b"nobody reads this")
        await process.end_input()
        assert await read_all(process) == (b"", 3)
    async with host.exec(container_id, ("cat",), Ends(stdin=True)) as process:
        await process.write(b"one\0")
        assert await process.read() == (STDOUT, b"one\0")
        await process.write(b"two")
        await process.end_input()
        assert await read_all(process) == (b"two", 0)
    async with host.exec(container_id, ("cat",), Ends(stdin=True)) as process:
        await process.write(b"left in the middle")
    with pytest.raises(EngineRejected):
        async with host.exec("0" * 64, ("true",), Ends()):
            pass
    with pytest.raises(EngineRejected):
        async with host.attach("0" * 64, Ends()):
            pass
    with pytest.raises(EngineRejected):
        async with host.connect("no-such-pod", 80):
            pass


async def check_echo(host, pod_uid, port):
    """Speak with an echo that listens on the pod's loopback, over two connections at once."""
    async with host.connect(pod_uid, port) as one, host.connect(pod_uid, port) as other:
        for connection, said in ((one, b"first"), (other, b"second")):
            await connection.write(said)
            assert await connection.read() == said
            await connection.end_input()
            assert await connection.read() == b""
            assert await connection.failure() == ""


async def check_usage(host, container_id):
    """Find the container among what is measured, and its processor time growing."""
    assert isinstance(host, MeteredHost)
    before, after = (await host.usage())[container_id], (await host.usage())[container_id]
    assert after.at > before.at
    assert after.cpu_nanoseconds >= before.cpu_nanoseconds
    assert after.memory_bytes > 0
