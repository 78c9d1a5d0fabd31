"""What of a pod's security and volumes reaches the engine."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from ironfree_docker import DockerDriver
from msgspec.structs import replace as with_fields

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import ContainerSpec, Host, HostAddress, PidMode, PodIdentity, SandboxSpec
from scheduler.errors import EngineRejected, HostUnreachable
from scheduler.streams import DiskMeteredHost, DiskUsage
from scheduler.volumes import EmptyDir, FilesVolume, HostPathVolume, Mount, VolumeFile

POD = PodIdentity("u-1", "default", "web-0")
APP = ContainerSpec("app", "app:v1", 0, "h")
FILES = FilesVolume("config", (VolumeFile("a", b"1"), VolumeFile("d/b", b"2", 0o400)), memory=True)
SPEC = SandboxSpec(
    POD, "web-0", volumes=(EmptyDir("data"), FilesVolume("config", memory=True)), fs_group=3000
)


async def created(engine: FakeEngine, host: Host, app: ContainerSpec, spec: SandboxSpec = SPEC):
    sandbox = await host.ensure_sandbox(spec)
    status = await host.ensure_container(sandbox, app)
    found = engine.find(status.id)
    assert found is not None
    return found.body, sandbox


@pytest.mark.parametrize(
    ("api", "live_restore", "memory"),
    [("1.41", True, False), ("1.41", False, True), ("1.44", True, True)],
)
async def test_secrets_are_in_memory_where_it_outlasts_a_restart_of_the_engine(
    tmp_path: Path, api: str, live_restore: bool, memory: bool
):
    engine = FakeEngine(images={"app:v1"}, api=api, live_restore=live_restore)
    address = HostAddress("one", await engine.serve(tmp_path / "docker.sock"))
    host = await DockerDriver().connect(address)
    try:
        await host.info()
        await host.ensure_sandbox(SPEC)
    finally:
        await host.close()
        await engine.stop()

    options = engine.volumes["ironfree_u-1_config"]["DriverOpts"]
    assert (options.get("type") == "tmpfs") == memory


async def test_files_are_written_beside_the_old_ones_and_swapped_in(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    assert engine.volumes["ironfree_u-1_config"]["DriverOpts"]["o"] == "mode=2777,gid=3000"
    ((path, owned),) = engine.archives
    assert (path, list(owned)) == ("/volumes", ["0"])
    assert (owned["0"].mode, owned["0"].gid) == (0o2777, 3000)
    await host.write_volumes(sandbox, SPEC, [FILES])
    path, written = engine.archives[-1]
    (version,) = {each.split("/")[1] for each in written if each.startswith("1/..")} - {"..data"}
    assert {name: member.mode for name, member in written.items()} == {
        f"1/{version}": 0o2755,
        f"1/{version}/a": 0o644,
        f"1/{version}/d": 0o2755,
        f"1/{version}/d/b": 0o440,
        "1/a": 0o777,
        "1/d": 0o777,
        "1/..data": 0o777,
    }
    assert (written["1/a"].linkname, written["1/d"].linkname) == ("..data/a", "..data/d")
    assert written["1/..data"].linkname == version, "nobody reads yet"
    assert {member.gid for member in written.values() if not member.issym()} == {3000}
    before = len(engine.archives)
    await host.write_volumes(sandbox, SPEC, [FILES])
    assert len(engine.archives) == before, "they are there already"
    assert not engine.execs
    await host.write_volumes(sandbox, SPEC, [replace(FILES, files=())])
    assert len(engine.archives) == before + 1
    ((path,),) = [[*each] for _, each in engine.archives[before:]]
    (swap,) = engine.execs.values()
    assert swap.command == ["/tools", "swap", "/volumes/1", path.split("/")[1]]


async def test_links_that_are_there_are_left_alone(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    deep = VolumeFile("d/b", b"2")
    for files, linked in (
        ([VolumeFile("a", b"1"), deep], {"a", "d"}),
        ([VolumeFile("a", b"3"), deep, VolumeFile("d/c", b"4")], set()),
        ([VolumeFile("e", b"3"), deep], {"e", "d"}),
        ([VolumeFile("a", b"1"), deep], {"a", "d"}),
    ):
        await host.write_volumes(sandbox, SPEC, [replace(FILES, files=tuple(files))])
        _, written = engine.archives[-1]
        links = {name for name, member in written.items() if member.issym()} - {"1/..data"}
        assert links == {f"1/{name}" for name in linked}


async def test_links_are_made_anew_beside_a_version_of_another_form(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    await host.write_volumes(sandbox, SPEC, [FILES])
    engine.links.clear()
    engine.links["/volumes/1/..data"] = "/volumes/1/..0123456789abcdef"
    await host.write_volumes(sandbox, SPEC, [FILES])
    assert {"/volumes/1/a", "/volumes/1/d"} <= engine.links.keys()


@pytest.mark.parametrize("anew", [False, True])
async def test_the_first_files_of_all_volumes_are_sent_at_once(
    engine: FakeEngine, host: Host, address: HostAddress, *, anew: bool
):
    names = ("config", "more")
    spec = with_fields(SPEC, volumes=tuple(FilesVolume(name) for name in names), fs_group=None)
    sandbox = await host.ensure_sandbox(spec)
    engine.calls.clear()
    writing = await DockerDriver().connect(address) if anew else host  # which made no sandbox
    files = [replace(FILES, name=name) for name in names]
    await writing.write_volumes(sandbox, spec, files)
    assert [each for each in engine.calls if each in {"stat", "archive"}] == [
        *(["stat", "stat"] if anew else []),
        "archive",
    ]
    engine.calls.clear()
    await writing.write_volumes(sandbox, spec, files)
    assert engine.calls == ["stat", "stat"], "nothing is to be changed"
    if anew:
        await writing.close()
    assert {name.split("/")[0] for name in engine.archives[-1][1]} == {"0", "1"}


async def test_volumes_of_an_infra_container_that_somebody_removed_are_looked_at(
    engine: FakeEngine, host: Host
):
    sandbox = await host.ensure_sandbox(SPEC)
    await host.write_volumes(sandbox, SPEC, [FILES])
    engine.containers.clear()
    again = await host.ensure_sandbox(SPEC)
    assert again.id != sandbox.id
    engine.calls.clear()
    await host.write_volumes(again, SPEC, [FILES])
    assert engine.calls == ["stat"], "all is there already"
    await host.remove_pod(POD.uid)
    engine.links.clear()
    fresh = await host.ensure_sandbox(SPEC)
    engine.calls.clear()
    await host.write_volumes(fresh, SPEC, [FILES])
    assert engine.calls == ["archive"]


async def test_a_file_belongs_to_its_user(engine: FakeEngine, host: Host):
    sandbox = await host.ensure_sandbox(SPEC)
    file = VolumeFile("a", b"1", 0o600)
    await host.write_volumes(sandbox, SPEC, [replace(FILES, files=(file,))])
    await host.write_volumes(sandbox, SPEC, [replace(FILES, files=(replace(file, user=7),))])
    owners = [m.uid for _, each in engine.archives[-2:] for m in each.values() if m.isreg()]
    assert owners == [0, 7]


async def test_a_sandbox_tells_whether_its_pod_can_ask_the_api(engine: FakeEngine, host: Host):
    made = await host.ensure_sandbox(with_fields(SPEC, api_access=True))
    assert made.api_access
    (seen,) = await host.observe()
    assert seen.sandbox is not None
    assert seen.sandbox.api_access
    await host.remove_pod(POD.uid)
    assert not (await host.ensure_sandbox(SPEC)).api_access


async def test_an_infra_container_without_tools_gets_its_link_by_archive(
    engine: FakeEngine, host: Host
):
    engine.programs["/tools"] = (127, b"not found")
    sandbox = await host.ensure_sandbox(SPEC)
    await host.write_volumes(sandbox, SPEC, [FILES])
    await host.write_volumes(sandbox, SPEC, [replace(FILES, files=())])
    _, link = engine.archives[-1]
    assert list(link) == ["1/..data"]


async def test_parts_of_volumes_by_what_the_engine_can(engine: FakeEngine, host: Host):
    part = replace(APP, mounts=(Mount("config", "/etc/a", read_only=True, sub_path="a"),))
    body, sandbox = await created(engine, host, part)
    (mount,) = body["HostConfig"]["Mounts"]
    assert mount == {
        "Type": "bind",
        "Source": "/var/lib/docker/volumes/ironfree_u-1_config/_data/..data/a",
        "Target": "/etc/a",
        "ReadOnly": True,
    }
    for path, words in (
        ("x", r"API 1\.45 \(Docker 26\)"),
        ("../x", "relative"),
        ("/x", "relative"),
    ):
        bad = replace(APP, name="bad", mounts=(Mount("data", "/d", sub_path=path),))
        with pytest.raises(EngineRejected, match=words):
            await host.ensure_container(sandbox, bad)


async def test_a_new_engine_mounts_parts_itself(engine: FakeEngine, address: HostAddress):
    from ironfree_docker import DockerDriver  # noqa: PLC0415 - beside the fixture's older one

    engine.api = "1.45"
    newer = await DockerDriver().connect(address)
    body, _ = await created(
        engine, newer, replace(APP, mounts=(Mount("data", "/d", sub_path="x/y"),))
    )
    await newer.close()
    (mount,) = body["HostConfig"]["Mounts"]
    assert mount["VolumeOptions"] == {"NoCopy": True, "Subpath": "x/y"}


@pytest.mark.parametrize(
    ("volume", "there", "made"),
    [
        ("data", [], ["x", "x/y"]),
        ("data", ["x"], ["x/y"]),
        ("data", ["x", "x/y"], []),
        ("config", [], []),
    ],
)
async def test_a_part_that_a_volume_lacks_is_made_first(
    engine: FakeEngine, address: HostAddress, volume: str, there: list[str], made: list[str]
):
    from ironfree_docker import DockerDriver  # noqa: PLC0415 - beside the fixture's older one

    engine.api = "1.45"
    place = f"/volumes/{['data', 'config'].index(volume)}"
    engine.directories = {place: 1 << 31 | 1 << 22 | 0o775}  # a directory with its group's bit
    engine.directories |= {f"{place}/{each}": 1 << 31 | 0o755 for each in there}
    newer = await DockerDriver().connect(address)
    part = Mount(volume, "/d", sub_path="x//y", group=3000)
    await created(engine, newer, replace(APP, mounts=(part,)), with_fields(SPEC, fs_group=None))
    await newer.close()
    found = {
        path: member
        for at, files in engine.archives
        if at == place
        for path, member in files.items()
    }
    assert [*found] == made
    assert {(each.mode, each.gid, each.isdir()) for each in found.values()} <= {
        (0o2775, 3000, True)
    }


@pytest.mark.parametrize(
    ("root", "how"),
    [("/var/lib/docker", "rbind,rslave"), ("/srv/docker", "bind"), ("", "bind")],
)
@pytest.mark.parametrize("create", [True, False])
async def test_a_part_of_a_path_of_the_host_is_one_of_a_volume(
    engine: FakeEngine, address: HostAddress, root: str, how: str, create: bool
):
    from ironfree_docker import DockerDriver  # noqa: PLC0415 - beside the fixture's older one

    engine.api = "1.45"
    engine.root = root
    engine.directories = {"/volumes/1": 1 << 31 | 0o750}
    newer = await DockerDriver().connect(address)
    spec = with_fields(SPEC, volumes=(EmptyDir("data"), HostPathVolume("h", "/srv", create)))
    part = Mount("h", "/d", host_path="/srv", create=create, sub_path="x/y")
    body, sandbox = await created(engine, newer, replace(APP, mounts=(part,)), spec)
    await newer.close()
    infra = engine.find(sandbox.id)
    assert infra is not None
    whole = infra.body["HostConfig"]
    if create:
        assert whole["Binds"] == ["/srv:/volumes/1:rw"]
    else:
        assert {
            "Type": "bind",
            "Source": "/srv",
            "Target": "/volumes/1",
            "ReadOnly": False,
        } in whole["Mounts"]
    assert body["HostConfig"]["Binds"] == []
    (mount,) = body["HostConfig"]["Mounts"]
    assert (mount["Type"], mount["Source"], mount["Target"]) == ("volume", "ironfree_u-1_h", "/d")
    options = mount["VolumeOptions"]
    assert (options["NoCopy"], options["Subpath"]) == (True, "x/y")
    assert options["DriverConfig"] == {
        "Name": "local",
        "Options": {"type": "none", "device": "/srv", "o": how},
    }
    assert options["Labels"]["ironfree.dev/pod-uid"] == "u-1", "it goes with the pod"
    made = {p: m.mode for at, files in engine.archives for p, m in files.items() if at[-1] == "1"}
    assert made == {"x": 0o750, "x/y": 0o750}


async def test_an_old_engine_mounts_no_part_of_a_path_of_the_host(engine: FakeEngine, host: Host):
    part = Mount("h", "/d", host_path="/srv", create=True, sub_path="x")
    with pytest.raises(EngineRejected, match=r"subPath of volume h needs .* API 1\.45"):
        await created(engine, host, replace(APP, mounts=(part,)))


async def test_host_paths(engine: FakeEngine, host: Host):
    mounts = (
        Mount("h", "/made", host_path="/srv/x", create=True, propagation="HostToContainer"),
        Mount("h", "/there", read_only=True, host_path="/var/run/s.sock"),
        Mount("h", "/host", host_path="/", create=True),
        Mount("h", "/shared", host_path="/mnt", propagation="Bidirectional"),
    )
    body, _ = await created(engine, host, replace(APP, mounts=mounts))
    assert body["HostConfig"]["Binds"] == ["/srv/x:/made:rw,rslave", "/:/host:rw"]
    assert body["HostConfig"]["Mounts"] == [
        {
            "Type": "bind",
            "Source": "/var/run/s.sock",
            "Target": "/there",
            "ReadOnly": True,
        },
        {
            "Type": "bind",
            "Source": "/mnt",
            "Target": "/shared",
            "ReadOnly": False,
            "BindOptions": {"Propagation": "rshared"},
        },
    ]


async def test_security_reaches_the_engine(engine: FakeEngine, host: Host):
    app = replace(
        APP,
        user="1000:2000",
        groups=(3000,),
        read_only_root=True,
        capabilities_added=("NET_ADMIN",),
        capabilities_dropped=("ALL",),
        no_new_privileges=True,
        seccomp="unconfined",
        apparmor="mine",
        proc_unmasked=True,
        pid=PidMode.POD,
    )
    spec = with_fields(
        SPEC, domain="shop.default.svc.cluster.local", sysctls=(("net.core.x", "1"),)
    )
    body, sandbox = await created(engine, host, app, spec)
    config = body["HostConfig"]
    assert body["User"] == "1000:2000"
    assert config["GroupAdd"] == ["3000"]
    assert (config["CapAdd"], config["CapDrop"]) == (["NET_ADMIN"], ["ALL"])
    options = ["no-new-privileges", "seccomp=unconfined", "apparmor=mine"]
    assert config["SecurityOpt"] == options
    assert (config["MaskedPaths"], config["ReadonlyPaths"]) == ([], [])
    assert config["ReadonlyRootfs"]
    assert config["PidMode"] == f"container:{sandbox.id}"
    infra = engine.find(sandbox.id)
    assert infra is not None
    assert infra.body["Domainname"] == "shop.default.svc.cluster.local"
    assert infra.body["HostConfig"]["Sysctls"] == {"net.core.x": "1"}
    plain, _ = await created(engine, host, replace(APP, name="plain"))
    assert "PidMode" not in plain["HostConfig"]
    assert "MaskedPaths" not in plain["HostConfig"]
    shared = replace(APP, name="shared", pid=PidMode.HOST, host_ipc=True)
    both, _ = await created(engine, host, shared)
    assert (both["HostConfig"]["PidMode"], both["HostConfig"]["IpcMode"]) == ("host", "host")


async def test_layers_are_measured_of_those_asked_for_and_volumes_of_pods_only(
    engine: FakeEngine, host: Host
):
    assert isinstance(host, DiskMeteredHost)
    sandbox = await host.ensure_sandbox(SPEC)
    status = await host.ensure_container(sandbox, APP)
    other = engine.add("theirs")
    found = engine.find(status.id)
    assert found is not None
    engine.written = {found.name: 7, other.name: 1000, "ironfree_u-1_data": 5, "theirs": 1000}
    engine.written["ironfree_u-1_config"] = 99  # in memory
    engine.volumes["theirs"] = {"Labels": {}, "DriverOpts": {}}
    volumes = {("u-1", "data"): 5}
    usage = await host.disk_usage([status.id], volumes=True)
    assert usage == DiskUsage({status.id: 7}, volumes)
    del engine.written["ironfree_u-1_data"]
    assert (await host.disk_usage([status.id], volumes=True)).volumes == {}, "it cannot be told"
    engine.calls.clear()
    assert await host.disk_usage([], volumes=False) == DiskUsage({}, {})
    assert engine.calls == [], "no container is not all containers"


async def test_a_host_is_measured_by_one_at_a_time(engine: FakeEngine, host: Host):
    assert isinstance(host, DiskMeteredHost)
    engine.hang["df"] = 1
    first = asyncio.create_task(host.disk_usage([], volumes=True))
    await engine.hanging.acquire()
    second = asyncio.create_task(host.disk_usage([], volumes=True))
    await asyncio.sleep(0.05)
    assert engine.calls.count("df") == 1
    engine.stopping.set()
    assert await second == DiskUsage({}, {})
    with contextlib.suppress(HostUnreachable):
        await first
    assert engine.busiest["df"] == 1
