"""What is kept of lists, and how much of it."""

from scheduler.api.repeated_lists import RepeatedLists, Written


def written(size, revision=1):
    return Written((b"x" * size,), 1, revision)


def test_the_last_written_is_found():
    lists = RepeatedLists()
    lists.keep("a", written(1, 1))
    lists.keep("a", written(1, 2))
    assert lists.find("a") == written(1, 2)
    assert lists.find("b") is None


def test_the_least_recently_used_goes_first():
    lists = RepeatedLists(size=30, largest=20)
    lists.keep("a", written(9))
    lists.keep("b", written(9))
    lists.keep("c", written(9))
    assert lists.find("a")
    lists.keep("d", written(9))
    assert [bool(lists.find(name)) for name in "abcd"] == [True, False, True, True]


def test_a_list_kept_again_takes_its_room_once():
    lists = RepeatedLists(size=30, largest=20)
    for revision in range(10):
        lists.keep("a", written(9, revision))
    lists.keep("b", written(9))
    assert lists.find("a")


def test_a_list_too_large_is_not_kept_and_makes_the_old_one_go():
    lists = RepeatedLists(size=30, largest=20)
    lists.keep("a", written(9))
    lists.keep("a", written(21, 2))
    assert lists.find("a") is None
