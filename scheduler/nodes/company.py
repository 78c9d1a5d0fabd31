"""The pods of cohorts that start together on one host, and need no worker while they just run."""

from collections.abc import Callable, Iterable, Mapping

from ..drivers import CrowdHost, Host, PodObservation
from ..objects.cohort import Cohort
from .fence import Fence
from .muster import STARTED, Settled
from .roster import Roster


class HostCompany:
    """A muster.Company; one per session.

    Args:
        runtime: the engine's word.
        host_ip: the node's address, which may change.
        look_soon: asks for a look at the host.
    """

    def __init__(
        self,
        host: Host,
        roster: Roster,
        fence: Fence,
        runtime: str,
        host_ip: str,
        look_soon: Callable[[], None],
    ) -> None:
        self.runtime = runtime
        self.host_ip = host_ip
        self.claimed: set[str] = set()  # by uid; looks spare them
        self._host = host if isinstance(host, CrowdHost) else None
        self._roster = roster
        self._fence = fence
        self._look_soon = look_soon
        self._settled: dict[str, Settled] = {}

    @property
    def crowd_host(self) -> CrowdHost | None:
        """The host, if it can start many pods at once and is ready to."""
        return self._host if self._roster.looked and self._fence.opened.is_set() else None

    def claim(self, cohort: Cohort, ordinals: Iterable[int]) -> list[int]:
        """Return those who are as their cohort has them and have no worker; looks spare them."""
        claimed = [each for each in ordinals if self._roster.lodges(cohort, each)]
        self.claimed.update(map(cohort.pod_uid, claimed))
        return claimed

    def settle(self, settled: Settled) -> None:
        """Take over a claimed pod that runs and has been reported."""
        cohort, ordinal = settled.cohort, settled.ordinal
        if self._roster.lodges(cohort, ordinal):
            uid = cohort.pod_uid(ordinal)
            self.claimed.discard(uid)
            self._settled[uid] = settled
        else:
            self.fall_out(cohort, (ordinal,))

    def disband(self) -> None:
        """Have every further pod started by a worker of its own."""
        self._host = None

    def fall_out(self, cohort: Cohort, ordinals: Iterable[int]) -> None:
        """Have workers see to pods, from whatever state they are in: a look will tell."""
        for ordinal in ordinals:
            self.claimed.discard(cohort.pod_uid(ordinal))
            self._roster.take_over(cohort, ordinal)
            self._look_soon()

    # --- those who have settled -------------------------------------------------------------

    def observed(self, uid: str) -> PodObservation | None:
        """Return what runs of a pod that has settled, None if it has not."""
        settled = self._settled.get(uid)
        return settled.observed if settled is not None else None

    def leave(self, uid: str) -> None:
        """Have a worker see to a pod of which the store has news, if it has settled."""
        settled = self._settled.pop(uid, None)
        if settled is not None:
            self._roster.worker(uid, STARTED).see(self._roster.looked, settled.observed)

    def send_out(self, uid: str) -> None:
        """Have a worker see to a pod that was as the store has it, if it has settled."""
        settled = self._settled.get(uid)
        if settled is not None:
            self._roster.take_over(settled.cohort, settled.ordinal)
            self.leave(uid)

    def quiet(self, found: Mapping[str, PodObservation]) -> set[str]:
        """Return who is as when they settled; others have workers from now on.

        Args:
            found: what a look has found, by uid.
        """
        quiet = {uid for uid, each in self._settled.items() if found.get(uid) == each.observed}
        for uid in self._settled.keys() - quiet:
            settled = self._settled.pop(uid)
            self._roster.take_over(settled.cohort, settled.ordinal)
            self._roster.worker(uid, STARTED)
        return quiet
