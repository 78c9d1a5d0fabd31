"""Placements by the whole service: planned, committed, cancelled, begun anew, by the command."""

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)

EXAMPLES = Path(__file__).parents[3] / "examples"
PODS = "/api/v1/namespaces/default/pods"
PLACEMENTS = "/apis/ironfree.dev/v1/namespaces/default/placements"


def pods_spec(cpu, **more):
    requests = {"cpu": cpu, "memory": "16Mi"}
    return {
        "schedulerName": "batch",
        "containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}],
        **more,
    }


async def hold(service, name, cpu, **labels):
    """Create a pod that no profile places, so that it waits for a Placement."""
    made = await service.call(
        "POST", PODS, {"metadata": {"name": name, "labels": labels}, "spec": pods_spec(cpu)}
    )
    assert made.code == 201, made.body


@pytest.fixture
async def service(postgres, processes):
    return await processes(postgres.url, IRONFREE_NODE_GRACE_SECONDS="90")  # none is lost by load


async def place(service, name, **spec):
    made = await service.call(
        "POST", PLACEMENTS, {"metadata": {"name": name}, "spec": {"deadlineSeconds": 60, **spec}}
    )
    assert made.code == 201, made.body


async def ended(service, name):
    async def look():
        obj = await service.get(f"{PLACEMENTS}/{name}")
        final = {"Planned", "Committed", "Infeasible", "Cancelled", "Failed"}
        return obj["status"] if obj["status"]["phase"] in final else None

    return await service.eventually(look, f"placement {name} ended")


async def assignments(service, name):
    page = await service.get(f"{PLACEMENTS}/{name}/assignments")
    return {each["pod"]: each["node"] for each in page["items"]}


async def nodes(service):
    pods = (await service.get(PODS))["items"]
    return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods}


async def test_a_plan_packs_what_greedy_does_not_and_touches_nothing(service):
    await service.add_ready_hosts(2)
    for number, cpu in enumerate(("3", "3", "2", "5", "3")):
        await hold(service, f"p{number}", cpu)
    await place(service, "plan", pods={"selector": {}})
    status = await ended(service, "plan")
    assert status["phase"] == "Planned", status
    assert status["placed"] == status["pods"] == 5, status
    assert status["solver"]["status"] == "optimal", status
    found = await assignments(service, "plan")
    assert len(found) == 5
    assert set((await nodes(service)).values()) == {""}


async def test_a_commit_binds_every_pod_where_the_plan_has_it(service):
    await service.add_ready_hosts(2)
    for number in range(6):
        await hold(service, f"p{number}", "2", app="a")
    await hold(service, "other", "1")
    await place(service, "go", mode="commit", pods={"selector": {"matchLabels": {"app": "a"}}})
    status = await ended(service, "go")
    assert status["phase"] == "Committed", status
    planned = {
        pod.partition("/")[2]: node for pod, node in (await assignments(service, "go")).items()
    }
    found = await nodes(service)
    assert found.pop("other") == ""
    assert found == planned
    gone = await service.call("DELETE", f"{PLACEMENTS}/go")
    assert gone.code == 200


async def test_pods_are_spread_evenly_or_kept_where_others_have_no_room(service):
    await service.add_ready_hosts(2)
    for number in range(4):
        await hold(service, f"p{number}", "2")
    goals = {
        "even": {"balance": "cpu"},
        "all": {"balance": "resources"},
        "apart": {"fragmentation": "cpu"},
    }
    shares = {}
    for name, goal in goals.items():
        objective = [{"place": "count"}, goal]
        await place(service, name, pods={"selector": {}}, objective=objective)
        status = await ended(service, name)
        assert (status["phase"], status["placed"]) == ("Planned", 4), status
        shares[name] = sorted(Counter((await assignments(service, name)).values()).values())
    assert shares["even"] == shares["all"] == [2, 2]


async def test_what_cannot_all_be_placed_says_so_with_a_bound(service):
    await service.add_ready_hosts(1)
    template = {"spec": pods_spec("3")}
    templates = [{"name": "t", "count": 5, "template": template}]
    await place(service, "much", pods={"templates": templates})
    status = await ended(service, "much")
    assert (status["placed"], status["pods"]) == (2, 5)
    assert status["solver"]["goals"][0] == {
        "name": "place:count",
        "value": "2",
        "bound": "2",
        "gap": "0%",
    }
    assert status["unplaced"][0]["count"] == 3
    assert "Insufficient cpu" in status["unplaced"][0]["reason"]
    await place(service, "all", pods={"templates": templates}, objective=[{"hosts": "fewest"}])
    status = await ended(service, "all")
    assert status["phase"] == "Infeasible", status
    assert status["placed"] == 0


def offered(count):
    allocatable = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    return [
        {"metadata": {"name": f"n{n}"}, "status": {"allocatable": allocatable}}
        for n in range(count)
    ]


