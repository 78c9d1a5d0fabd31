"""What some objects take beyond the right to write them, because they act on more than themselves.

A pod that says it is a container takes hold of what runs on a host: that is adopting. A Placement
that may move pods moves those of all namespaces: that is rebalancing.
"""

from dataclasses import dataclass

from ..access.identity import User
from ..access.rbac import Attributes
from ..objects.adoption import CONTAINER
from ..objects.json import JsonObject
from ..objects.kind import Kind
from ..objects.kinds import adoption, placement, rebalance
from ..objects.kinds.fields import child, number
from ..objects.meta import ObjectMeta
from ..objects.stored import StoredObject
from .authorization import Authorizer, refusal


@dataclass(frozen=True, slots=True)
class FurtherRights:
    """Refuses objects whose writer lacks a right that they take besides."""

    authorizer: Authorizer

    async def judge(self, user: User, kind: Kind, meta: ObjectMeta, spec: JsonObject) -> None:
        """Let a new object pass if its writer may do what it does; most do nothing of the kind.

        Args:
            spec: of the object; of a pod it does not matter.

        Raises:
            Forbidden: he may not.
        """
        if user.unlimited:
            return
        named = f"{kind.kind} {meta.name or meta.generate_name}"
        if kind.resource == "pods" and CONTAINER in meta.annotations:
            wanted = _create(adoption.KIND, meta.namespace)
            await self._check(user, wanted, f"{named} has the annotation {CONTAINER}")
        elif kind.resource == placement.KIND.resource and number(child(spec, "limits"), "maxMoves"):
            why = f"{named} has spec.limits.maxMoves, which moves pods of all namespaces"
            await self._check(user, _create(rebalance.KIND, ""), why)

    async def judge_change(
        self, user: User, kind: Kind, current: StoredObject, meta: ObjectMeta
    ) -> None:
        """Do the same for a change; the spec of a Placement does not change.

        Args:
            meta: as it is to be.

        Raises:
            Forbidden: as `judge`.
        """
        if meta.annotations.get(CONTAINER) != current.meta.annotations.get(CONTAINER):
            await self.judge(user, kind, meta, {})

    async def _check(self, user: User, wanted: Attributes, why: str) -> None:
        if not (await self.authorizer.decide(user, wanted)).allowed:
            raise refusal(user, wanted, f"{why}: it takes this right, too")


def _create(kind: Kind, namespace: str) -> Attributes:
    return Attributes("create", namespace, kind.group, kind.plural)
