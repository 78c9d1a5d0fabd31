"""ImageBuilds at work: each on a host, as many at once as hosts and this process may have.

Runs while this process leads. A build that was under way when its leader or its host went away is
begun again; in all it is begun three times at most. Deleting an ImageBuild breaks off what is being
done for it: the engine ends a build whose request ends.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass

from msgspec.structs import replace

from ..errors import DriverError, HostUnreachable, SourceUnavailable, Unavailable
from ..informer import Informer
from ..objects.image_build import (
    FINAL,
    MOST_ATTEMPTS,
    RESOURCE,
    ImageBuild,
    ImageBuildStatus,
    Phase,
    image_build,
)
from ..objects.meta import now_seconds
from ..store.store import Store
from .build_places import BuildPlace, BuildPlaces
from .build_report import BuildReport
from .build_work import BuildTools, BuildWork

_log = logging.getLogger(__name__)
_LOOK = 2.0  # seconds between looks at what waits
_LOG = 1.0  # seconds between writes of a log that grows


@dataclass(frozen=True, slots=True)
class BuildLimits:
    """How many builds at once."""

    in_all: int = 8
    per_host: int = 2


class ImageBuilds:
    """One per leader."""

    def __init__(self, store: Store, epoch: int, tools: BuildTools, limits: BuildLimits) -> None:
        self._store = store
        self._epoch = epoch
        self._tools = tools
        self._limits = limits
        self._builds = Informer(store, RESOURCE, image_build)
        self._statuses: dict[str, ImageBuildStatus] = {}  # by uid; newer than the informer's
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._on: Counter[str] = Counter()  # builds by node
        self._news = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ExceptionGroup: of Fenced, when another leader has taken over; of a bug.
        """
        async with self._group as group:
            group.create_task(self._tools.sources.tidy(), name="image builds tidy up")
            group.create_task(self._builds.run(), name="informer of image builds")
            group.create_task(self._follow(), name="image builds follow")
            await self._builds.synced()
            while True:
                self._news.clear()
                waiting = await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK if waiting else None):
                        await self._news.wait()

    async def _follow(self) -> None:
        async for deltas in self._builds.subscribe():
            for delta in deltas:
                old, new = delta.old, delta.new
                if new is not None and new.ended and not (old is not None and old.ended):
                    await self._forget(new)
                gone = old is not None and (new is None or new.meta.uid != old.meta.uid)
                if old is not None and (gone or (new and new.meta.deletion_timestamp)):
                    task = self._tasks.get(old.meta.uid)
                    if task is not None:
                        task.cancel()
                self._news.set()

    async def _forget(self, build: ImageBuild) -> None:
        """Drop what was uploaded for a build that has ended, under whatever leader."""
        if build.spec.upload is None:
            return
        try:
            await self._store.drop_context(build.meta.uid)
        except Unavailable as error:
            _log.warning("the context of build %s stays for now: %s", build.meta.name, error)

    async def _look(self) -> bool:
        """Begin what may begin; returns whether something waits for what no object tells."""
        waiting = False
        known = {build.meta.uid for build in self._builds.items.values()}
        self._statuses = {uid: each for uid, each in self._statuses.items() if uid in known}
        tools, per_host = self._tools, self._limits.per_host
        places = BuildPlaces(tools.nodes(), tools.host, tools.pod, self._on, per_host)
        for build in sorted(self._builds.items.values(), key=_age):
            uid = build.meta.uid
            if uid in self._tasks or build.ended or self._status(build).phase in FINAL:
                continue
            waiting = True
            try:
                await self._take(build, places)
            except Unavailable as error:
                _log.warning("image builds wait: %s; trying again in %g s", error, _LOOK)
                return True
        return waiting

    def _status(self, build: ImageBuild) -> ImageBuildStatus:
        return self._statuses.get(build.meta.uid, build.status)

    async def _take(self, build: ImageBuild, places: BuildPlaces) -> None:
        report = BuildReport(self._store, self._epoch, build, self._status(build))
        if report.status.attempts >= MOST_ATTEMPTS:
            await self._end(build, report, "Interrupted", f"it was begun {MOST_ATTEMPTS} times")
        elif _left(build, report.status) <= 0:
            why = report.status.message or "it was not begun"
            await self._end(build, report, "DeadlineExceeded", f"in time: {why}")
        elif build.has_context and len(self._tasks) < self._limits.in_all:
            found = places.find(build)
            if isinstance(found, str):
                await report.write(replace(report.status, phase=Phase.PENDING, message=found))
                self._statuses[build.meta.uid] = report.status
                return
            self._on[found.node] += 1
            work = self._run(build, report, found)
            name = f"build {build.meta.namespace}/{build.meta.name}"
            task = self._tasks[build.meta.uid] = self._group.create_task(work, name=name)
            task.add_done_callback(lambda _: self._left_off(build, report, found))

    async def _end(self, build: ImageBuild, report: BuildReport, reason: str, message: str) -> None:
        await report.fail(reason, message)
        self._statuses[build.meta.uid] = report.status

    # --- one build ------------------------------------------------------------------------------

    async def _run(self, build: ImageBuild, report: BuildReport, on: BuildPlace) -> None:
        try:
            await self._attempt(build, report, on)
        except Unavailable as error:
            _log.warning("build %s is broken off: %s", build.meta.name, error)

    def _left_off(self, build: ImageBuild, report: BuildReport, on: BuildPlace) -> None:
        """Note that nothing is done for a build any more, be it that nothing was."""
        self._on[on.node] -= 1
        del self._tasks[build.meta.uid]
        self._statuses[build.meta.uid] = report.status
        self._news.set()

    async def _attempt(self, build: ImageBuild, report: BuildReport, on: BuildPlace) -> None:
        try:
            async with asyncio.timeout(_left(build, report.status)):
                await report.begin(on.node)
                work = BuildWork(self._tools, build, report)
                await self._while_connected(work.run(on.node, on.images), report, on)
        except TimeoutError:
            seconds = build.spec.deadline_seconds
            await report.fail("DeadlineExceeded", f"it took more than {seconds} s")
        except DriverError as error:
            await report.give_up(str(error))
        except SourceUnavailable as error:
            await report.fail(error.reason, str(error))

    async def _while_connected(
        self, work: Coroutine[None, None, None], report: BuildReport, on: BuildPlace
    ) -> None:
        """Do the work, write the log, and break off when the host's connection is another one.

        A build may be silent for long, so its own connection does not tell that a host is gone.
        """
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({task}, timeout=_LOG))[0]:
                if self._tools.host(on.node) is not on.host:
                    raise HostUnreachable(f"the connection to host {on.node} was lost")
                await report.write_log()
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _age(build: ImageBuild) -> tuple[str, str]:
    created = build.meta.creation_timestamp
    return ("" if created is None else created.isoformat(), build.meta.uid)


def _left(build: ImageBuild, status: ImageBuildStatus) -> float:
    """Return how many seconds a build has left; what waits counts from when it was made."""
    now = now_seconds()
    since = status.start_time or build.meta.creation_timestamp or now
    return build.spec.deadline_seconds - (now - since).total_seconds()
