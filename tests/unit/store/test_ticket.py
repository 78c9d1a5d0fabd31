"""How much of a caller's operations goes into one batch."""

from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Bind, BindAll, Remove
from scheduler.store.writer import Ticket


def removals(count):
    return [Remove(ObjectKey("pods", "default", f"p{n}")) for n in range(count)]


async def test_operations_that_fit_go_at_once():
    ticket = Ticket(removals(5), 500, 0.0)
    ops, size, weight = ticket.take(5, 500)
    assert (len(ops), size, weight, ticket.sent) == (5, 500, 5, 5)


async def test_of_more_a_batch_takes_what_it_has_room_for_and_the_rest_comes_later():
    ticket = Ticket(removals(5), 500, 0.0)
    assert [len(ticket.take(2, 10_000)[0]) for _ in range(3)] == [2, 2, 1]
    assert ticket.sent == 5


async def test_bytes_are_a_limit_too_but_one_operation_always_goes():
    ticket = Ticket(removals(5), 500, 0.0)
    assert ticket.take(100, 150)[1] == 200
    assert ticket.take(100, 1)[1] == 100
    assert ticket.sent == 3


async def test_what_is_bound_together_weighs_as_many_as_it_binds():
    binds = tuple(Bind(ObjectKey("pods", "default", f"p{n}"), "u", "a", 1) for n in range(7))
    ticket = Ticket([BindAll(binds)], 700, 0.0)
    assert ticket.take(3, 10_000)[2] == 7
