"""Images of a host, on a fake engine: names, credentials, progress, silence."""

import asyncio
from dataclasses import replace

import pytest
from ironfree_docker import DockerDriver, images, pause

from plugins.docker.tests.fake_engine import FakeEngine
from scheduler.drivers import Host, HostAddress
from scheduler.errors import EngineRejected, HostUnreachable, ImageUnavailable
from scheduler.images import (
    Filesystem,
    ImagePlatform,
    ManifestReader,
    PullProgress,
    RegistryCredentials,
)

DIGEST = "sha256:" + "0" * 64


def unheard(_progress: PullProgress) -> None:
    pass


async def test_an_image_is_found_by_name_or_not_at_all(engine: FakeEngine, host: Host):
    found = await host.images.find("app:v1")
    assert found is not None
    assert found.id.startswith("sha256:")
    assert await host.images.find("app:v2") is None
    engine.reject["image"] = (500, "no space left on device")
    with pytest.raises(EngineRejected, match="no space"):
        await host.images.find("app:v1")


@pytest.mark.parametrize(
    ("name", "pulled"),
    [
        ("reg:5000/new", "reg:5000/new:latest"),
        ("reg:5000/new:v2", "reg:5000/new:v2"),
        (f"new@{DIGEST}", f"new@{DIGEST}"),
    ],
)
async def test_a_pull_asks_for_one_tag_or_digest(
    engine: FakeEngine, host: Host, name: str, pulled: str
):
    with pytest.raises(ImageUnavailable, match=r"manifest for .* not found"):
        await host.images.pull(name, None, unheard)
    engine.pullable.add(pulled)
    await host.images.pull(name, None, unheard)
    assert pulled in engine.images
    assert engine.logins == [None, None]


async def test_credentials_reach_the_engine_and_no_message(engine: FakeEngine, host: Host):
    engine.pullable.add("reg:5000/new:v2")
    mine = RegistryCredentials("reg:5000", "me", "hush hush")
    account = {"username": "me", "password": "hush hush", "serveraddress": "reg:5000"}
    token = RegistryCredentials("reg:5000", identity_token="hush hush too")
    engine.accounts = [account]
    await host.images.pull("reg:5000/new:v2", mine, unheard)
    with pytest.raises(ImageUnavailable) as failure:
        await host.images.pull("reg:5000/new:v2", token, unheard)
    assert engine.logins == [
        account,
        {"identitytoken": "hush hush too", "serveraddress": "reg:5000"},
    ]
    assert "hush" not in f"{failure.value!r} {mine!r} {token!r}"


async def test_progress_counts_layers_and_bytes(engine: FakeEngine, host: Host):
    engine.pullable.add("new:v1")
    engine.pull_lines = [
        {"status": "Pulling from new", "id": "v1"},
        {"status": "Already exists", "progressDetail": {}, "id": "a"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "b"},
        {"status": "Downloading", "progressDetail": {"current": 3, "total": 10}, "id": "b"},
        {"status": "Downloading", "progressDetail": {"current": 3, "total": 10}, "id": "b"},
        {"status": "Download complete", "progressDetail": {}, "id": "b"},
        {"status": "Extracting", "progressDetail": {"current": 1, "units": "s"}, "id": "b"},
        {"status": "Pull complete", "progressDetail": {}, "id": "b"},
    ]
    heard: list[PullProgress] = []
    await host.images.pull("new:v1", None, heard.append)
    assert heard == [
        PullProgress(1, 1, 0, 0),
        PullProgress(2, 1, 0, 0),
        PullProgress(2, 1, 10, 3),
        PullProgress(2, 1, 10, 10),
        PullProgress(2, 2, 10, 10),
    ]


