"""What the agents of all hosts share: the store, what is known of pods, and the pace of work."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ..informer import Informer
from ..network import NetworkBook
from ..objects.lots import Crowd
from ..objects.pod import Pod
from ..objects.stored import StoredObject
from ..store.store import Store
from .api_gateway import ApiService
from .engines import Engines
from .event_recorder import EventRecorder
from .image_pulling import ImagePuller
from .pacing import Pacer
from .pod_tokens import ApiForPods
from .pulse import Pulse
from .settings import NodeSettings
from .status_writer import StatusWriter
from .volume_sources import VolumeSources

_WORKERS, _WORK = 16, 0.1  # at work at once over all hosts; seconds for which each counts
_LOOKS, _LOOK = 16, 0.05
_TELLINGS, _TELLING = 8, 0.25
_JUDGED = 10_000  # answers kept
Question = Callable[[Pod], bool]


def anybody(_: Pod) -> bool:
    """The question that every pod answers with yes."""
    return True


@dataclass(frozen=True, slots=True)
class Office:
    """What all agents of one leader share.

    Args:
        work, looks: the pace of workers on pods, and of looks at hosts.
        tellings: the pace in which hosts begin to serve the network; being ready goes first.
        evictions: of pods, by the resource that was short.
        network: what hosts are told of Services; None where they are not served.
        api: by which pods can ask the API; None where they cannot.
        gateway: where pods find it, which hosts lead to it.
        judged: what questions about specs were answered, by question and digest of the body.
    """

    store: Store
    epoch: int
    settings: NodeSettings
    pods: Informer[Pod]
    engines: Engines
    statuses: StatusWriter
    events: EventRecorder
    sources: VolumeSources
    puller: ImagePuller
    nodes: Informer[StoredObject]
    pulse: Pulse
    network: NetworkBook | None = None
    api: ApiForPods | None = None
    gateway: ApiService | None = None
    work: Pacer = field(default_factory=lambda: Pacer(_WORKERS, _WORK))
    looks: Pacer = field(default_factory=lambda: Pacer(_LOOKS, _LOOK))
    tellings: Pacer = field(default_factory=lambda: Pacer(_TELLINGS, _TELLING))
    evictions: Counter[str] = field(default_factory=Counter[str])
    judged: dict[tuple[Question, bytes], bool] = field(
        default_factory=dict[tuple[Question, bytes], bool]
    )

    def answer(self, question: Question, crowd: Crowd[Pod]) -> bool:
        """Answer a question about the spec of a cohort's pods; once for all that have it."""
        key = question, crowd.cohort.body.digest
        if key not in self.judged:
            if len(self.judged) >= _JUDGED:
                self.judged.clear()
            self.judged[key] = question(crowd.sample)
        return self.judged[key]
