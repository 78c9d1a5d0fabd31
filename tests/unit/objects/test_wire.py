from datetime import UTC, datetime
from uuid import RFC_4122, UUID

import msgspec

from scheduler.objects.kind import Kind, Printer
from scheduler.objects.meta import ObjectMeta, new_uid
from scheduler.objects.stored import Binding, Body, StoredObject
from scheduler.objects.wire import compose, decompose, document

POD = Kind("Pod", "pods", "core.v1.Pod", Printer((), lambda _o, _n: ()), interned=True)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stored(doc: dict, binding: Binding | None = None) -> StoredObject:
    parts = decompose(doc, POD)
    return StoredObject("pods", parts.meta, 7, 3, parts.body, parts.status, binding)


def pod(**spec) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "d", "managedFields": [{"manager": "m"}]},
        "spec": {"containers": [{"name": "c"}], **spec},
        "status": {"phase": "Pending"},
    }


def test_a_document_survives_the_store():
    doc = document(stored(pod()), POD)
    assert doc["metadata"].pop("resourceVersion") == "7"
    assert doc == pod()


def test_equal_specs_share_one_body_whatever_their_key_order():
    one, two = pod(a="1", b="2"), pod(b="2", a="1")
    assert decompose(one, POD).body.digest == decompose(two, POD).body.digest


def test_a_binding_shows_as_node_name_and_condition_and_is_taken_out_again():
    binding = Binding("h1", AT, 6)
    bound = stored(pod(), binding)
    doc = document(bound, POD)
    assert doc["spec"]["nodeName"] == "h1"
    assert [c for c in doc["status"]["conditions"] if c["type"] == "PodScheduled"] == [
        {
            "type": "PodScheduled",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }
    ]
    assert decompose(doc, POD, binding).body == bound.body


def test_a_body_that_came_back_with_other_spacing_composes_too():
    spaced = StoredObject(
        "pods", ObjectMeta(name="a"), 1, 1, Body(b'{"spec": {"x": 1}}'), b"", Binding("n", AT)
    )
    assert document(spaced, POD)["spec"] == {"nodeName": "n", "x": 1}


def test_an_object_without_a_body_is_still_json():
    empty = StoredObject("pods", ObjectMeta(name="a"), 1, 1, Body(b"{}"))
    assert msgspec.json.decode(compose(empty, POD)) == {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "a", "resourceVersion": "1"},
    }


def test_a_new_uid_is_a_random_version_4_uuid():
    made = {new_uid() for _ in range(1000)}
    assert len(made) == 1000
    assert all(str(UUID(uid)) == uid and UUID(uid).version == 4 for uid in made)
    assert {UUID(uid).variant for uid in made} == {RFC_4122}
