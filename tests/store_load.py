"""Random load on a store, and followers that check what a watch promises.

`python -m tests.store_load URL SEED` writes until it is killed and prints one line per
acknowledged write: "revision type resource namespace name".
"""

import asyncio
import random
import sys
from contextlib import aclosing

from scheduler.errors import AlreadyExists, Conflict, Expired, NotFound, Unavailable
from scheduler.objects.cohort import Stencil
from scheduler.objects.stored import Body, intern_body
from scheduler.store.operations import (
    Bind,
    BindCohort,
    ChangeType,
    Create,
    CreateCohort,
    Remove,
    Replace,
    ReportCohort,
    each_change,
)
from scheduler.store.store import Store
from tests.store_values import bind, cohort, create, key, pod, replace

REFUSED = (AlreadyExists, Conflict, NotFound)
BODIES = [intern_body(b'{"spec":{"n":%d}}' % n) for n in range(4)]
NODES = ("a", "b")
RUNNING = Stencil.of(
    b'{"phase":"Running","podIP":"@ip@","startTime":"2026-01-01T00:00:@at@Z"}', ["@ip@", "@at@"]
)


async def furnish(store):
    """Make what the load needs."""
    await store.write(create("namespaces", "default"))
    for name in NODES:
        await store.write(create("nodes", name))


class Load:
    """One random writer. `acknowledged` maps revision to (operation's type, key)."""

    def __init__(self, store, seed, told=None):
        self.store = store
        self.random = random.Random(seed)
        self.acknowledged = {}
        self.doubtful = 0
        self.told = told
        self.cohorts = []

    async def run(self, count):
        """Do that many writes; None never ends."""
        done = 0
        while count is None or done < count:
            done += 1
            await self.step()

    async def step(self):
        if self.random.random() < 0.2:
            await self.cohort_step()
            return
        name = f"x{self.random.randrange(12)}"
        resource = self.random.choice(("pods", "configmaps"))
        where = key(resource, name, "default")
        if resource == "pods" and self.cohorts and self.random.random() < 0.5:
            made = self.random.choice(self.cohorts)
            where = key("pods", made.name(self.random.randrange(made.size)), "default")
        try:
            op = await self.choose(where)
            ops = [op] if self.random.random() < 0.7 else [op, *self.more()]
            outcomes = await self.store.write_many(ops)
        except Unavailable:
            self.doubtful += 1
            await asyncio.sleep(0.02)
            return
        for op, outcome in zip(ops, outcomes, strict=True):
            if isinstance(outcome, REFUSED):
                continue
            if isinstance(outcome, Exception):
                raise outcome
            self.acknowledge(outcome.revision, op, outcome.key)

    def has_made(self, resources, kinds):
        """Tell whether it has changed each of some resources, and done each of some writes."""
        touched = {where.resource for _, where in self.acknowledged.values()}
        done = {kind for kind, _ in self.acknowledged.values()}
        return touched >= set(resources) and done >= set(kinds)

    def acknowledge(self, revision, op, where):
        self.acknowledged[revision] = (type(op), where)
        if self.told is not None:
            self.told(revision, op, where)

    async def cohort_step(self):
        """Make a cohort, or bind some pods of one."""
        roll = self.random.random()
        if not self.cohorts or roll < 0.4:
            start = self.random.randrange(200)
            op = CreateCohort(
                cohort(self.random.randrange(1, 7), start, self.random.choice(BODIES))
            )
        elif roll < 0.6:
            made = self.random.choice(self.cohorts)
            some = tuple(self.random.sample(range(made.size), self.random.randint(1, made.size)))
            own = tuple((f"10.0.0.{ordinal}", f"{ordinal:02}") for ordinal in some)
            op = ReportCohort("default", made.uid, some, "Running", RUNNING, own)
        else:
            made = self.random.choice(self.cohorts)
            some = tuple(self.random.sample(range(made.size), self.random.randint(1, made.size)))
            nodes = tuple(self.random.choice(NODES) for _ in some)
            seen = await self.store.revision()
            op = BindCohort("default", made.uid, some, nodes, seen, {"cpu": 100, "pods": 1})
        try:
            new = isinstance(op, CreateCohort)
            write = self.store.create_cohorts if new else self.store.write_cohorts
            (outcome,) = await write((op,))
        except Unavailable:
            self.doubtful += 1
            await asyncio.sleep(0.02)
            return
        if isinstance(outcome, REFUSED):
            return
        if isinstance(outcome, Exception):
            raise outcome
        if new:
            self.cohorts.append(outcome)
            for each in range(outcome.size):
                where = key("pods", outcome.name(each), "default")
                self.acknowledge(outcome.created_revision + each, op, where)
            return
        bound = [each for each in op.ordinals if each not in outcome.refused]
        for revision, each in enumerate(bound, outcome.revision - len(bound) + 1):
            self.acknowledge(revision, op, key("pods", made.name(each), "default"))

    async def choose(self, where):
        old = await self.store.get(where)
        if old is None:
            if where.resource == "pods":
                return pod(where.name, self.random.choice(BODIES))
            return create(where.resource, where.name, "default", b'{"data":{}}')
        roll = self.random.random()
        if roll < 0.25:
            return Remove(old.key, old.meta.uid)
        if roll < 0.5 and where.resource == "pods":
            return bind(old, self.random.choice(NODES), old.revision)
        body = old.body if where.resource == "pods" else Body(b'{"data":{"n":"%d"}}' % old.revision)
        status = b'{"message":"%d"}' % self.random.randrange(1000)
        return replace(old, status=status, body=body)

    def more(self):
        return [
            create("configmaps", f"x{self.random.randrange(12)}", "default") for _ in range(3)
        ] + [Remove(key("pods", f"x{self.random.randrange(12)}", "default"))]


