"""The store as a leader's controllers use it: every write carries the leader's epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from msgspec.structs import replace

from ..errors import Conflict, Fenced, NotFound, StatusError
from ..objects.cohort import Cohort
from ..objects.stored import ObjectKey, StoredObject
from ..store.operations import CreateCohort, Listing, Write
from ..store.store import Store


@dataclass(frozen=True, slots=True)
class FencedStore:
    """Reads pass through; writes are refused (Fenced) once another leader has taken over."""

    store: Store
    epoch: int

    async def get(self, key: ObjectKey) -> StoredObject | None:
        """Return the object as committed now."""
        return await self.store.get(key)

    async def list(self, resource: str, namespace: str = "") -> Listing:
        """Return the objects of a resource at one revision."""
        return await self.store.list(resource, namespace)

    async def revision(self) -> int:
        """Return the revision of the last commit."""
        return await self.store.revision()

    async def write(self, op: Write) -> StoredObject:
        """Commit one write; raises what the store raises."""
        return await self.store.write(replace(op, epoch=self.epoch))

    async def write_many(self, ops: Sequence[Write]) -> Sequence[StoredObject | StatusError]:
        """Commit independent writes together; a refused one is an error in its place.

        Raises:
            Fenced: another leader has taken over.
        """
        results: list[StoredObject | StatusError] = []
        if not ops:
            return results
        for result in await self.store.write_many([replace(op, epoch=self.epoch) for op in ops]):
            if isinstance(result, Fenced):
                raise result
            results.append(result)
        return results

    async def create_cohorts(self, cohorts: Sequence[Cohort]) -> Sequence[Cohort | StatusError]:
        """Create the pods of cohorts; as `write_many`.

        Raises:
            Fenced: another leader has taken over.
        """
        made = await self.store.create_cohorts([CreateCohort(c, self.epoch) for c in cohorts])
        for result in made:
            if isinstance(result, Fenced):
                raise result
        return cast("Sequence[Cohort | StatusError]", made)


def latest_revision(results: Sequence[StoredObject | StatusError]) -> int:
    """Return the highest revision among the writes that succeeded, 0 when none did."""
    return max((r.revision for r in results if isinstance(r, StoredObject)), default=0)


def raise_failures(results: Sequence[StoredObject | StatusError]) -> None:
    """Raise the gravest failure; an object that is gone is as good as written.

    Raises:
        StatusError: any failure but NotFound, Conflict last.
    """
    failures = [r for r in results if isinstance(r, StatusError) and not isinstance(r, NotFound)]
    for failure in sorted(failures, key=lambda f: isinstance(f, Conflict)):
        raise failure
