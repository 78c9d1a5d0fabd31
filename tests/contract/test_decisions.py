"""Decision records."""

from datetime import UTC, datetime, timedelta

from scheduler.objects.cohort import PLACES
from scheduler.store.compaction import Retention
from scheduler.store.decisions import (
    Alternative,
    DecisionRecord,
    Rejection,
    decision_id,
    span,
)
from tests.store_values import cohort


def record(pod, **fields):
    return DecisionRecord(
        id=decision_id(),
        made_at=datetime.now(UTC),
        namespace="default",
        pod=pod,
        digest=b"0123456789abcdef",
        pods=3,
        node="a",
        alternatives=(Alternative("a", 90.0, {"Fit": 90.0}), Alternative("b", 10.5)),
        rejections=(Rejection("Fit", "Insufficient memory", 2),),
        message="0/3 nodes …\0",
        epoch=4,
        **fields,
    )


async def test_records_come_back_newest_first(store):
    first, second, other = record("p"), record("p", outcome="unschedulable"), record("q")
    await store.record_decisions([first, second, other])
    await store.record_decisions([first])
    await store.record_decisions([])
    found = await store.decisions_of("default", "p")
    assert {r.id for r in found} == {first.id, second.id}
    assert [r.id for r in found] == sorted((r.id for r in found), reverse=True)
    same = next(r for r in found if r.id == first.id)
    assert same.message == "0/3 nodes …"
    assert (same.alternatives, same.rejections) == (first.alternatives, first.rejections)
    assert (same.digest, same.epoch, same.pods) == (first.digest, 4, 3)


async def test_records_are_kept_for_months(store):
    await store.record_decisions([record("p")])
    await store.compact(Retention(), datetime.now(UTC) + timedelta(days=170))
    assert await store.decisions_of("default", "p")
    await store.compact(Retention(), datetime.now(UTC) + timedelta(days=190))
    assert await store.decisions_of("default", "p") == []


async def test_pods_of_a_cohort_are_found_by_name(store):
    lot = cohort(20, start=PLACES - 5)
    about = record(lot.name(2), members=(span(lot, 2, 10),))
    await store.record_decisions([about, record("web-else"), record("q", members=("a", "b"))])
    for ordinal in range(20):
        found = await store.decisions_of("default", lot.name(ordinal))
        assert [r.id for r in found] == [about.id] * (2 <= ordinal < 12)
    assert len(await store.decisions_of("default", "b")) == 1
    assert await store.decisions_of("default", "web-*") == []
    assert await store.decisions_of("other", lot.name(3)) == []
