"""A host that answers pings and looks but starts nothing: it is shown, and spared."""

from scheduler.errors import HostUnreachable
from scheduler.nodes.circuit import TRIPS, CircuitState


async def test_a_stuck_engine_is_told_spared_and_used_again(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("before", "h1")
    await cluster.running("before")
    machine = cluster.driver.machine("h1")
    ensure, asked = machine.ensure_sandbox, []

    def stuck(spec, installation):
        asked.append(spec.identity.name)
        raise HostUnreachable("POST /containers/create took too long")

    machine.ensure_sandbox = stuck
    for number in range(20):
        await cluster.add_pod(f"p{number}", "h1", wait_for_node=False)

    def says(status):
        def look(node):
            condition = node.status.condition("EngineStuck")
            return condition is not None and condition.status == status and condition

        return look

    node = await cluster.until(cluster.nodes, "", "h1", says("True"))
    assert "took too long" in node.status.condition("EngineStuck").message
    assert node.status.condition("Ready").status == "True", "what runs there runs on"
    await cluster.events("EngineStuck")
    assert cluster.agents.circuits()[CircuitState.CLOSED] == 0
    before = len(asked)
    await cluster.eventually(lambda: len(asked) >= before + 2)
    await cluster.delete_pod("before", grace=0)
    await cluster.pod("before", lambda p: p is None)  # ending is never held back
    machine.ensure_sandbox = ensure
    await cluster.until(cluster.nodes, "", "h1", says("False"))
    for number in range(20):
        await cluster.running(f"p{number}")
    await cluster.events("EngineWorks")
    assert len(asked) >= TRIPS
    assert len({s.identity.uid for s in machine.observe()}) == 20


async def test_a_host_that_cannot_be_looked_at_does_not_count_as_alive_again(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    observe = machine.observe

    def stuck(*_):
        raise HostUnreachable("GET /containers/json took too long")

    def reachable(word):
        return lambda h: any(
            c.type == "Reachable" and c.status == word for c in h.status.conditions
        )

    machine.observe = stuck
    await cluster.host("h1", reachable("False"))
    lease = cluster.agents._agents["h1"].heartbeat.lease
    await cluster.eventually(lambda: cluster.agents._agents["h1"].reconnection.failures >= 6)
    assert cluster.agents._agents["h1"].heartbeat.lease is lease
    machine.observe = observe
    await cluster.host("h1", reachable("True"))
