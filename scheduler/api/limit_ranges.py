"""LimitRange admission: new pods and claims are completed and held to their namespace's limits.

LimitRanges that this process wrote count at once, others' within moments.
"""

from collections.abc import Collection

from ..errors import Forbidden
from ..informer import Informer
from ..objects.json import JsonObject
from ..objects.kind import Kind
from ..objects.kinds.fields import child
from ..objects.kinds.limit_admission import claim_refusals, fill_limits, pod_refusals
from ..objects.limit_range import RESOURCE, LimitRange, limit_range_view
from ..objects.meta import ObjectMeta
from ..objects.storage import CLAIMS
from ..store.store import Store

_NAMESPACE = "namespace"


class LimitRanges:
    """Knows every LimitRange."""

    def __init__(self, store: Store) -> None:
        indexers = {_NAMESPACE: _namespace}
        self._known = Informer(store, RESOURCE, limit_range_view, indexers)

    async def run(self) -> None:
        """Keep current until cancelled."""
        await self._known.run()

    async def reached(self, revision: int) -> None:
        """Wait until a LimitRange written at that revision counts."""
        await self._known.reached(revision)

    async def of(self, namespace: str) -> Collection[LimitRange]:
        """Return those of a namespace."""
        await self._known.synced()
        return self._known.by_index(_NAMESPACE, namespace)

    async def version(self, namespace: str) -> tuple[tuple[str, int], ...]:
        """Return what is another once a LimitRange of a namespace is; () where there is none."""
        await self._known.synced()
        found = self._known.by_index(_NAMESPACE, namespace)
        return tuple(sorted((each.meta.uid, each.revision) for each in found)) if found else ()

    async def admit(self, kind: Kind, meta: ObjectMeta, obj: JsonObject) -> None:
        """Complete a new pod in place, and hold pods and claims to the limits.

        Args:
            obj: a whole object, after its kind's defaults.

        Raises:
            Forbidden: it is not within them. BadRequest: a quantity cannot be read.
        """
        if kind.resource not in {"pods", CLAIMS}:
            return
        ranges = await self.of(meta.namespace)
        if not ranges:
            return
        if kind.resource == "pods":
            fill_limits(obj, ranges)
            found = [*pod_refusals(child(obj, "spec"), ranges)]
        else:
            found = [*claim_refusals(child(obj, "spec"), ranges)]
        if found:
            name = meta.name or meta.generate_name
            said = found[0] if len(found) == 1 else f"[{', '.join(found)}]"
            raise Forbidden(
                f'{kind.plural} "{name}" is forbidden: {said}', kind=kind.plural, name=name
            )


def _namespace(limits: LimitRange) -> tuple[str, ...]:
    return (limits.meta.namespace,)
