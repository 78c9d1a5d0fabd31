"""When tokens in pods' volumes are made anew."""

import asyncio
import contextlib
from dataclasses import dataclass, replace

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.access import Holder, Tokens
from scheduler.nodes import token_renewal
from scheduler.nodes.pod_tokens import ApiForPods, PodTokens, renewal
from scheduler.nodes.token_renewal import TokenRenewals
from scheduler.objects.volumes import TokenSource

DAY = 86_400
TOKENS = Tokens(bytes(32))
HOLDER = Holder("shop", "robot", "uid-1", "web-0", "uid-2")
OURS = PodTokens(ApiForPods(TOKENS, b"CA"), HOLDER, begun=1_000_000, now=1_000_000)


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_lives_as_long_as_it_is_asked_to_from_when_the_sandbox_was_made():
    found = claims(OURS.token(TokenSource("token", "vault", 600)))
    assert (found["iat"], found["exp"], found["aud"]) == (1_000_000, 1_000_600, ["vault"])
    assert found["kubernetes.io"]["pod"] == {"name": "web-0", "uid": "uid-2"}


@given(
    seconds=st.integers(600, 1 << 32),
    begun=st.integers(0, 1 << 31),
    now=st.integers(0, 1 << 31),
    uid=st.text(max_size=8),
)
def test_a_token_is_the_same_until_it_is_due_and_is_due_in_time(seconds, begun, now, uid):
    source = TokenSource("t", expiration_seconds=seconds)
    pods = replace(OURS, holder=replace(HOLDER, pod_uid=uid), begun=begun, now=now)
    token = pods.token(source)
    due = renewal([source], uid, begun, now)
    assert due is not None
    assert now < due <= now + DAY
    assert replace(pods, now=due - 1).token(source) == token
    following = replace(pods, now=due).token(source)
    assert following != token
    assert claims(token)["iat"] <= now
    left, later = (claims(each)["exp"] - due for each in (token, following))
    assert left >= seconds // 5
    assert later == seconds


def test_pods_made_at_once_are_not_due_at_once():
    source = TokenSource("t", expiration_seconds=DAY)
    dues = {renewal([source], str(number), 0, 0) for number in range(100)}
    assert len(dues) > 50
    assert all(DAY * 0.72 <= due <= DAY * 0.8 for due in dues)


def test_the_first_token_to_be_due_counts():
    sources = [TokenSource("a", expiration_seconds=each) for each in (6000, 600, 60_000)]
    assert renewal(sources, "u", 0, 0) == renewal(sources[1:2], "u", 0, 0)
    assert renewal([], "u", 0, 0) is None


@pytest.fixture
def told():
    return []


@pytest.fixture
def queue(told):
    """A queue in which "a" is due at 3, "b" at 1 and "c" at 2."""
    made = TokenRenewals()
    for uid, moment in (("a", 3), ("b", 1), ("c", 2)):
        made.put(uid, moment, lambda uid=uid: told.append(uid))
    return made


def tell(queue, now):
    for due in queue.take(now):
        due()


def test_pods_are_told_in_order_and_once(queue, told):
    tell(queue, 0)
    assert told == []
    tell(queue, 2)
    tell(queue, 2)
    assert told == ["b", "c"]
    tell(queue, 9)
    assert told == ["b", "c", "a"]


def test_who_is_forgotten_or_put_off_is_not_told(queue, told):
    queue.forget("b")
    queue.put("c", 5, lambda: told.append("later"))
    tell(queue, 4)
    assert told == ["a"]
    tell(queue, 5)
    assert told == ["a", "later"]


def test_a_queue_does_not_grow_with_what_was_put_off(queue, told):
    for moment in range(10_000):
        queue.put("d", 100 + moment, lambda: told.append("d"))
    assert len(queue._queue) < 2000
    tell(queue, 1 << 40)
    assert told == ["b", "c", "a", "d"]


@dataclass
class Clocks:
    """One that is set, and one that nobody sets."""

    wall: float = 5_000.0
    steady: float = 100.0

    def time(self):
        return self.wall

    def monotonic(self):
        return self.steady


@pytest.fixture
def clocks(monkeypatch):
    made = Clocks()
    monkeypatch.setattr(token_renewal, "time", made)
    monkeypatch.setattr(token_renewal, "_LONGEST_NAP", 0.01)
    return made


@contextlib.asynccontextmanager
async def running(queue):
    task = asyncio.create_task(queue.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_every_pod_is_told_once_the_clock_was_set_back(clocks):
    queue, told = TokenRenewals(), asyncio.Queue()
    for uid in ("a", "b"):
        queue.put(uid, 9_000, lambda uid=uid: told.put_nowait(uid))
    async with running(queue), asyncio.timeout(10):
        clocks.wall -= 6  # which those who read tokens let pass
        queue.put("due", clocks.wall, lambda: told.put_nowait("due"))
        assert (await told.get(), told.empty()) == ("due", True)
        clocks.wall -= 6
        assert {await told.get(), await told.get()} == {"a", "b"}
        queue.put("a", 9_000, lambda: told.put_nowait("once more"))
        queue.put("due", clocks.wall, lambda: told.put_nowait("due"))
        assert (await told.get(), told.empty()) == ("due", True), "it was set back once"


async def test_time_that_goes_by_tells_nobody_who_is_not_due(clocks):
    queue, told = TokenRenewals(), asyncio.Queue()
    queue.put("a", 9_000, lambda: told.put_nowait("a"))
    async with running(queue), asyncio.timeout(10):
        for seconds in (60, 3_000):
            clocks.wall, clocks.steady = clocks.wall + seconds, clocks.steady + seconds
            queue.put("due", clocks.wall, lambda: told.put_nowait("due"))
            assert (await told.get(), told.empty()) == ("due", True)
