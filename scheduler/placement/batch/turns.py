"""In what order copies are placed: rules between pods may let one in only after another. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ...objects.pod_class import PodClass
from ..plan import Allotment

Turn = tuple[PodClass, int]
"""Copies of a class that are placed next."""


def in_turns(allotments: Iterable[Allotment], turns: Sequence[Turn]) -> Iterator[Allotment]:
    """Yield the placed pods of allotments, one of each class, in the order they were placed in.

    Args:
        turns: all copies of every class; those of classes without an allotment are passed over.
    """
    given, taken = {each.pod: each for each in allotments}, dict[PodClass, int]()
    for pod, copies in turns:
        whole = given.get(pod)
        if whole is None or not whole.pods:
            continue
        begin = taken.get(pod, 0)
        end = taken[pod] = begin + copies
        yield replace(whole, pods=whole.pods[begin:end], nodes=whole.nodes[begin:end], left=())
