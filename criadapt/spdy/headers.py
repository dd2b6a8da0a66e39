"""Header blocks: names and values, compressed by one zlib stream per direction for the life of a connection.

    block: count:32, then `count` times  length:32 name  length:32 value

Source: SPDY Protocol, draft 3.1, section 2.6.10.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from criadapt.spdy.dictionary import DICTIONARY

MAX_BLOCK = 64 * 1024  # bytes, compressed or not; three short headers are what Kubernetes sends
MAX_HEADERS = 100


class BadHeaders(ValueError):
    """A header block that cannot be understood, or that is larger than anybody needs."""


class Compressor:
    """Header blocks on their way out."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(level=9, wbits=15, zdict=DICTIONARY)

    def block(self, headers: Mapping[str, str]) -> bytes:
        """Compress one block."""
        plain = bytearray(len(headers).to_bytes(4, "big"))
        for name, value in headers.items():
            for text in (name.lower(), value):
                encoded = text.encode("latin-1")
                plain += len(encoded).to_bytes(4, "big") + encoded
        # A sync flush ends in the empty stored block that Go's reader waits for; other flushes leave it waiting.
        return self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Decompressor:
    """Header blocks on their way in. Every block must be fed, also those of streams that nobody wants."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=15, zdict=DICTIONARY)

    def headers(self, block: bytes) -> dict[str, str]:
        """Decompress one block. Raises BadHeaders, after which the connection is of no use."""
        try:
            plain = self._zlib.decompress(block, MAX_BLOCK)
        except zlib.error as error:
            raise BadHeaders(f"headers cannot be decompressed: {error}") from error
        if self._zlib.unconsumed_tail:
            raise BadHeaders(f"headers are larger than {MAX_BLOCK} bytes")
        if self._zlib.eof:
            raise BadHeaders("the compressed stream of headers has ended")
        return _parsed(plain)


def _parsed(plain: bytes) -> dict[str, str]:
    count, at = _number(plain, 0)
    if count > MAX_HEADERS:
        raise BadHeaders(f"{count} headers are more than {MAX_HEADERS}")
    headers = {}
    for _ in range(count):
        name, at = _text(plain, at)
        value, at = _text(plain, at)
        if not name or name in headers:
            raise BadHeaders("a header has no name" if not name else f"header {name[:80]!r} comes twice")
        if name != name.lower():
            raise BadHeaders(f"header {name[:80]!r} is not in lower case")
        headers[name] = value
    if at != len(plain):
        raise BadHeaders("headers end too early")
    return headers


def _number(plain: bytes, at: int) -> tuple[int, int]:
    if at + 4 > len(plain):
        raise BadHeaders("headers are cut off")
    return int.from_bytes(plain[at : at + 4], "big"), at + 4


def _text(plain: bytes, at: int) -> tuple[str, int]:
    size, at = _number(plain, at)
    if at + size > len(plain):
        raise BadHeaders("headers are cut off")
    return plain[at : at + size].decode("latin-1"), at + size
