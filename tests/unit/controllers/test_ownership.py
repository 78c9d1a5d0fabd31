"""What becomes of an object, given what became of its owners."""

import pytest

from scheduler.controllers.ownership import Owner, blocks, collect, owners_let_go, without_owner
from scheduler.objects.meta import ObjectMeta, OwnerReference

SOLID, WAITING, ABSENT = Owner.SOLID, Owner.WAITING, Owner.ABSENT


def owned(*uids, block=None, finalizers=()):
    references = tuple(OwnerReference("v1", "ConfigMap", u, u, None, block) for u in uids)
    return ObjectMeta(name="x", uid="x", owner_references=references, finalizers=finalizers)


@pytest.mark.parametrize(
    ("fates", "parent", "finalizers", "how"),
    [
        ({}, False, (), None),
        ({"a": SOLID}, False, (), None),
        ({"a": ABSENT}, True, (), "Background"),
        ({"a": WAITING}, False, (), "Background"),
        ({"a": WAITING}, True, (), "Foreground"),
        ({"a": ABSENT, "b": WAITING}, True, (), "Foreground"),
        ({"a": ABSENT}, False, ("orphan",), "Orphan"),
        ({"a": ABSENT}, False, ("foregroundDeletion",), "Foreground"),
    ],
)
def test_the_fate_follows_the_owners(fates, parent, finalizers, how):
    decided = collect(owned(*fates, finalizers=finalizers), fates, lambda: parent)
    assert decided.meta is None
    assert (decided.delete and decided.delete.propagation) == how


def test_owners_that_are_gone_are_forgotten_while_another_stands():
    decided = collect(owned("a", "b", "c"), {"a": ABSENT, "b": SOLID, "c": WAITING}, lambda: True)
    assert decided.delete is None
    assert [o.uid for o in decided.meta.owner_references] == ["b"]


def test_only_those_that_block_are_waited_for():
    assert blocks(owned("a", block=True), "a")
    assert not blocks(owned("a", block=True), "b")
    assert not blocks(owned("a"), "a")


def test_owners_let_go():
    both, one = owned("a", "b", block=True), owned("b", block=True)
    assert [o.uid for o in owners_let_go(both, one)] == ["a"]
    assert [o.uid for o in owners_let_go(both, None)] == ["a", "b"]
    assert [o.uid for o in owners_let_go(one, owned("b"))] == ["b"]
    assert owners_let_go(None, both) == ()
    assert without_owner(both, "a") == one
