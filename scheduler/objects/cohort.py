"""Pods made alike in one go, as one value: names, uids and states follow from an ordinal.

A controller that wants a thousand pods of one template makes one cohort. Its pods are ordinary
Pods to everybody who looks at them; they merely need no row each for as long as nothing but where
they are bound and how they have started distinguishes them.
"""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, product

import msgspec

from .meta import ObjectMeta, new_uid
from .names import GENERATED_PREFIX, SUFFIX_ALPHABET
from .stored import Binding, Body, StoredObject

MOST = 1024
"""Pods of one cohort at most."""

ALIKE_FROM = 32
"""Pods that are worth a cohort."""

PLACES = len(SUFFIX_ALPHABET) ** 5
"""How many names there are after one prefix; cohorts of a prefix take disjoint places."""

FIRST = "00000000"
"""How the uid of a first pod ends."""

_PLAIN = re.compile(r"[A-Za-z0-9.:/@_-]*")
_STRIDE = 5_868_913  # no multiple of 3, so that places map one to one to suffixes which look random
_BACK = pow(_STRIDE, -1, PLACES)
_TWO = ["".join(each) for each in product(SUFFIX_ALPHABET, repeat=2)]
_THREE = ["".join(each) for each in product(SUFFIX_ALPHABET, repeat=3)]
_DIGIT = {character: value for value, character in enumerate(SUFFIX_ALPHABET)}


class Cohort(msgspec.Struct, frozen=True, gc=False):
    """Pods made alike by one write.

    Args:
        uid: of its first pod; the last eight digits of a pod's uid are its ordinal.
        namespace: theirs.
        prefix: what their names begin with; five characters follow.
        start: place of the first name; the ordinal is added (modulo PLACES).
        size: how many pods, at most MOST.
        created_revision: of its first pod; the others follow one by one.
        meta: what their metadata has in common; name and uid are empty.
        body: theirs.
        status: theirs from the beginning.
    """

    uid: str
    namespace: str
    prefix: str
    start: int
    size: int
    created_revision: int
    meta: ObjectMeta
    body: Body
    status: bytes

    def name(self, ordinal: int) -> str:
        """Return a pod's name."""
        return self.prefix + _suffix((self.start + ordinal) % PLACES)

    def pod_uid(self, ordinal: int) -> str:
        """Return a pod's uid."""
        return f"{self.uid[:28]}{ordinal:08x}"

    def ordinal(self, name: str) -> int | None:
        """Return which of its pods has a name of this namespace, None if none."""
        if not name.startswith(self.prefix):
            return None
        place = place_of(name[len(self.prefix) :])
        return None if place is None else self.at(place)

    def at(self, place: int) -> int | None:
        """Return which of its pods has the name of a place, None if none."""
        ordinal = (place - self.start) % PLACES
        return ordinal if ordinal < self.size else None

    def pod(
        self,
        ordinal: int,
        binding: Binding | None = None,
        status: bytes = b"",
        revision: int = 0,
    ) -> StoredObject:
        """Return a pod as it is while it lives in the cohort.

        Args:
            status: b"" for that of the beginning; revision: of its report, 0 for none.
        """
        created = self.created_revision + ordinal
        shared = self.meta
        meta = ObjectMeta(
            name=self.name(ordinal),
            generate_name=shared.generate_name,
            namespace=self.namespace,
            uid=self.pod_uid(ordinal),
            generation=shared.generation,
            creation_timestamp=shared.creation_timestamp,
            labels=shared.labels,
            annotations=shared.annotations,
            owner_references=shared.owner_references,
            finalizers=shared.finalizers,
        )
        return StoredObject(
            "pods",
            meta,
            revision or (created if binding is None else binding.revision),
            created,
            self.body,
            status or self.status,
            binding,
            lodged=True,
        )

    def overlaps(self, start: int, size: int) -> bool:
        """Tell whether names of that many places from `start` on are among its own."""
        return (start - self.start) % PLACES < self.size or (self.start - start) % PLACES < size


def made_alike(meta: ObjectMeta, body: Body, status: bytes, count: int) -> list[Cohort]:
    """Return that many new pods as cohorts; their names are tried, not known to be free.

    Args:
        meta: what their metadata has in common, the namespace too; names begin with generateName.
    """
    sizes = [min(MOST, count - begun) for begun in range(0, count, MOST)]
    return [
        Cohort(
            uid=cohort_uid(),
            namespace=meta.namespace,
            prefix=cut(meta.generate_name),
            start=random.randrange(PLACES),
            size=size,
            created_revision=0,
            meta=meta,
            body=body,
            status=status,
        )
        for size in sizes
    ]


def cohort_uid() -> str:
    """Return a fresh uid of a first pod."""
    return new_uid()[:28] + FIRST


def berth(uid: str) -> tuple[str, int]:
    """Return of a lodged pod's uid: its cohort's uid, and its ordinal there."""
    return uid[:28] + FIRST, int(uid[28:], 16)


def cut(prefix: str) -> str:
    """Return a prefix as generated names begin: cut, so that five characters fit."""
    return prefix[:GENERATED_PREFIX]


def place_of(suffix: str) -> int | None:
    """Return the place of a suffix of five characters, None if it is no such suffix."""
    if len(suffix) != 5:
        return None
    value = 0
    for character in suffix:
        digit = _DIGIT.get(character)
        if digit is None:
            return None
        value = value * len(SUFFIX_ALPHABET) + digit
    return value * _BACK % PLACES


def _suffix(place: int) -> str:
    high, low = divmod(place * _STRIDE % PLACES, len(_THREE))
    return _TWO[high] + _THREE[low]


