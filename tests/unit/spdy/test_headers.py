"""Header blocks: one zlib stream per direction, whose dictionary both ends know."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.spdy.dictionary import DICTIONARY
from criadapt.spdy.headers import MAX_BLOCK, MAX_HEADERS, BadHeaders, Compressor, Decompressor


def text(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def plain(*pairs: tuple[bytes, bytes], count: int | None = None) -> bytes:
    size = len(pairs) if count is None else count
    return size.to_bytes(4, "big") + b"".join(text(name) + text(value) for name, value in pairs)


def compressed(content: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, 15, zdict=DICTIONARY)
    return stream.compress(content) + stream.flush(flush)


def test_the_dictionary_is_the_one_of_the_protocol() -> None:
    assert len(DICTIONARY) == 1423
    assert hashlib.sha256(DICTIONARY).hexdigest() == "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_the_dictionary_is_words_with_lengths_and_then_text() -> None:
    at, words = 0, []
    while DICTIONARY[at] == 0:
        size = int.from_bytes(DICTIONARY[at : at + 4], "big")
        words.append(DICTIONARY[at + 4 : at + 4 + size])
        at += 4 + size
    assert (len(words), at) == (65, 849)
    assert words[:3] == [b"options", b"head", b"post"]
    assert words[-1] == b"origin"
    assert DICTIONARY[at:].startswith(b"100101201202")
    assert DICTIONARY.endswith(b",*,enq=0.")


def test_the_first_block_names_the_dictionary_and_ends_where_go_releases_output() -> None:
    compressor = Compressor()
    block = compressor.block({"streamtype": "error"})
    assert block[:6] == bytes.fromhex("78f9e3c6a7c2")
    assert block[-4:] == bytes.fromhex("0000ffff")
    following = compressor.block({"streamtype": "error"})
    assert following[:2] != b"\x78\xf9"
    assert following[-4:] == bytes.fromhex("0000ffff")
    assert len(following) < len(block)


def test_names_are_sent_in_lower_case_and_values_as_they_are() -> None:
    content = zlib.decompressobj(15, zdict=DICTIONARY).decompress(Compressor().block({"StreamType": "StdIn"}))
    assert content == plain((b"streamtype", b"StdIn"))


def test_blocks_build_on_the_ones_before() -> None:
    compressor, decompressor = Compressor(), Decompressor()
    for headers in ({"streamtype": "error"}, {}, {"streamtype": "data", "port": "80", "requestid": "0"}, {"a": ""}):
        assert decompressor.headers(compressor.block(headers)) == headers


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(codec="latin-1"), min_size=1, max_size=20).map(str.lower),
            st.text(st.characters(codec="latin-1"), max_size=200),
            max_size=8,
        ),
        max_size=6,
    )
)
def test_what_was_compressed_is_read_back(blocks: list[dict[str, str]]) -> None:
    compressor, decompressor = Compressor(), Decompressor()
    assert [decompressor.headers(compressor.block(headers)) for headers in blocks] == blocks


@pytest.mark.parametrize("flush", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])
def test_other_ways_to_flush_are_understood(flush: int) -> None:
    assert Decompressor().headers(compressed(plain((b"port", b"80")), flush)) == {"port": "80"}


def test_several_values_of_a_header_stay_joined_by_nul() -> None:
    assert Decompressor().headers(compressed(plain((b"a", b"1\x002")))) == {"a": "1\x002"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cut off"),
        (b"\0\0\0", "cut off"),
        (plain(count=1), "cut off"),
        (plain((b"a", b"b"))[:-1], "cut off"),
        (plain((b"a", b"b"))[:9], "cut off"),
        (plain(count=1) + b"\xff\xff\xff\xff", "cut off"),
        (plain(count=1) + text(b"a") + b"\x00\x10\x00\x00x", "cut off"),
        (plain() + b"x", "too early"),
        (plain((b"a", b"b")) + b"\0", "too early"),
        (plain((b"a", b"b"), (b"a", b"c")), "twice"),
        (plain((b"", b"b")), "no name"),
        (plain((b"Port", b"80")), "lower case"),
        (plain(count=0xFFFFFFFF), "4294967295 headers"),
        (plain(*((b"%d" % n, b"") for n in range(MAX_HEADERS + 1))), "101 headers"),
    ],
)
def test_a_block_that_lies_about_itself_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(BadHeaders, match=said):
        Decompressor().headers(compressed(content))


def test_as_many_headers_as_allowed_are_read() -> None:
    assert len(Decompressor().headers(compressed(plain(*((b"%d" % n, b"") for n in range(MAX_HEADERS)))))) == 100


def test_a_zip_bomb_goes_no_further_than_the_limit() -> None:
    bomb = compressed(plain((b"a", bytes(20_000_000))))
    assert len(bomb) < MAX_BLOCK
    with pytest.raises(BadHeaders, match="larger than 65536 bytes"):
        Decompressor().headers(bomb)


def test_a_stream_that_ended_is_refused() -> None:
    with pytest.raises(BadHeaders, match="has ended"):
        Decompressor().headers(compressed(plain((b"a", b"b")), zlib.Z_FINISH))


def test_bytes_behind_the_end_of_the_stream_are_refused() -> None:
    with pytest.raises(BadHeaders):
        Decompressor().headers(compressed(plain(), zlib.Z_FINISH) + b"trailing")


@pytest.mark.parametrize(
    "block", [b"\0", b"no zlib at all", b"\x78\xf9\0\0\0\0more", bytes.fromhex("78f9e3c6a7c2ffff")]
)
def test_bytes_that_are_no_zlib_stream_are_refused(block: bytes) -> None:
    with pytest.raises(BadHeaders):
        Decompressor().headers(block)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=4), st.booleans())
def test_garbage_is_refused_and_nothing_worse(blocks: list[bytes], begin_well: bool) -> None:
    decompressor = Decompressor()
    if begin_well:
        assert decompressor.headers(Compressor().block({"port": "80"})) == {"port": "80"}
    for block in blocks:
        try:
            decompressor.headers(block)
        except BadHeaders:
            return


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_content_is_headers_or_refused(content: bytes) -> None:
    try:
        headers = Decompressor().headers(compressed(content))
    except BadHeaders:
        return
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    assert plain(*pairs) == content
