"""ImagePrePulls at work: hosts get images before pods come, as pods would get them.

Each image on each host is a pull like any other: by the same credentials, pacing, back-off, copying
from other hosts where that is wanted. What is there is looked for again every hour, and when a host
has a new connection.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import msgspec

from ..drivers import Host, PullPolicy
from ..errors import DriverError, StatusError, Unavailable
from ..informer import Informer
from ..objects.image_pre_pull import (
    MOST_FAILURES,
    RESOURCE,
    ImagePrePull,
    ImagePrePullStatus,
    Phase,
    image_pre_pull,
)
from ..objects.json import Json
from ..objects.meta import ObjectMeta
from ..objects.pod import Container, Pod, PodSpec, PodStatus
from ..objects.selectors import EVERYTHING, from_label_selector
from ..objects.stored import ObjectKey, StoredObject
from ..store.status_write import write_status
from ..store.store import Store
from .image_pulling import ImagePuller, ImageRequest, Words
from .memory import PULL

_log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between looks while something is to be done
_IDLE = 5.0  # and while nothing is: hosts come, and connect anew
_AGAIN = 3600.0  # seconds after which what is there is looked for again
_MOST = 512  # pulls that wait or go on at once; the others are begun later


class _Which(NamedTuple):
    """One image on one host, for one ImagePrePull as it is now."""

    uid: str
    generation: int
    node: str
    image: str


@dataclass(slots=True)
class _Copy:
    """What is known of it.

    Args:
        host: the connection it was looked for on; another one may be to another engine.
        due: loop time from which on it is looked for again.
        why: it is not there.
    """

    host: Host | None = None
    due: float = 0.0
    there: bool = False
    why: str = ""
    failures: int = 0
    task: asyncio.Task[None] | None = None


class ImagePrePulls:
    """One per leader.

    Args:
        nodes: returns the Nodes there are.
        host: finds the open connection of a node.
    """

    def __init__(
        self,
        store: Store,
        epoch: int,
        puller: ImagePuller,
        nodes: Callable[[], Mapping[ObjectKey, StoredObject]],
        host: Callable[[str], Host | None],
    ) -> None:
        self._store = store
        self._epoch = epoch
        self._puller = puller
        self._nodes = nodes
        self._host = host
        self._wishes = Informer(store, RESOURCE, image_pre_pull)
        self._statuses: dict[str, ImagePrePullStatus] = {}  # by uid; newer than the informer's
        self._copies: dict[_Which, _Copy] = {}
        self._under_way = 0
        self._news = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            ExceptionGroup: of Fenced, when another leader has taken over; of a bug.
        """
        async with self._group as group:
            group.create_task(self._wishes.run(), name="informer of image pre-pulls")
            group.create_task(self._follow(), name="image pre-pulls follow")
            await self._wishes.synced()
            while True:
                self._news.clear()
                pause = await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()

    async def _follow(self) -> None:
        async for deltas in self._wishes.subscribe():
            if any(not d.old or not d.new or d.old.spec != d.new.spec for d in deltas):
                self._news.set()

    async def _look(self) -> float | None:
        """Begin what is due, and tell how far all is.

        Returns:
            Seconds after which to look again; None while nothing is wished for.
        """
        wishes = list(self._wishes.items.values())
        wanted = {wish.meta.uid: self._wanted(wish) for wish in wishes}
        kept = {which for each in wanted.values() for which in each}
        for which in [each for each in self._copies if each not in kept]:
            task = self._copies.pop(which).task
            if task is not None:
                task.cancel()
        self._statuses = {uid: each for uid, each in self._statuses.items() if uid in wanted}
        busy = False
        for wish in wishes:
            for which in wanted[wish.meta.uid]:
                self._take(wish, which)
            try:
                status = await self._tell(wish, wanted[wish.meta.uid])
            except Unavailable as error:
                _log.warning("image pre-pulls wait: %s; trying again in %g s", error, _LOOK)
                return _LOOK
            busy = busy or status.phase != Phase.READY
        return (_LOOK if busy else _IDLE) if wishes else None

    def _wanted(self, wish: ImagePrePull) -> list[_Which]:
        meta, spec = wish.meta, wish.spec
        if meta.deletion_timestamp is not None:
            return []
        selector = EVERYTHING
        if spec.selector is not None:
            selector = from_label_selector(cast(Json, msgspec.to_builtins(spec.selector)))
        names = [n.meta.name for n in self._nodes().values() if selector.matches(n.meta.labels)]
        return [
            _Which(meta.uid, meta.generation, node, image)
            for node in sorted(names)
            for image in spec.images
        ]

    def _take(self, wish: ImagePrePull, which: _Which) -> None:
        copy = self._copies.setdefault(which, _Copy())
        host = self._host(which.node)
        if copy.task is not None:
            return
        if host is None:
            copy.host, copy.there, copy.why = None, False, "the host does not answer"
            return
        now = asyncio.get_running_loop().time()
        due = copy.host is not host or now >= copy.due
        if due and self._under_way < _MOST:
            self._under_way += 1
            work = self._ensure(wish, which, copy, host)
            copy.task = self._group.create_task(work, name=f"pre-pull on {which.node}")
            copy.task.add_done_callback(lambda _: self._settle(copy, host))

    async def _ensure(self, wish: ImagePrePull, which: _Which, copy: _Copy, host: Host) -> None:
        """Have an image on a host, and note what came of it."""
        policy = PullPolicy.IF_NOT_PRESENT if copy.there else wish.spec.image_pull_policy
        request = ImageRequest(
            which.node,
            host.images,
            _pod(wish, which.node),
            Container(name="pre-pull", image=which.image, image_pull_policy=policy),
            _unheard,
        )
        try:
            problem = await self._puller.ensure(request)
            copy.there, copy.why = problem is None, problem.message if problem else ""
        except (DriverError, StatusError) as error:
            copy.there, copy.why = False, str(error)

    def _settle(self, copy: _Copy, host: Host) -> None:
        """Note that a pull is over, be it that it never began."""
        self._under_way -= 1
        copy.task, copy.host = None, host
        copy.failures = 0 if copy.there else copy.failures + 1
        wait = _AGAIN if copy.there else PULL.delay(copy.failures).total_seconds()
        copy.due = asyncio.get_running_loop().time() + wait

    async def _tell(self, wish: ImagePrePull, wanted: list[_Which]) -> ImagePrePullStatus:
        """Write how far a wish is, if it is news."""
        copies = [(which, self._copies[which]) for which in wanted]
        nodes = {which.node for which in wanted}
        lacking = {which.node for which, copy in copies if not copy.there}
        failed = [(w, c) for w, c in copies if not c.there and c.why]
        pulling = sum(1 for _, copy in copies if not copy.there and not copy.why)
        phase = Phase.FAILING if failed else Phase.PULLING if lacking else Phase.READY
        first = "" if not failed else f"host {failed[0][0].node}: {failed[0][1].why}"
        status = ImagePrePullStatus(
            phase=phase,
            message=(first if nodes else "no host matches spec.selector")[:500],
            observed_generation=wish.meta.generation,
            nodes=len(nodes),
            ready=len(nodes) - len(lacking),
            pulling=pulling,
            failed=len(failed),
            failures=tuple(
                f"{w.node}: {w.image}: {c.why}"[:300] for w, c in failed[:MOST_FAILURES]
            ),
        )
        if status != self._statuses.get(wish.meta.uid, wish.status):
            key = ObjectKey(RESOURCE, "", wish.meta.name)
            await write_status(self._store, key, wish.meta.uid, status, self._epoch)
            self._statuses[wish.meta.uid] = status
        return status


def _pod(wish: ImagePrePull, node: str) -> Pod:
    """Return the pod that would pull so."""
    meta = ObjectMeta(name=wish.meta.name, namespace=wish.spec.namespace, uid=wish.meta.uid)
    spec = PodSpec(image_pull_secrets=wish.spec.image_pull_secrets)
    return Pod(meta, spec, PodStatus(), node, 1, b"")


def _unheard(_words: Words) -> None:
    return
