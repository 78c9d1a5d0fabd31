"""How node agents pace themselves."""

from dataclasses import dataclass, field

from .image_collection import CollectionLimits


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """All in seconds unless said; the defaults are those of docs/operations.

    Args:
        ping: between pings; ping_timeout: for one; ping_failures: in a row mean unreachable.
        resync: between complete looks at a host, events or not (with jitter).
        settle: least time between two looks; events in between are answered by one.
        lease: between heartbeats; lease_duration: written into the Lease.
        reconnect_initial, reconnect_limit: bounds of the back-off towards a host that does not
            answer, or answers and does not do what it is told.
        pull_timeout: for one pull of an image, once it has begun.
        pulls_per_host, pulls_per_registry: at once; the latter over all hosts.
        share_images: copy images that cannot be pulled from host to host.
        storage: between looks at a host's disk and images, and at what else runs there.
        storage_limits: between looks at how much pods that have limits keep on disk.
        pressure: between looks at what a host has left of memory, process ids and disk.
        foreign_settle: least time between two looks at what else runs there.
        collection: when images are removed.
        max_pods: pods per node, where the DockerHost does not say.
        events_per_second, events_burst: of all agents together; what exceeds them is dropped.
    """

    ping: float = 3.0
    ping_timeout: float = 3.0
    ping_failures: int = 2
    resync: float = 20.0
    settle: float = 0.1
    lease: float = 10.0
    lease_duration: int = 40
    reconnect_initial: float = 0.2
    reconnect_limit: float = 30.0
    connect_timeout: float = 15.0
    list_timeout: float = 30.0
    pull_timeout: float = 900.0
    pulls_per_host: int = 3
    pulls_per_registry: int = 32
    share_images: bool = False
    storage: float = 120.0
    storage_limits: float = 60.0
    pressure: float = 10.0
    foreign_settle: float = 2.0
    collection: CollectionLimits = field(default_factory=CollectionLimits)
    start_timeout: float = 120.0
    remove_timeout: float = 120.0
    hook_timeout: float = 1800.0
    max_pods: int = 110
    events_per_second: float = 200.0
    events_burst: int = 1000
