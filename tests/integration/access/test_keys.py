from scheduler.access import Holder, have_keys
from scheduler.access.keys import AUTHORITY, TOKENS
from scheduler.objects.stored import Body, ObjectKey
from scheduler.store.operations import Replace
from scheduler.store.store import Store

HOLDER = Holder("default", "robot", "uid")


async def test_keys_are_made_once(store: Store) -> None:
    made, again = await have_keys(store), await have_keys(store)

    assert again.tokens.read(made.tokens.issue(HOLDER, 60).text) == HOLDER
    assert again.authority.certificate == made.authority.certificate


async def test_spoilt_keys_are_made_anew(store: Store) -> None:
    made = await have_keys(store)
    for name in (AUTHORITY, TOKENS):
        stored = await store.get(ObjectKey("keys.ironfree.dev", "", name))
        assert stored is not None
        spoilt = Body(b'{"data":{"key":"!","ca.crt":"eA=="}}')
        await store.write(Replace("keys.ironfree.dev", stored.meta, spoilt, b"", stored.revision))

    anew = await have_keys(store)

    assert anew.authority.certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    assert anew.authority.certificate != made.authority.certificate
    assert anew.tokens.read(made.tokens.issue(HOLDER, 60).text) is None
