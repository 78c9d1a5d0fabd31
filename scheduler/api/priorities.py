"""The PriorityClasses as pod creation needs them."""

from collections.abc import Mapping

from ..errors import Forbidden
from ..informer import Informer
from ..objects.json import JsonObject
from ..objects.kinds.fields import text
from ..objects.kinds.priority import PriorityView, assign_priority, priority_view
from ..objects.stored import ObjectKey
from ..store.store import Store

RESOURCE = "priorityclasses.scheduling.k8s.io"


class Priorities:
    """Resolves a pod's priority; a class made a moment ago by anybody is found too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._informer = Informer(store, RESOURCE, priority_view)
        self._classes: Mapping[str, PriorityView] = {}
        self._version = 0
        self._looked_at: int = -1  # the informer's revision when they were compared last

    async def run(self) -> None:
        """Keep current until cancelled."""
        await self._informer.run()

    @property
    def version(self) -> int:
        """Changes whenever any class does; what was resolved under another one is stale."""
        self._refresh()
        return self._version

    def _refresh(self) -> None:
        if self._informer.revision == self._looked_at:
            return
        self._looked_at = self._informer.revision
        items = {key.name: view for key, view in self._informer.items.items()}
        if items != self._classes:
            self._classes = items
            self._version += 1

    async def assign(self, spec: JsonObject, shown: str) -> None:
        """Set the priority fields of a new pod's spec.

        Args:
            shown: the pod as messages call it.

        Raises:
            Forbidden: there is no such class, or the numbers do not agree.
        """
        await self._informer.synced()
        self._refresh()
        name = text(spec, "priorityClassName")
        classes = self._classes
        if name and name not in classes:
            found = await self._store.get(ObjectKey(RESOURCE, "", name))
            if found is not None:
                classes = {**classes, name: priority_view(found)}
        try:
            assign_priority(spec, classes)
        except Forbidden as error:
            raise Forbidden(
                f'pods "{shown}" is forbidden: {error.message}', kind="pods", name=shown
            ) from None

    async def reached(self, revision: int) -> None:
        """Wait until a class written at that revision counts."""
        await self._informer.reached(revision)
