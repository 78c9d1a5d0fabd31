"""What a batch has decided, as a value: which pod goes where. Pure."""

from dataclasses import dataclass

import msgspec

from ..objects.pod_class import PodClass
from ..objects.stored import ObjectKey
from .framework import Decision


class PendingPod(msgspec.Struct, frozen=True, gc=False):
    """A pod that waits for a node."""

    key: ObjectKey
    uid: str


@dataclass(frozen=True, slots=True)
class Allotment:
    """The pods of one class that one decision placed, and those it could not.

    Args:
        pods: placed pods.
        nodes: their nodes' names, one per pod.
        left: pods of the class without a node; decision.diagnosis says why.
    """

    pod: PodClass
    pods: tuple[PendingPod, ...]
    nodes: tuple[str, ...]
    left: tuple[PendingPod, ...]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Plan:
    """The allotments of one batch, made on one snapshot.

    Args:
        revision: of the snapshot.
    """

    revision: int
    allotments: tuple[Allotment, ...]
