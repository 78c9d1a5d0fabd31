"""What new pods take over from the PriorityClass and the RuntimeClass that they name."""

from ..errors import Forbidden
from ..objects.json import JsonObject
from ..objects.kinds.fields import text
from ..objects.kinds.priority import PriorityView, assign_priority, priority_view
from ..objects.kinds.runtime import RESOURCE as RUNTIMES
from ..objects.kinds.runtime import RuntimeView, assign_runtime, runtime_view
from ..store.store import Store
from .known_classes import KnownClasses

PRIORITIES = "priorityclasses.scheduling.k8s.io"


class PodClasses:
    """The classes that pods name, as pod creation needs them."""

    def __init__(self, store: Store) -> None:
        self.priorities = KnownClasses[PriorityView](store, PRIORITIES, priority_view)
        self.runtimes = KnownClasses[RuntimeView](store, RUNTIMES, runtime_view)

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever any class does; what was resolved under another one is stale."""
        return self.priorities.version, self.runtimes.version

    async def assign(self, spec: JsonObject, shown: str) -> None:
        """Fill in what a new pod's classes say of it, in place.

        Args:
            shown: the pod as messages call it.

        Raises:
            Forbidden: there is no such class, or the pod says something else than its class.
        """
        priorities = await self.priorities.holding(text(spec, "priorityClassName"))
        runtimes = await self.runtimes.holding(text(spec, "runtimeClassName"))
        try:
            assign_priority(spec, priorities)
            assign_runtime(spec, runtimes)
        except Forbidden as error:
            raise Forbidden(
                f'pods "{shown}" is forbidden: {error.message}', kind="pods", name=shown
            ) from None
