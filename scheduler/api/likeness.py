"""Pods of one request that differ in nothing but the names they are to be given: made as cohorts.

Thousands of pods with a `generateName` and equal otherwise are read, checked and written once.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from ..errors import AlreadyExists, Fenced, StatusError
from ..objects.cohort import ALIKE_FROM, Cohort, made_alike
from ..objects.kind import Kind
from ..objects.meta import now_seconds
from ..store.operations import CreateCohort
from ..store.store import Store
from . import metadata
from .creation import Draft

_NAMINGS = 8  # tries at finding free names


class Made(NamedTuple):
    """A pod that was made, in short."""

    name: str
    namespace: str
    uid: str
    revision: int


class Likes(NamedTuple):
    """Pods that one draft stands for.

    Args:
        places: theirs in the request.
    """

    draft: Draft
    places: Sequence[int]


def likes(kind: Kind, drafts: Sequence[tuple[int, Draft]]) -> list[Likes]:
    """Return those of a request's drafts that are worth cohorts.

    Args:
        drafts: with their places in the request; for what is alike the very same one.
    """
    if kind.resource != "pods":
        return []
    found: dict[int, tuple[Draft, list[int]]] = {}
    for place, draft in drafts:
        if not draft.meta.name:
            found.setdefault(id(draft), (draft, []))[1].append(place)
    return [Likes(*each) for each in found.values() if len(each[1]) >= ALIKE_FROM]


async def create_alike(
    store: Store, kind: Kind, wanted: Sequence[Likes]
) -> list[tuple[int, Made | StatusError]]:
    """Make pods; cohorts whose names are taken are tried under others.

    Of a cohort that was cut short, for want of quota, the rest is asked for again, to know why.

    Returns:
        what became of each, with its place in the request.
    """
    outcomes: list[tuple[int, Made | StatusError]] = []
    left: list[Likes] = list(wanted)
    attempt = 0
    while left:
        tried = [part for each in left for part in _cohorts(kind, each)]
        try:
            results = await store.create_cohorts([CreateCohort(cohort) for _, cohort in tried])
        except StatusError as error:
            results = [error] * len(tried)
        left = []
        for (part, _), result in zip(tried, results, strict=True):
            if isinstance(result, Fenced):
                raise result
            if isinstance(result, AlreadyExists) and attempt < _NAMINGS - 1:
                left.append(part)
            elif isinstance(result, Cohort):
                outcomes += zip(part.places[: result.size], _made(result), strict=True)
                if result.size < len(part.places):
                    left.append(Likes(part.draft, part.places[result.size :]))
            else:
                outcomes += [(place, result) for place in part.places]
        attempt += any(isinstance(result, AlreadyExists) for result in results)
    return outcomes


def _cohorts(kind: Kind, wanted: Likes) -> list[tuple[Likes, Cohort]]:
    """Return cohorts with the places that each is for."""
    draft, places = wanted
    stamped = metadata.stamped(draft.meta, kind, "", now_seconds())
    meta = replace(stamped, name="")
    cohorts = made_alike(meta, draft.body, draft.status, len(places))
    parts: list[tuple[Likes, Cohort]] = []
    begun = 0
    for cohort in cohorts:
        parts.append((Likes(draft, places[begun : begun + cohort.size]), cohort))
        begun += cohort.size
    return parts


def _made(cohort: Cohort) -> list[Made]:
    first = cohort.created_revision
    return [
        Made(cohort.name(n), cohort.namespace, cohort.pod_uid(n), first + n)
        for n in range(cohort.size)
    ]
