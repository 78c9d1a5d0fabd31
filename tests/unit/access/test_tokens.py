import time

import jwt
import pytest

from scheduler.access import Holder, Tokens
from scheduler.access.tokens import AUDIENCE, ISSUER, looks_like_one

KEY = bytes(range(32))
HOLDER = Holder("shop", "robot", "uid-1", "web-0", "uid-2")


def test_a_token_is_read_again() -> None:
    issued = Tokens(KEY).issue(HOLDER, 600)

    assert Tokens(KEY).read(issued.text) == HOLDER
    assert looks_like_one(issued.text)
    assert 590 < issued.expires - time.time() <= 600
    assert issued.text not in repr(issued)


def test_a_token_needs_no_pod() -> None:
    holder = Holder("shop", "robot", "uid-1")

    assert Tokens(KEY).read(Tokens(KEY).issue(holder, 600).text) == holder


def test_its_claims_are_those_of_kubernetes() -> None:
    claims = jwt.decode(
        Tokens(KEY).issue(HOLDER, 600).text, KEY, algorithms=["HS256"], audience=AUDIENCE
    )

    assert claims["sub"] == "system:serviceaccount:shop:robot"
    assert claims["kubernetes.io"]["pod"] == {"name": "web-0", "uid": "uid-2"}


def test_what_is_not_for_us_is_nobody() -> None:
    tokens = Tokens(KEY)

    assert tokens.read(tokens.issue(HOLDER, 600, ["vault"]).text) is None
    assert tokens.read(tokens.issue(HOLDER, 600, ["vault"]).text, ["vault"]) == HOLDER
    assert tokens.read(tokens.issue(HOLDER, -60).text) is None
    assert Tokens(b"x" * 32).read(tokens.issue(HOLDER, 600).text) is None
    assert tokens.read("") is None


@pytest.mark.parametrize("algorithm", ["none", "HS384"])
def test_only_our_algorithm_counts(algorithm: str) -> None:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "iat": now,
        "exp": now + 600,
        "kubernetes.io": {"namespace": "a", "serviceaccount": {"name": "b", "uid": "c"}},
    }
    key = None if algorithm == "none" else KEY * 2
    right = jwt.encode(claims, KEY, "HS256")
    assert Tokens(KEY).read(right) == Holder("a", "b", "c")

    assert Tokens(KEY).read(jwt.encode(claims, key, algorithm)) is None


def test_a_token_without_an_account_is_nobody() -> None:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": [AUDIENCE], "iat": now, "exp": now + 600}

    assert Tokens(KEY).read(jwt.encode(claims, KEY, "HS256")) is None


def test_a_token_of_a_moment_is_made_again_the_same() -> None:
    tokens, now = Tokens(KEY), int(time.time())

    again = tokens.issue(HOLDER, 600, since=now)
    assert again == tokens.issue(HOLDER, 600, since=now)
    assert tokens.read(again.text) == HOLDER
    assert again.expires == now + 600
    identifiers = {
        jwt.decode(each.text, options={"verify_signature": False})["jti"]
        for each in (
            again,
            tokens.issue(HOLDER, 601, since=now),
            tokens.issue(HOLDER, 600, since=now - 1),
            tokens.issue(HOLDER, 600, ["vault"], since=now),
            tokens.issue(Holder("shop", "robot", "uid-1"), 600, since=now),
            tokens.issue(HOLDER, 600),
        )
    }
    assert len(identifiers) == 6
