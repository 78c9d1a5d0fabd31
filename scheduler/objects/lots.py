"""Cohorts held in memory, found like single objects: by key and by index.

An index may depend on where a pod is bound and what it is said to be; all else its pods have in
common. So a cohort is entered once for each group of pods that have this in common too, by what a
sample of them says.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Generic, TypeVar

from .cohort import FIRST, MOST, PLACES, Berths, Cohort, Lodging, Reports, place_of
from .stored import ObjectKey, StoredObject

T = TypeVar("T")
_Place = tuple[str, int]  # node ("" for none), and which report (-1 for none)
_Group = tuple[str, _Place]  # uid of a cohort, and what its pods there have in common
_NOWHERE = ("", -1)


@dataclass(frozen=True)
class Crowd(Generic[T]):
    """Pods of a cohort on one node (or none), of which the same is said if anything.

    Args:
        lodging: of the cohort.
        ordinals: which.
        make: makes an item of one of them.
    """

    lodging: Lodging
    ordinals: Collection[int]
    make: Callable[[], T]

    @property
    def cohort(self) -> Cohort:
        """Whose they are."""
        return self.lodging.cohort

    @cached_property
    def sample(self) -> T:
        """One of them, made when it is asked for."""
        return self.make()

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self.ordinals)


class Lots(Generic[T]):
    """Cohorts and who still lives in them.

    Args:
        view: makes what a lodged pod is looked at as.
        indexers: name → function giving the index values of an item.
    """

    def __init__(
        self,
        view: Callable[[StoredObject], T],
        indexers: Mapping[str, Callable[[T], Sequence[str]]],
    ) -> None:
        self._view = view
        self._indexers = indexers
        self._lodgings: dict[str, Lodging] = {}
        self._named: dict[tuple[str, str], list[Lodging]] = {}
        self._on: dict[str, dict[_Place, set[int]]] = {}
        self._indices: dict[str, dict[str, dict[_Group, None]]] = {n: {} for n in indexers}
        self._entered: dict[_Group, list[tuple[str, str]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, uid: str) -> bool:
        """Tell whether there is a cohort of that uid."""
        return uid in self._lodgings

    def add(self, cohort: Cohort) -> None:
        """Take in a new cohort."""
        lodging = self._lodgings[cohort.uid] = Lodging(cohort)
        named = self._named.setdefault((cohort.namespace, cohort.prefix), [])
        insort(named, lodging, key=_start)
        self._on[cohort.uid] = {_NOWHERE: set(range(cohort.size))}
        self._enter(lodging, _NOWHERE)
        self._count += cohort.size

    def bind(self, cohort: Cohort, berths: Berths) -> None:
        """Take in where pods of a cohort were bound."""
        lodging = self._lodgings[cohort.uid]
        lodging.add(berths)
        self._move(lodging, berths.ordinals, [(node, -1) for node in berths.nodes])

    def report(self, cohort: Cohort, reports: Reports) -> None:
        """Take in what bound pods of a cohort are said to be."""
        lodging = self._lodgings[cohort.uid]
        before = [_place(lodging, ordinal) for ordinal in reports.ordinals]
        lodging.say(reports)
        after = [_place(lodging, ordinal) for ordinal in reports.ordinals]
        self._move(lodging, reports.ordinals, after, before)

    def _move(
        self,
        lodging: Lodging,
        ordinals: Sequence[int],
        after: Sequence[_Place],
        before: Sequence[_Place] | None = None,
    ) -> None:
        """Put pods into the groups where they are now; before they were nowhere, unless given."""
        uid = lodging.cohort.uid
        groups = self._on[uid]
        for ordinal, place in zip(ordinals, after, strict=True):
            group = groups.get(place)
            if group is None:
                groups[place] = {ordinal}
                self._enter(lodging, place)
            else:
                group.add(ordinal)
        if before is None:
            groups[_NOWHERE].difference_update(ordinals)
        else:
            for ordinal, place in zip(ordinals, before, strict=True):
                groups[place].discard(ordinal)
        for place in {_NOWHERE} if before is None else set(before):
            if not groups[place]:
                self._drop(uid, place)

    def lodgings(self) -> Collection[Lodging]:
        """Return every cohort with who still lives in it; not to be changed."""
        return self._lodgings.values()

    def lives(self, uid: str, ordinal: int) -> bool:
        """Tell whether there is a cohort of that uid, and a pod lives in it."""
        lodging = self._lodgings.get(uid)
        return lodging is not None and lodging.lives(ordinal)

    def lodged(self, uid: str) -> bool:
        """Tell whether a pod of that uid lives in a cohort."""
        lodging = self._lodgings.get(uid[:28] + FIRST)
        return lodging is not None and lodging.lives(int(uid[28:], 16))

    def all_live(self, uid: str, ordinals: Iterable[int]) -> bool:
        """Tell whether there is a cohort of that uid, and all those pods live in it."""
        lodging = self._lodgings.get(uid)
        return lodging is not None and lodging.all_live(ordinals)

    def find(self, key: ObjectKey) -> T | None:
        """Return the lodged pod of that key."""
        found = self._berth(key)
        return self._view(found[0].pod(found[1])) if found else None

    def take(self, key: ObjectKey) -> T | None:
        """Return the lodged pod of that key, which leaves."""
        found = self._berth(key)
        if found is None:
            return None
        lodging, ordinal = found
        pod = lodging.pod(ordinal)
        lodging.gone |= 1 << ordinal
        self._count -= 1
        uid, place = lodging.cohort.uid, _place(lodging, ordinal)
        group = self._on[uid][place]
        group.discard(ordinal)
        if not group:
            self._drop(uid, place)
        if lodging.empty:
            self._forget(lodging)
        return self._view(pod)

    def all(self) -> Iterator[tuple[ObjectKey, T]]:
        """Yield every lodged pod."""
        for lodging in self._lodgings.values():
            for pod in lodging.pods():
                yield pod.key, self._view(pod)

    def in_namespace(self, namespace: str) -> Iterator[tuple[ObjectKey, T]]:
        """Yield every lodged pod of a namespace."""
        for (space, _), lodgings in self._named.items():
            for lodging in lodgings if space == namespace else ():
                for pod in lodging.pods():
                    yield pod.key, self._view(pod)

    def by_index(self, index: str, value: str) -> Iterator[T]:
        """Yield the lodged pods of an index value."""
        for uid, place in self._indices[index].get(value, ()):
            lodging = self._lodgings[uid]
            for ordinal in self._on[uid][place]:
                yield self._view(lodging.pod(ordinal))

    def having(self, index: str, values: Set[str]) -> Set[str]:
        """Return those of some index values that there are lodged pods of."""
        return self._indices[index].keys() & values

    def crowds(self, index: str, value: str) -> Iterator[Crowd[T]]:
        """Yield the lodged pods of an index value as samples and whom each stands for."""
        for uid, place in self._indices[index].get(value, ()):
            members, lodging = self._on[uid][place], self._lodgings[uid]
            make = partial(self._of, lodging, next(iter(members)))
            yield Crowd(lodging, members, make)

    def _of(self, lodging: Lodging, ordinal: int) -> T:
        return self._view(lodging.pod(ordinal))

    def clear(self) -> None:
        """Forget everything."""
        for held in (self._lodgings, self._named, self._on, self._entered):
            held.clear()
        for index in self._indices.values():
            index.clear()
        self._count = 0

    def _berth(self, key: ObjectKey) -> tuple[Lodging, int] | None:
        place = place_of(key.name[-5:]) if self._lodgings else None
        named = self._named.get((key.namespace, key.name[:-5])) if place is not None else None
        if named is None or place is None:
            return None
        # Mostly the last one to begin before the place; not while the end of an older one, whose
        # places were given again, is yet to be heard of. Places wrap, as negative indices do.
        last = bisect_right(named, place, key=_start) - 1
        for index in range(last, last - len(named), -1):
            lodging = named[index]
            if (place - lodging.cohort.start) % PLACES >= MOST:
                return None
            ordinal = lodging.cohort.at(place)
            if ordinal is not None and lodging.lives(ordinal):
                return lodging, ordinal
        return None

    def _enter(self, lodging: Lodging, place: _Place) -> None:
        group = lodging.cohort.uid, place
        sample = self._view(lodging.pod(next(iter(self._on[group[0]][place]))))
        values = [(name, each) for name, make in self._indexers.items() for each in make(sample)]
        self._entered[group] = values
        for name, value in values:
            self._indices[name].setdefault(value, {})[group] = None

    def _drop(self, uid: str, place: _Place) -> None:
        """Take a group out of the indices."""
        del self._on[uid][place]
        for name, value in self._entered.pop((uid, place)):
            bucket = self._indices[name][value]
            del bucket[uid, place]
            if not bucket:
                del self._indices[name][value]

    def _forget(self, lodging: Lodging) -> None:
        cohort = lodging.cohort
        del self._lodgings[cohort.uid]
        del self._on[cohort.uid]
        named = self._named[cohort.namespace, cohort.prefix]
        named.remove(lodging)
        if not named:
            del self._named[cohort.namespace, cohort.prefix]


def _start(lodging: Lodging) -> int:
    return lodging.cohort.start


def _place(lodging: Lodging, ordinal: int) -> _Place:
    berth = lodging.places.get(ordinal)
    node = "" if berth is None else lodging.berths[berth // MOST].nodes[berth % MOST]
    said = lodging.said.get(ordinal)
    return node, -1 if said is None else said // MOST
