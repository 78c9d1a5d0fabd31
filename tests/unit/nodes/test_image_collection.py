"""Which images go when a disk is full, as kubelet has it."""

import asyncio

import pytest

from scheduler.errors import EngineRejected, HostUnreachable
from scheduler.images import Filesystem, LocalImage
from scheduler.nodes.host_storage import HostStorage
from scheduler.nodes.image_collection import (
    CollectionLimits,
    excess,
    removable,
    told,
)

LIMITS = CollectionLimits(high=85, low=80, least_age=100)


@pytest.mark.parametrize(("available", "wanted"), [(100, 0), (16, 0), (15, 5), (0, 20), (-1, 21)])
def test_how_much_is_to_go(available, wanted):
    assert excess(Filesystem(100, available), LIMITS) == wanted


def test_a_threshold_of_100_or_no_disk_removes_nothing():
    assert excess(Filesystem(100, 0), CollectionLimits(high=100)) == 0
    assert excess(Filesystem(0, 0), LIMITS) == 0


def test_the_longest_unused_goes_first_and_much_never():
    images = [
        LocalImage("new", pulled=True),
        LocalImage("old", pulled=True),
        LocalImage("older", pulled=True),
        LocalImage("running", pulled=True, in_use=True),
        LocalImage("foreign"),
        LocalImage("unknown", pulled=True),
    ]
    used = {"new": 950.0, "old": 800.0, "older": 700.0, "running": 0.0, "foreign": 0.0}
    assert [i.id for i in removable(images, used, 1000.0, 100.0)] == ["older", "old"]


def test_a_node_tells_the_largest_by_the_names_pods_use():
    images = [LocalImage(str(i), (f"app:v{i}",), i) for i in range(60)]
    images.append(LocalImage("unnamed", (), 1000))
    first, *rest = told(images)
    assert first.names == ("app:v59", "docker.io/library/app:v59")
    assert (first.size_bytes, len(rest)) == (59, 49)


class Disk:
    """A disk of 100 bytes with images of 10 on it."""

    def __init__(self, *names, other=0):
        self.names = list(names)
        self.used = set()
        self.held = set()
        self.other = other
        self.asked = 0

    async def list(self):
        self.asked += 1
        return [LocalImage(n, (n,), 10, n in self.used, pulled=True) for n in self.names]

    async def remove(self, image):
        if image.id in self.held:
            raise EngineRejected("conflict: image is being used", 409)
        self.names.remove(image.id)

    async def filesystem(self):
        return Filesystem(100, 100 - self.other - 10 * len(self.names))


def keep(disk, said, **limits):
    async def changed(report):
        said.append(report)

    return HostStorage("h1", disk, changed, CollectionLimits(least_age=0, **limits), 0.01)


async def test_images_go_until_the_disk_is_low_and_the_node_hears_of_it():
    disk, said = Disk("a", "b", "c", "d", other=52), []
    disk.used, disk.held = {"a"}, {"b"}
    await keep(disk, said).look()
    assert disk.names == ["a", "b"], "one is in use, one is held by the engine"
    assert [i.names[0] for i in said[0]] == disk.names


async def test_a_short_host_loses_images_though_its_disk_does_not_count_as_full():
    disk, said = Disk("a", "b", "c", "d", other=20), []
    storage = keep(disk, said)
    await storage.look()
    disk.used = {"a"}
    assert await storage.reclaim(15)
    assert disk.names == ["a", "d"], "two are enough"
    assert [len(images) for images in said] == [4, 2]
    assert await storage.reclaim(15)
    assert not await storage.reclaim(15)
    assert disk.names == ["a"]


async def test_a_disk_so_full_that_nobody_can_look_loses_as_much_as_is_wanted():
    disk, said = Disk("a", "b", "c"), []

    async def full():
        return Filesystem(0, 0)

    disk.filesystem = full
    storage = keep(disk, said)
    await storage.look()
    assert disk.names == ["a", "b", "c"]
    assert await storage.reclaim(11)
    assert disk.names == ["c"]


async def test_where_images_are_never_removed_none_is_for_a_short_host():
    disk, said = Disk("a", "b", other=70), []
    assert not await keep(disk, said, high=100).reclaim(50)
    assert disk.names == ["a", "b"]


async def test_an_image_ages_from_its_last_use():
    disk, said = Disk("a", "b", other=70), []
    storage = keep(disk, said, high=100)
    disk.used = {"a"}
    await storage.look()
    await asyncio.sleep(0)
    disk.used = set()
    full = keep(disk, said)
    full._used = {"a": 2.0, "b": 1.0}
    await full.look()
    assert disk.names == ["a"]


async def test_a_look_that_fails_is_made_again(caplog):
    disk, said = Disk("a"), []
    working, disk.list, failures = disk.list, None, []

    async def fails():
        failures.append(1)
        if len(failures) > 2:
            disk.list = working
        raise HostUnreachable("it does not answer")

    disk.list = fails
    told_of = asyncio.Event()

    async def changed(report):
        said.append(report)
        told_of.set()

    task = asyncio.create_task(
        HostStorage("h1", disk, changed, CollectionLimits(), interval=0.001).run()
    )
    async with asyncio.timeout(10):
        await told_of.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert caplog.text.count("does not answer") == 1
    assert len(said) == 1
