"""Roles and bindings as the store has them, and what is decided by them."""

import asyncio
from contextlib import suppress

import msgspec
import pytest

from scheduler.access import Policy, User
from scheduler.access.rbac import Attributes, decide
from scheduler.errors import Unavailable
from scheduler.objects.meta import ObjectMeta, new_uid, now_seconds
from scheduler.objects.role import ROLE_BINDINGS, ROLES
from scheduler.objects.stored import Body, StoredObject
from scheduler.store.operations import Create, Remove
from scheduler.store.store import Store

READ = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
JANE = User("jane", groups=("staff",))
GET = Attributes("get", "kube-system", "", "pods", name="x")


async def keep(store: Store, resource: str, body: object) -> StoredObject:
    meta = ObjectMeta(
        name="r", namespace="kube-system", uid=new_uid(), creation_timestamp=now_seconds()
    )
    return await store.write(Create(resource, meta, Body(msgspec.json.encode(body)), b""))


async def test_what_is_written_counts_and_what_is_removed_does_not(store: Store) -> None:
    policy = Policy(store)
    running = asyncio.create_task(policy.run())
    await policy.synced()
    assert not decide(policy, JANE, GET).allowed

    await keep(store, ROLES, {"rules": [READ]})
    subjects = [{"kind": "Group", "name": "staff"}, {"kind": "User", "name": "joe"}]
    bound = await keep(
        store, ROLE_BINDINGS, {"subjects": subjects, "roleRef": {"kind": "Role", "name": "r"}}
    )
    await policy.reached(ROLE_BINDINGS, bound.revision)
    await policy.reached(ROLES, bound.revision)
    assert decide(policy, JANE, GET).allowed
    assert decide(policy, User("joe"), GET).allowed
    assert not decide(policy, User("staff"), GET).allowed
    assert not decide(policy, JANE, GET._replace(namespace="default")).allowed

    gone = await store.write(Remove(bound.key, bound.meta.uid, bound.revision))
    await policy.reached(ROLE_BINDINGS, gone.revision)
    assert not decide(policy, JANE, GET).allowed
    running.cancel()
    await asyncio.wait({running})


async def test_nothing_is_decided_once_roles_are_followed_no_more(store: Store) -> None:
    policy = Policy(store)
    running = asyncio.create_task(policy.run())
    await policy.synced()

    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    with pytest.raises(Unavailable, match="rights cannot be decided"):
        await policy.synced()