async def test_a_registry_that_falls_silent_is_told_from_a_host_that_does(
    engine: FakeEngine, host: Host, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(images, "SILENCE", 0.05)
    engine.silent_pulls = True
    with pytest.raises(ImageUnavailable, match="nothing has come from its registry"):
        await host.images.pull("new:v1", None, unheard)
    engine.reject["ping"] = (500, "going down")
    with pytest.raises(EngineRejected, match="going down"):
        await host.images.pull("new:v1", None, unheard)


async def test_a_cancelled_pull_leaves_no_connection(engine: FakeEngine, host: Host):
    engine.silent_pulls = True
    pull = asyncio.create_task(host.images.pull("new:v1", None, unheard))
    await engine.hanging.acquire()
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    engine.silent_pulls = False
    engine.pullable.add("new:v1")
    await host.images.pull("new:v1", None, unheard)


async def test_a_host_that_breaks_off_is_unreachable(engine: FakeEngine, host: Host):
    engine.lose["pull"] = 1
    with pytest.raises((HostUnreachable, ImageUnavailable)):
        await host.images.pull("new:v1", None, unheard)


async def test_what_was_pulled_is_marked_and_removed_with_its_mark(
    engine: FakeEngine, address: HostAddress
):
    ours = await DockerDriver().connect(replace(address, cluster="aa-1"))
    other = await DockerDriver().connect(replace(address, cluster="bb-1"))
    try:
        engine.pullable.add("new:v1")
        await ours.images.pull("new:v1", None, unheard)
        found = await ours.images.find("new:v1")
        assert found is not None
        await ours.images.mark_pulled(found)
        (mark,) = engine.marks
        assert mark == f"ironfree/pulled-by-aa:{found.id.partition(':')[2][:32]}"
        listed = {image.names: image for image in await ours.images.list()}
        assert [names for names, image in listed.items() if image.pulled] == [("new:v1",)]
        assert not any(image.pulled for image in await other.images.list())
        await ours.images.remove(listed["new:v1",])
        assert (engine.marks, engine.images) == ({}, {"app:v1"})
        engine.reject["remove-image"] = (409, "image is being used")
        with pytest.raises(EngineRejected, match="being used"):
            await ours.images.remove(listed["app:v1",])
    finally:
        await ours.close()
        await other.close()


async def test_with_the_option_every_image_but_our_own_counts_as_pulled(
    engine: FakeEngine, address: HostAddress
):
    engine.images.add(pause.IMAGE)
    host = await DockerDriver().connect(replace(address, options={"imageGC": "all"}))
    try:
        assert {i.names[0]: i.pulled for i in await host.images.list()} == {
            "app:v1": True,
            pause.IMAGE: False,
        }
    finally:
        await host.close()


async def test_the_disk_is_looked_at_through_the_dialer(engine: FakeEngine, host: Host):
    assert await host.images.filesystem() == Filesystem(4096 * 1000, 4096 * 300)
    assert await host.images.filesystem() is not None
    assert engine.calls.count("attach") == 1


async def test_a_processor_without_the_program_cannot_tell_of_its_disk(
    engine: FakeEngine, address: HostAddress
):
    engine.architecture = "riscv64"
    host = await DockerDriver().connect(address)
    try:
        assert await host.images.filesystem() is None
    finally:
        await host.close()


async def test_an_image_is_saved_and_loaded_in_parts(engine: FakeEngine, host: Host):
    engine.archive = b"layer" * 100_000
    loaded = engine.loaded
    async with host.images.save("app:v1") as archive:
        await host.images.load(archive)
    assert loaded == [engine.archive]
    engine.reject["save"] = (404, "no such image: gone")
    with pytest.raises(EngineRejected, match="gone"):
        async with host.images.save("gone:v1") as archive:
            await host.images.load(archive)
    assert len(loaded) == 1


async def test_a_registry_is_asked_what_an_image_is_made_for(engine: FakeEngine, host: Host):
    store, name = host.images, "r.io:5000/app:v1"
    assert isinstance(store, ManifestReader)
    platforms = [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
    ]
    engine.platforms = {name: platforms}
    found = await store.manifest(name, None)
    assert found.digest == "sha256:" + "e" * 64
    assert found.platforms == (
        ImagePlatform("linux", "amd64"),
        ImagePlatform("linux", "arm", "v7"),
    )
    engine.accounts = [{"username": "me", "password": "hush", "serveraddress": "r.io"}]
    assert await store.manifest(name, RegistryCredentials("r.io", "me", "hush")) == found
    with pytest.raises(ImageUnavailable, match="denied"):
        await store.manifest(name, None)
    with pytest.raises(ImageUnavailable, match="denied"):
        await store.manifest("other:v1", None)