class Follower:
    """Lists, watches, checks every promise, and keeps what the watch says the state is."""

    def __init__(self, store, resources):
        self.store = store
        self.resources = resources
        self.state = {}
        self.position = 0
        self.seen = {}

    async def begin(self):
        """List the one resource followed, and follow from there."""
        (resource,) = self.resources
        listing = await self.store.list(resource)
        self.state = {obj.key: obj for obj in listing.objects}
        self.position = listing.revision

    async def until(self, revision, *, store=None, pause=None):
        """Follow up to a revision, through another store if given."""
        if self.position >= revision:
            return
        async with aclosing((store or self.store).watch(self.resources, self.position)) as watch:
            async for batch in watch:
                self.take(batch)
                if self.position >= revision:
                    return
                if pause is not None:
                    await pause()

    def take(self, batch):
        assert batch.revision >= self.position
        last = self.position
        for change in each_change(batch.changes):
            assert last < change.revision <= batch.revision, "order"
            assert change.revision == change.object.revision
            assert change.object.resource in self.resources
            last = change.revision
            self.apply(change)
        self.position = batch.revision

    def apply(self, change):
        obj = change.object
        held = self.state.get(obj.key)
        self.seen[change.revision] = obj.key
        if change.type is ChangeType.DELETED:
            if held is not None and held.meta.uid == obj.meta.uid:
                del self.state[obj.key]
            return
        if change.type is ChangeType.ADDED:
            assert held is None, f"{obj.key} was added twice"
        else:
            assert held is not None, f"{obj.key} was modified but never added"
            assert held.meta.uid == obj.meta.uid
            assert held.binding is None or held.binding == obj.binding, "bound again"
        if change.prior is not None:
            assert change.prior.meta.uid == obj.meta.uid
            assert change.prior.revision < obj.revision
        self.state[obj.key] = obj

    async def agrees(self):
        """Check the state against lists."""
        for resource in self.resources:
            listing = await self.store.list(resource)
            await self.until(listing.revision)
            mine = {k: o.revision for k, o in self.state.items() if k.resource == resource}
            assert mine == {o.key: o.revision for o in listing.objects}

    def missed(self, acknowledged, since):
        """Return acknowledged writes that neither came nor were superseded by what came."""
        latest = {}
        for revision, where in self.seen.items():
            latest[where] = max(latest.get(where, 0), revision)
        return [
            (revision, where)
            for revision, (_, where) in acknowledged.items()
            if since < revision <= self.position
            and where.resource in self.resources
            and latest.get(where, 0) < revision
        ]


async def follow_long(follower, end):
    """Follow until `end()` returns a revision and it is reached; survives Unavailable."""
    while True:
        target = end()
        if target is not None and follower.position >= target:
            return
        try:
            async with aclosing(
                follower.store.watch(follower.resources, follower.position)
            ) as watch:
                async for batch in watch:
                    follower.take(batch)
                    target = end()
                    if target is not None and follower.position >= target:
                        return
        except Unavailable:
            await asyncio.sleep(0.02)
        except Expired:
            raise AssertionError("expired") from None


TYPES = {
    cls.__name__: cls
    for cls in (
        Create,
        Replace,
        Remove,
        Bind,
        CreateCohort,
        BindCohort,
        ReportCohort,
    )
}


def parse(line):
    """Return (revision, type, key) of a line a process printed."""
    revision, kind, resource, namespace, name = line.split()
    return int(revision), TYPES[kind], key(resource, name, namespace)


async def main(url, seed):
    def told(revision, op, where):
        line = f"{revision} {type(op).__name__} {where.resource} {where.namespace} {where.name}\n"
        sys.stdout.write(line)
        sys.stdout.flush()

    async with Store.open(url) as store, asyncio.TaskGroup() as group:
        for i in range(4):
            group.create_task(Load(store, f"{seed}-{i}", told).run(None))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