def endless():
    """Return templates that the solver packs better and better until its deadline."""
    sizes = [(500 + 4441 * n % 4400, 2000 + 7919 * n % 18000) for n in range(150)]
    templates = []
    for number, (cpu, memory) in enumerate(sizes):
        spec = pods_spec(f"{cpu}m")
        spec["containers"][0]["resources"]["requests"]["memory"] = f"{memory}Mi"
        templates.append({"name": f"t{number}", "count": 20, "template": {"spec": spec}})
    return templates


async def test_a_placement_is_cancelled_and_another_goes_on(service):
    await place(
        service,
        "first",
        pods={"templates": endless()},
        hosts={"nodes": offered(900)},
        deadlineSeconds=3600,
    )

    async def solving():
        status = (await service.get(f"{PLACEMENTS}/first"))["status"]
        goals = (status.get("solver") or {}).get("goals", [])
        return [each for each in goals if each["gap"] and each["value"] != "0"]

    [goal] = await service.eventually(solving, "the solver has placed somebody")
    assert goal["name"] == "place:count", goal
    assert goal["gap"].endswith("%"), goal
    assert 0 < int(goal["value"]) < int(goal["bound"]), goal
    first = await service.get(f"{PLACEMENTS}/first")
    first["spec"]["cancelled"] = True
    del first["metadata"]["resourceVersion"]
    assert (await service.call("PUT", f"{PLACEMENTS}/first", first)).code == 200
    assert (await ended(service, "first"))["phase"] == "Cancelled"
    templates = [{"name": "t", "count": 900, "template": {"spec": pods_spec("3")}}]
    await place(service, "second", pods={"templates": templates}, hosts={"nodes": offered(40)})
    assert (await ended(service, "second"))["placed"] == 80


async def test_a_placement_outlives_the_process_that_began_it(service):
    await service.add_ready_hosts(1)
    for number in range(3):
        await hold(service, f"p{number}", "2")
    await place(service, "go", mode="commit", pods={"selector": {}})
    await service.end(signal.SIGKILL)
    await service.start()
    status = await ended(service, "go")
    assert status["phase"] == "Committed", status
    assert "" not in set((await nodes(service)).values())


async def test_a_spec_that_cannot_be_is_refused(service):
    made = await service.call(
        "POST", PLACEMENTS, {"metadata": {"name": "x"}, "spec": {"mode": "maybe", "pods": {}}}
    )
    assert made.code == 422
    fields = {cause["field"] for cause in made.body["details"]["causes"]}
    assert fields == {"spec.mode", "spec.pods"}


async def command(service, *words):
    """Run `ironfree place`."""
    return await service.ironfree("place", "--json", *words)


async def test_the_command_packs_shapes_of_a_table_and_draws_them(service, tmp_path):
    table = tmp_path / "shapes.csv"
    table.write_text(
        "kind,name,count,cpu,memory,example.com/gpu\n"
        "host,big,3,8,32Gi,1\npod,web,5,3,1Gi,\npod,db,2,2,4Gi,1\n"
    )
    drawing = ("--picture", str(tmp_path / "packed.svg"))
    code, said, complaints = await command(service, "-f", str(table), "--deadline", "10", *drawing)
    assert code == 0, complaints
    answer = json.loads(said)
    assert len(answer["assignments"]) == 7
    assert {each["node"] for each in answer["assignments"]} <= {"big-0", "big-1", "big-2"}
    drawn = (tmp_path / "packed.svg").read_text()
    assert drawn.startswith("<svg")
    assert "default/web-0" in drawn
    assert (await service.get(PLACEMENTS))["items"] == []


async def test_the_command_packs_what_has_pods_of_an_application(service, tmp_path):
    hosts = tmp_path / "hosts.csv"
    hosts.write_text("kind,name,count,cpu,memory\nhost,big,2,8,32Gi\n")
    code, said, complaints = await command(
        service, "-f", str(EXAMPLES / "guestbook"), "-f", str(hosts)
    )
    assert code == 0, complaints
    assert "left out, since it has no pods to choose hosts for: " in complaints
    assert json.loads(said)["status"]["placed"] > 1


async def test_the_command_keeps_a_placement_that_has_a_name_of_its_own(service, tmp_path):
    await service.add_ready_hosts(1)
    await hold(service, "p", "1")
    file = tmp_path / "placement.yaml"
    file.write_text(
        "apiVersion: ironfree.dev/v1\nkind: Placement\nmetadata: {name: own}\n"
        "spec: {pods: {selector: {}}, deadlineSeconds: 20}\n"
    )
    code, said, _ = await command(service, "-f", str(file), "--max-moves", "1")
    assert code == 1
    assert "--max-moves and a Placement are too much" in said
    code, said, complaints = await command(service, "-f", str(file))
    assert code == 0, complaints
    assert json.loads(said)["status"]["phase"] == "Planned"
    kept = (await service.get(PLACEMENTS))["items"]
    assert [each["metadata"]["name"] for each in kept] == ["own"]
