from uuid import UUID

from scheduler.objects.meta import new_uid, new_uids


def test_uids_drawn_together_are_random_uuids_as_one_alone_is():
    drawn = [*new_uids(100), new_uid()]
    assert len(set(drawn)) == 101
    assert all(UUID(uid).version == 4 and str(UUID(uid)) == uid for uid in drawn)
    assert all(UUID(uid).variant == "specified in RFC 4122" for uid in drawn)
    assert new_uids(0) == []
