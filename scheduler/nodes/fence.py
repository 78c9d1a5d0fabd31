"""Keeps new pods off a host until what should not run there any more is gone."""

import asyncio
from datetime import UTC, datetime

from ..drivers import EngineState, PodObservation
from .assigned_pod import AssignedPod


class Fence:
    """One per session; closed at first.

    `opened` is set when nothing stale is left.
    """

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self._stale: set[str] = set()

    def hold(self, stale: set[str]) -> None:
        """Stay closed until these pods, by uid, are heard not to run; open if there are none."""
        self._stale = stale
        if not stale:
            self.opened.set()

    def hear(self, uid: str, observed: PodObservation | None) -> None:
        """Take in what there is of a pod now."""
        if uid in self._stale and not _runs(observed):
            self._stale.discard(uid)
            if not self._stale:
                self.opened.set()


def is_stale(assigned: AssignedPod | None, observed: PodObservation) -> bool:
    """Return whether something runs of a pod that is gone, has ended, or was to be long ago."""
    return _over(assigned) and _runs(observed)


def _runs(observed: PodObservation | None) -> bool:
    """Return whether anything of a pod runs."""
    if observed is None:
        return False
    running = any(c.state is EngineState.RUNNING for c in observed.containers)
    return running or (observed.sandbox is not None and observed.sandbox.running)


def _over(assigned: AssignedPod | None) -> bool:
    if assigned is None or assigned.pod.terminal:
        return True
    deadline = assigned.pod.meta.deletion_timestamp
    return deadline is not None and deadline <= datetime.now(UTC)
