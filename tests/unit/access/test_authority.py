import ssl

import pytest

from scheduler.access import Authority

NAMES = ("kubernetes.default.svc", "10.96.0.1")


@pytest.fixture(scope="module")
def pair() -> tuple[bytes, bytes]:
    return Authority.make()


def handshake(authority: Authority, trusted: bytes, name: str) -> dict[str, object]:
    """Shake hands in memory; returns the server's certificate as the client has it."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.serve(server, NAMES)
    client = ssl.create_default_context(cadata=trusted.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return dict(ends[0].getpeercert() or {})


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_knows_the_server(
    pair: tuple[bytes, bytes], name: str
) -> None:
    found = handshake(Authority(*pair), pair[0], name)

    assert found["subject"] == ((("commonName", NAMES[0]),),)


def test_another_name_is_not_proved(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(Authority(*pair), pair[0], "example.com")


def test_another_authority_is_not_trusted(pair: tuple[bytes, bytes]) -> None:
    other, _key = Authority.make()

    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(Authority(*pair), other, NAMES[0])