class Berths(msgspec.Struct, frozen=True, gc=False):
    """Where pods of a cohort were bound by one write.

    Args:
        revision: of the first pod's binding; the others follow one by one.
        ordinals, nodes: which pods, and where each went.
        requests: of one pod: milli-units for cpu, base units otherwise.
        decision: id of the decision record, 0 for none.
        epoch: of the leader that bound them, 0 for anybody else.
    """

    revision: int
    bound_at: datetime
    ordinals: tuple[int, ...]
    nodes: tuple[str, ...]
    requests: dict[str, int]
    decision: int
    epoch: int

    def binding(self, number: int) -> Binding:
        """Return the binding of the pod at that position of `ordinals`."""
        return Binding(self.nodes[number], self.bound_at, self.revision + number)


class Stencil(msgspec.Struct, frozen=True, gc=False):
    """What statuses of pods have in common: JSON with holes for what each has of its own.

    Args:
        pieces: the text before, between and after the holes.
        fields: which of a pod's own values goes into each hole.
    """

    pieces: tuple[str, ...]
    fields: tuple[int, ...]

    @classmethod
    def of(cls, document: bytes, marks: Sequence[str]) -> "Stencil":
        """Cut a document where it has marks; the n-th mark stands for a pod's n-th own value."""
        text = document.decode()
        found = re.split("(" + "|".join(map(re.escape, marks)) + ")", text)
        return cls(tuple(found[::2]), tuple(marks.index(mark) for mark in found[1::2]))

    def fill(self, own: Sequence[str]) -> bytes:
        """Return a pod's status.

        Args:
            own: its values; they must look the same within and outside of JSON strings.
        """
        text = self.pieces[0]
        for piece, index in zip(self.pieces[1:], self.fields, strict=True):
            text += own[index] + piece
        return text.encode()


def plain(value: str) -> bool:
    """Tell whether a value may fill a hole of a Stencil."""
    return _PLAIN.fullmatch(value) is not None


class Reports(msgspec.Struct, frozen=True, gc=False):
    """What pods of a cohort were said to be by one write, the only one a lodged pod gets.

    Args:
        revision: of the first pod's report; the others follow one by one.
        ordinals: which pods; own: what each fills the stencil with.
        phase: theirs.
    """

    revision: int
    ordinals: tuple[int, ...]
    phase: str
    stencil: Stencil
    own: tuple[tuple[str, ...], ...]

    def after(self, skip: int) -> "Reports":
        """Return them without the first ones."""
        return Reports(
            self.revision + skip,
            self.ordinals[skip:],
            self.phase,
            self.stencil,
            self.own[skip:],
        )

    def status(self, number: int) -> bytes:
        """Return the status of the pod at that position of `ordinals`."""
        return self.stencil.fill(self.own[number])


@dataclass(slots=True, eq=False)
class Lodging:
    """A cohort and who still lives in it.

    Args:
        gone: a bit for each ordinal that left.
        berths: every write that bound some of its pods.
        places: ordinal → MOST · index of its berths + position there.
        reports: every write that said what some of its pods are; said: as places.
    """

    cohort: Cohort
    gone: int = 0
    berths: list[Berths] = field(default_factory=list[Berths])
    places: dict[int, int] = field(default_factory=dict[int, int])
    reports: list[Reports] = field(default_factory=list[Reports])
    said: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, berths: Berths) -> None:
        """Take in bindings of its pods."""
        self.places.update(zip(berths.ordinals, count(len(self.berths) * MOST), strict=False))
        self.berths.append(berths)

    def say(self, reports: Reports) -> None:
        """Take in what its pods are said to be."""
        self.said.update(zip(reports.ordinals, count(len(self.reports) * MOST), strict=False))
        self.reports.append(reports)

    def lives(self, ordinal: int) -> bool:
        """Tell whether a pod has not left."""
        return not self.gone >> ordinal & 1

    def all_live(self, ordinals: Iterable[int]) -> bool:
        """Tell whether none of some pods has left."""
        return not self.gone or all(map(self.lives, ordinals))

    @property
    def empty(self) -> bool:
        """Whether all have left."""
        return self.gone.bit_count() == self.cohort.size

    def binding(self, ordinal: int) -> Binding | None:
        """Return a pod's binding."""
        place = self.places.get(ordinal)
        return None if place is None else self.berths[place // MOST].binding(place % MOST)

    def pod(self, ordinal: int) -> StoredObject:
        """Return a pod that has not left."""
        said = self.said.get(ordinal)
        if said is None:
            return self.cohort.pod(ordinal, self.binding(ordinal))
        revision = self.reports[said // MOST].revision + said % MOST
        return self.cohort.pod(ordinal, self.binding(ordinal), self.status(ordinal), revision)

    def status(self, ordinal: int) -> bytes:
        """Return a pod's status."""
        said = self.said.get(ordinal)
        if said is None:
            return self.cohort.status
        return self.reports[said // MOST].status(said % MOST)

    def bound(self) -> list[int]:
        """Return which of those that have not left are bound."""
        gone = self.gone
        return [each for each in self.places if not gone >> each & 1] if gone else [*self.places]

    def pods(self) -> Iterator[StoredObject]:
        """Return every pod that has not left, in order of their ordinals."""
        return (self.pod(each) for each in range(self.cohort.size) if self.lives(each))

    def gone_bits(self) -> bytes | None:
        """Return `gone` as stored: bit n of PostgreSQL's get_bit, None for nobody."""
        if not self.gone:
            return None
        return self.gone.to_bytes((self.cohort.size + 7) // 8, "little")
