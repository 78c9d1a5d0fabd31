"""Decisions as the records that are kept for months. Pure."""

from collections.abc import Sequence
from datetime import datetime

from ..store.decisions import Alternative, DecisionRecord, Rejection, decision_id, span
from .plan import Allotment, LodgedPods, PendingPod


def decision_records(
    allotment: Allotment, made_at: datetime, epoch: int
) -> tuple[DecisionRecord, ...]:
    """Return one record for the pods that were placed and one for those that were not."""
    decision = allotment.decision
    records: list[DecisionRecord] = []
    if allotment.pods:
        nodes = set(allotment.nodes)
        records.append(
            DecisionRecord(
                id=decision_id(),
                made_at=made_at,
                namespace=allotment.pod.namespace,
                pod=allotment.pods[0].key.name,
                members=_names(allotment.pods),
                digest=allotment.pod.key[0],
                pods=len(allotment.pods),
                outcome="placed",
                node=allotment.nodes[0] if len(nodes) == 1 else "",
                alternatives=tuple(
                    Alternative(a.node, a.total, a.scores) for a in decision.alternatives
                ),
                rejections=tuple(Rejection(r.plugin, r.reason, r.nodes) for r in decision.rejected),
                message="; ".join(decision.failures),
                epoch=epoch,
            )
        )
    if allotment.left and decision.diagnosis is not None:
        refusals = decision.diagnosis.refusals
        records.append(
            DecisionRecord(
                id=decision_id(),
                made_at=made_at,
                namespace=allotment.pod.namespace,
                pod=allotment.left[0].key.name,
                members=_names(allotment.left),
                digest=allotment.pod.key[0],
                pods=len(allotment.left),
                outcome="unschedulable",
                rejections=tuple(Rejection(r.plugin, r.reason, r.nodes) for r in refusals),
                message=decision.diagnosis.message,
                epoch=epoch,
            )
        )
    return tuple(records)


def _names(pods: Sequence[PendingPod]) -> tuple[str, ...]:
    if isinstance(pods, LodgedPods):
        first, last = pods.ordinals[0], pods.ordinals[-1]
        if last - first == len(pods) - 1:  # they ascend
            return (span(pods.cohort, first, len(pods)),)
        return tuple([pods.cohort.name(ordinal) for ordinal in pods.ordinals])
    return tuple([pod.key.name for pod in pods]) if len(pods) > 1 else ()
