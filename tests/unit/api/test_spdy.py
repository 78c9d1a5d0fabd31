"""SPDY/3.1 framing: what is written is read, whatever the borders; nonsense is refused."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.api import spdy
from scheduler.api.spdy import Abandoned, Asked, Framing, Left, Opened, ProtocolError, Received


class Client:
    """The opening side, written from the draft alone."""

    def __init__(self):
        self._deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=spdy.DICTIONARY)

    def open(self, stream, headers, *, fin=False):
        block = struct.pack(">I", len(headers))
        for pair in headers.items():
            for text in pair:
                block += struct.pack(">I", len(text.encode())) + text.encode()
        block = self._deflate.compress(block) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return control(1, struct.pack(">IIH", stream, 0, 0) + block, fin)

    def headers(self, block):
        return self._inflate.decompress(block)


def control(kind, body, flags=0):
    return struct.pack(">HHBBH", 0x8003, kind, flags, len(body) >> 16, len(body) & 0xFFFF) + body


def data(stream, content, fin=False):
    return struct.pack(">II", stream, fin << 24 | len(content)) + content


def test_the_dictionary_is_the_drafts():
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
streams = st.integers(1, 2**31 - 1)
said = st.one_of(
    st.builds(Opened, streams, st.dictionaries(texts, texts, max_size=4), st.booleans()),
    st.builds(Received, streams, st.binary(max_size=100), st.booleans()),
    st.builds(Abandoned, streams),
    st.builds(Asked, st.integers(0, 2**32 - 1).map(lambda i: control(6, struct.pack(">I", i)))),
    st.just(Left()),
)


def written(client, event):
    match event:
        case Opened(stream, headers, ended):
            return client.open(stream, headers, fin=ended)
        case Received(stream, content, ended):
            return data(stream, content, ended)
        case Abandoned(stream):
            return control(3, struct.pack(">II", stream, 5))
        case Asked(answer):
            return answer
        case _:
            return control(7, bytes(8))


@given(st.lists(said, max_size=12), st.lists(st.integers(0, 400), max_size=30))
def test_frames_are_read_whatever_the_borders(events, cuts):
    client, framing, seen = Client(), Framing(), []
    ignored = control(4, bytes(4)) + control(9, bytes(8))
    rest = ignored + b"".join(written(client, event) for event in events)
    for cut in cuts:
        seen += framing.receive(rest[:cut])
        rest = rest[cut:]
    seen += framing.receive(rest)
    assert seen == events


@given(st.lists(st.binary(max_size=200_000), max_size=3), st.booleans())
def test_data_is_sent_in_frames_that_are_not_too_long(contents, ended):
    framing, reader = Framing(), Framing()
    for content in contents:
        frames = list(reader.receive(framing.data(5, content, ended=ended)))
        assert b"".join(frame.data for frame in frames) == content
        assert [frame.ended for frame in frames] == [False] * (len(frames) - 1) + [ended]


def test_replies_are_what_a_client_expects():
    client, framing = Client(), Framing()
    for stream in (1, 3):
        reply = framing.accept(stream)
        assert reply[:4] == b"\x80\x03\x00\x02"
        assert int.from_bytes(reply[5:8], "big") == len(reply) - 8
        assert reply[8:12] == struct.pack(">I", stream)
        assert client.headers(reply[12:]) == bytes(4)
    assert framing.reset(7, spdy.REFUSED) == control(3, struct.pack(">II", 7, 3))


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        control(1, bytes(9)),
        control(3, bytes(4)),
        control(6, b""),
        control(1, bytes(10) + b"not compressed"),
        struct.pack(">HHI", 0x8002, 6, 4) + bytes(4),
        struct.pack(">II", 1, spdy.LARGEST_FRAME + 1),
    ],
)
def test_nonsense_is_refused(nonsense):
    with pytest.raises(ProtocolError):
        list(Framing().receive(nonsense))


def test_headers_that_grow_without_bound_are_refused():
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    bomb = deflate.compress(bytes(10 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(ProtocolError, match="longer than"):
        list(Framing().receive(control(1, bytes(10) + bomb)))


@pytest.mark.parametrize("block", [b"\0\0\0\1", b"\0\0\0\1\0\0\0\x09ab", b"\0\0\0\1\0\0\0\1\xff"])
def test_headers_cut_short_are_refused(block):
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    packed = deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(ProtocolError):
        list(Framing().receive(control(1, bytes(10) + packed)))
