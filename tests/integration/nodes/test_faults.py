"""What happens to pods when hosts, engines and schedulers come and go."""

import asyncio

from ironfree_simulated import Behaviour

from scheduler.drivers import EngineState
from scheduler.errors import HostUnreachable
from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Remove


async def test_a_restarted_scheduler_adopts_what_runs(cluster):
    await cluster.add_host("h1")
    for number in range(5):
        await cluster.add_pod(f"web-{number}", "h1")
        await cluster.running(f"web-{number}")
    machine = cluster.driver.machine("h1")
    starts = list(machine.starts)
    await cluster.stop_agents()
    await cluster.start_agents()
    await cluster.add_pod("late", "h1", wait_for_node=False)
    await cluster.running("late")
    assert machine.starts[:-1] == starts, "nothing was started again"


async def test_agents_end_when_their_hosts_fail_in_the_same_moment(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    cluster.driver.machine("h1").partition()
    async with asyncio.timeout(10):
        await cluster.stop_agents()


async def test_news_of_pods_while_a_session_ends_harm_no_other(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    (agent,) = cluster.agents._agents.values()
    session = agent._session
    (here,) = session._roster.assigned.values()
    outcomes = []

    def bring_news(_=None):
        try:
            outcomes.append(agent.notice(f"news-{len(outcomes)}", here))
        except RuntimeError as error:
            outcomes.append(error)

    async def fail():
        raise HostUnreachable("h1 is gone")

    failing = session._group.create_task(fail())
    failing.add_done_callback(bring_news)  # the group knows, and its session does not
    await asyncio.wait({failing})
    assert agent._session is session, "its other tasks have yet to end"
    bring_news()
    assert outcomes == [None, None]
    await cluster.eventually(lambda: agent._session not in (None, session))
    await cluster.add_pod("late", "h1")
    await cluster.running("late")


async def test_an_agent_goes_on_when_several_descriptions_fail_at_once(works):
    engine = await works.add("one")
    for name in ("a", "b"):
        await works.add_pod(name, "one", containers=[{"name": "web", "image": "app:v1"}])
        await works.running(name)
    engine.reject["inspect"] = (500, "it is going down")
    for container in list(engine.containers.values()):
        engine.emit("die", container)  # so that all of them are described anew
    await works.eventually(lambda: works.agents.host("one") is None)
    del engine.reject["inspect"]
    await works.ready("one")
    await works.add_pod("late", "one", containers=[{"name": "web", "image": "app:v1"}])
    await works.running("late")


async def test_a_scheduler_killed_while_starting_starts_everything_once(cluster):
    await cluster.add_host("h1", address="simulated://h1?latency=0.01&start=0.02&pull=0.02")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    for number in range(20):
        await cluster.add_pod(f"web-{number}", "h1")
    for _ in range(3):
        await cluster.eventually(lambda: machine.starts or machine.pods)
        await cluster.stop_agents()
        await cluster.start_agents()
    for number in range(20):
        await cluster.running(f"web-{number}")
    assert len(machine.starts) == len(set(machine.starts)) == 20
    assert {attempt for _, _, attempt in machine.starts} == {0}


async def test_a_container_that_dies_is_replaced(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    machine = cluster.driver.machine("h1")
    [seen] = machine.observe()
    machine.exit_container(seen.containers[0].id, 137)
    pod = await cluster.pod("web", lambda p: p.status.container_statuses[0].restart_count == 1)
    assert pod.status.container_statuses[0].last_state.terminated.exit_code == 137
    assert len(machine.starts) == 2


async def test_a_dead_sandbox_is_replaced_with_its_containers(cluster):
    await cluster.add_host("h1")
    made = await cluster.add_pod("web", "h1")
    first = await cluster.running("web")
    machine = cluster.driver.machine("h1")
    machine.kill_sandbox(made.meta.uid)
    pod = await cluster.pod(
        "web",
        lambda p: (
            p.status.container_statuses[0].restart_count == 1
            and p.status.pod_ip != first.status.pod_ip
        ),
    )
    assert pod.status.phase == "Running"
    [seen] = machine.observe()
    assert seen.sandbox.running
    assert seen.sandbox.attempt == 1
    await cluster.events("SandboxChanged")


async def test_an_unreachable_host_is_unknown_and_heals_without_duplicates(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    before = await cluster.running("web")
    machine = cluster.driver.machine("h1")
    machine.partition()

    def reachable(host, word):
        conditions = [c for c in host.status.conditions if c.type == "Reachable"]
        return bool(conditions) and conditions[0].status == word

    host = await cluster.host("h1", lambda h: reachable(h, "False"))
    assert "does not answer" in host.status.conditions[0].message
    assert cluster.agents.host("h1") is None
    node = cluster.nodes.get("", "h1")
    assert node.status.condition("Ready").status == "True", "the controller judges, not the agent"
    after = cluster.pods.get("default", "web")
    assert after.status == before.status
    machine.heal()
    await cluster.host("h1", lambda h: reachable(h, "True"))
    await cluster.add_pod("late", "h1")
    await cluster.running("late")
    assert len(machine.starts) == 2


async def test_a_rebooted_host_starts_its_pods_again_once(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("web", "h1")
    await cluster.running("web")
    machine = cluster.driver.machine("h1")
    machine.power_off()
    await cluster.eventually(lambda: cluster.agents.host("h1") is None)
    machine.power_on()
    await cluster.pod("web", lambda p: p.status.container_statuses[0].restart_count == 1)
    assert [attempt for _, _, attempt in machine.starts] == [0, 1]


async def test_an_outage_does_not_count_against_a_host_that_is_back(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine, reconnection = cluster.driver.machine("h1"), cluster.agents._agents["h1"].reconnection
    machine.power_off()
    await cluster.eventually(lambda: reconnection.failures >= 5)
    machine.power_on()
    await cluster.ready("h1")
    assert (reconnection.failures, reconnection.breaks) == (0, 1)


async def test_stale_pods_go_before_anything_new_starts(cluster):
    await cluster.add_host("h1")
    await cluster.add_pod("old", "h1")
    await cluster.running("old")
    machine = cluster.driver.machine("h1")
    machine.partition()
    await cluster.eventually(lambda: cluster.agents.host("h1") is None)
    await cluster.store.write(Remove(ObjectKey("pods", "default", "old")))  # evicted meanwhile
    made = await cluster.add_pod("new", "h1", wait_for_node=False)
    old_there_when_new_started = []
    ensure = machine.ensure_sandbox

    def watched(spec, installation):
        names = {seen.identity.name for seen in machine.observe()}
        old_there_when_new_started.append("old" in names)
        return ensure(spec, installation)

    machine.ensure_sandbox = watched
    machine.heal()
    await cluster.running("new")
    assert old_there_when_new_started == [False]
    assert [seen.identity.uid for seen in machine.observe()] == [made.meta.uid]


async def test_a_slow_pod_keeps_no_other_waiting(cluster):
    await cluster.add_host("h1")
    await cluster.ready("h1")
    machine = cluster.driver.machine("h1")
    machine.script("stubborn", Behaviour(ignores_term=True))
    stubborn = [{"name": "web", "image": "stubborn"}]
    await cluster.add_pod("slow", "h1", containers=stubborn, terminationGracePeriodSeconds=600)
    await cluster.running("slow")
    await cluster.delete_pod("slow")
    await cluster.events("Killing")
    await cluster.add_pod("quick", "h1")
    await cluster.running("quick")
    [slow] = [s for s in machine.observe() if s.identity.name == "slow"]
    assert slow.containers[0].state is EngineState.RUNNING


async def test_a_hundred_hosts_run_a_thousand_pods(cluster):
    hosts = [f"h{number}" for number in range(100)]
    await asyncio.gather(*(cluster.add_host(name) for name in hosts))
    pods = [(f"p{number}", hosts[number % len(hosts)]) for number in range(1000)]
    await asyncio.gather(*(cluster.ready(name) for name in hosts))
    await asyncio.gather(*(cluster.add_pod(p, h, wait_for_node=False) for p, h in pods))
    await asyncio.gather(*(cluster.running(p) for p, _ in pods))
    starts = [s for name in hosts for s in cluster.driver.machine(name).starts]
    assert len(starts) == len(set(starts)) == 1000
