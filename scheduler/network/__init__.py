"""Service addresses and names: what leads where, as tables that hosts are told.

It knows Services, EndpointSlices and Nodes, gives every host its subnet, and says what changes.
It must not know engines or how a host is told (nodes), nor decide who is behind a Service
(controllers).
"""

from .book import NetworkBook, NetworkNews
from .settings import NetworkSettings

__all__ = ["NetworkBook", "NetworkNews", "NetworkSettings"]
