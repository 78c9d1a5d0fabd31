from datetime import UTC, datetime, timedelta

import msgspec

from scheduler.objects.event import EventSeries, Note

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOTE = Note("Pod", "d", "web", "u1", "BackOff", "Back-off restarting", warning=True)


def body(telling):
    return msgspec.json.decode(telling.body.json)


def test_a_repetition_is_the_same_event_with_a_higher_count():
    series = EventSeries("kubelet")
    first = series.tell(NOTE, NOW, host="h1")
    again = series.tell(NOTE, NOW + timedelta(seconds=9), times=2, host="h1")
    assert (first.repeated, again.repeated) == (False, True)
    assert again.meta == first.meta
    assert (body(first)["count"], body(again)["count"]) == (1, 3)
    assert body(again)["firstTimestamp"] == "2026-01-02T03:04:05Z"
    assert body(again)["lastTimestamp"] == "2026-01-02T03:04:14Z"
    assert body(again)["source"] == {"component": "kubelet", "host": "h1"}


def test_another_object_or_message_is_another_event():
    series = EventSeries("c")
    names = {
        series.tell(note, NOW).meta.name for note in (NOTE, msgspec.structs.replace(NOTE, uid="u2"))
    }
    assert len(names) == 2


def test_a_forgotten_event_begins_anew():
    series = EventSeries("c")
    first = series.tell(NOTE, NOW)
    series.forget(first.meta.uid)
    assert not series.tell(NOTE, NOW).repeated


def test_a_long_message_is_cut_and_a_cluster_object_tells_in_default():
    told = EventSeries("c").tell(Note("Node", "", "h1", "u", "R", "x" * 5000), NOW)
    assert len(body(told)["message"]) == 1024
    assert told.meta.namespace == "default"
    assert "namespace" not in body(told)["involvedObject"]
