"""How long an agent waits before it connects again."""

from scheduler.nodes.memory import Backoff
from scheduler.nodes.reconnection import Reconnection


def made() -> Reconnection:
    return Reconnection(Backoff(0.2, 30.0))


def test_a_host_that_does_not_answer_is_asked_less_and_less_often():
    reconnection, bounds = made(), []
    for second in range(10):
        reconnection.ended(second)
        bounds.append(reconnection.bound)
    assert bounds == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert 0 <= reconnection.pause() <= 30.0


def test_an_outage_does_not_count_against_a_host_that_is_back():
    reconnection = made()
    for second in range(20):
        reconnection.ended(second)
    reconnection.connected(20.0)
    assert not reconnection.troubled
    reconnection.ended(23.0)
    assert reconnection.bound == 0.2
    assert reconnection.troubled


def test_connections_that_break_again_and_again_are_made_less_and_less_often():
    reconnection, bounds = made(), []
    for second in range(10):
        reconnection.ended(second)  # a failure in between changes nothing
        reconnection.connected(second)
        reconnection.ended(second + 0.9)
        bounds.append(reconnection.bound)
    assert bounds == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_a_connection_that_lasted_makes_up_for_those_that_broke():
    reconnection = made()
    for second in range(10):
        reconnection.connected(second)
        reconnection.ended(second + 0.9)
    reconnection.connected(20.0)
    reconnection.ended(51.0)
    assert reconnection.bound == 0.2
