"""Paged lists: one snapshot, bounded in number and time."""

import pytest

from scheduler.api.pages import Pages
from scheduler.errors import BadRequest, Expired
from scheduler.objects.meta import ObjectMeta
from scheduler.objects.stored import Body, StoredObject


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def objects(count):
    body = Body(b"{}")
    return tuple(
        StoredObject("x", ObjectMeta(name=str(i)), i + 1, i + 1, body) for i in range(count)
    )


def test_every_object_comes_once():
    pages = Pages(10, 100)
    page = pages.first("s", objects(7), 5, 3)
    names = [each.meta.name for each in page.objects]
    assert page.remaining == 4
    while page.token:
        page = pages.next("s", page.token, 3)
        assert page.revision == 5
        names += [each.meta.name for each in page.objects]
    assert names == [str(i) for i in range(7)]
    assert page.remaining == 0


def test_a_token_can_be_used_again():
    pages = Pages(10, 100)
    token = pages.first("s", objects(5), 5, 2).token
    assert pages.next("s", token, 2) == pages.next("s", token, 2)
    assert len(pages.next("s", token, 0).objects) == 3


def test_tokens_end_with_their_time():
    clock = Clock()
    pages = Pages(10, 100, clock)
    token = pages.first("s", objects(5), 5, 2).token
    clock.now = 9
    token = pages.next("s", token, 1).token
    clock.now = 18  # every use prolongs
    pages.next("s", token, 1)
    clock.now = 29
    with pytest.raises(Expired):
        pages.next("s", token, 1)


def test_the_oldest_goes_when_memory_is_full():
    pages = Pages(10, 8)
    old = pages.first("s", objects(5), 5, 2).token
    new = pages.first("s", objects(5), 5, 2).token
    with pytest.raises(Expired):
        pages.next("s", old, 2)
    assert pages.next("s", new, 2).objects


@pytest.mark.parametrize("token", ["x", "e30=", "\u00e9", "eyJpZCI6MX0="])
def test_strange_tokens(token):
    with pytest.raises(BadRequest):
        Pages(10, 8).next("s", token, 1)


def test_a_token_belongs_to_its_list():
    pages = Pages(10, 100)
    token = pages.first("s", objects(5), 5, 2).token
    with pytest.raises(BadRequest):
        pages.next("other", token, 2)
